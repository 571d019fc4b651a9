// hwid-bench-gateway: a process with many devices, each with a key in one token and a connection of
// its own, beside mosquitto's client library with keys in files: connections a second, and memory a
// connection.
#include "bench/broker.h"
#include "bench/rounds.h"
#include "bench/ways.h"
#include "tests/fixture/library_context.h"
#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/pki.h"
#include "tests/fixture/softhsm.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

constexpr int kDevices = 500;
constexpr int kQuickDevices = 4;
constexpr int kFirst = 8;  // of hwid-bench-gateway-devices, which does not count them

// Certificates and keys of all devices, of both kinds.
class Fleet {
 public:
  explicit Fleet(int count) {
    std::vector<test::KeyPair> keys;
    for (int i = 0; i < count; ++i) keys.push_back({"ec:P-256", name(i), {}});
    token_.generate(keys);
    token_.use_in_this_process();
    const auto conf = test::OpensslConf().backend("dev", token_.backend());
    conf_ = conf.write(token_.directory().file("openssl.cnf"));
    software_conf_ = test::OpensslConf()
                         .order(test::ProviderOrder::kDefaultOnly)
                         .write(token_.directory().file("software.cnf"));
    const test::LibraryContext context(conf_);
    test::CertificateRequest request;
    request.usage = test::Usage::kClient;
    for (int i = 0; i < count; ++i) {
      request.common_name = name(i);
      software_.issue(name(i), request);
      hardware_.issue_for(name(i), context.private_key(token_.uri(name(i))).get(), request);
    }
  }

  const test::Pki& software() const { return software_; }
  const test::Pki& hardware() const { return hardware_; }
  std::string key_uri() const { return token_.uri("device-N"); }
  test::Environment environment(bool in_token) const {
    test::Environment variables = token_.environment();
    variables["OPENSSL_CONF"] = in_token ? conf_ : software_conf_;
    return variables;
  }

 private:
  static std::string name(int number) { return "device-" + std::to_string(number); }

  test::SoftHsmToken token_{"fleet"};
  test::Pki software_;
  test::Pki hardware_;
  std::string conf_;
  std::string software_conf_;
};

void measure(Rounds& rounds) {
  const int count = rounds.options().quick ? kQuickDevices : kDevices;
  const Fleet fleet(count + kFirst);
  const Broker soft_broker(fleet.software());
  const Broker hard_broker(fleet.hardware());
  const auto way = [&](const std::string& name, const std::string& library, bool in_token) {
    const test::Pki& pki = in_token ? fleet.hardware() : fleet.software();
    const Broker& broker = in_token ? hard_broker : soft_broker;
    const std::string directory = pki.file("");
    return Way{name,
               {{HWID_BENCH_GATEWAY_DEVICES, library, std::to_string(count),
                 directory.substr(0, directory.size() - 1), std::to_string(broker.port()),
                 in_token ? fleet.key_uri() : pki.file("device-N.key")},
                fleet.environment(in_token)}};
  };
  std::vector<Way> ways = {way("mosquitto", "mosquitto", false), way("hwid", "hwid", true),
                           way("software", "hwid", false)};
  run_in_turn(ways, rounds.options().rounds);
  add_figures(rounds, ways, "gateway", std::to_string(count) + " devices, P-256", true);
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
