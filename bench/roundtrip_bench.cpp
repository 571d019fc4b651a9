// hwid-bench-roundtrip: signatures a second of 8 threads where every call is a round trip: a module
// that takes a millisecond a call, and a token of another process, reached by p11-kit's remoting.
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "bench/rounds.h"
#include "bench/signers.h"
#include "bench/world.h"
#include "tests/fixture/command.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

void compare(Rounds& rounds, const std::string& where, const std::string& module,
             const test::SoftHsmToken& stored) {
  const Token raw(module, stored.label(), test::SoftHsmToken::kPin);
  const test::LibraryContext context(test::OpensslConf().backend("dev", stored.backend(module)));
  for (const Scheme scheme : {Scheme::kRsaPkcs1, Scheme::kEcdsa}) {
    const std::string label = scheme == Scheme::kEcdsa ? "ec" : "rsa";
    const test::EvpPkey key = context.private_key(stored.uri(label));
    Comparison comparison{
        "round trip", scheme_name(scheme) + (", " + where), kMostThreads, true, {}};
    comparison.contenders.push_back(raw_signer("raw", raw, label, key.get(), scheme, false));
    comparison.contenders.push_back(evp_signer("hwid", context.get(), key.get(), scheme));
    comparison.contenders.push_back(raw_signer("raw_copy", raw, label, key.get(), scheme, true));
    rounds.compare(comparison);
  }
}

// The token behind a socket. p11-kit-client.so finds it by the environment.
class RemoteToken {
 public:
  explicit RemoteToken(const test::SoftHsmToken& stored) {
    const std::string socket = directory_.file("socket");
    test::Daemon::Options options;
    options.environment = stored.environment();
    options.environment["P11_KIT_SERVER_ADDRESS"] = "";
    options.ready = [socket] { return std::filesystem::exists(socket); };
    server_.emplace(std::vector<std::string>{"p11-kit", "server", "--foreground", "--name", socket,
                                             "--provider", test::softhsm_module(),
                                             "pkcs11:token=" + stored.label()},
                    options);
    setenv("P11_KIT_SERVER_ADDRESS", ("unix:path=" + socket).c_str(), 1);
  }

 private:
  test::TemporaryDirectory directory_;
  std::optional<test::Daemon> server_;
};

void measure(Rounds& rounds) {
  const World world;
  world.counting("delay-us * 1000");
  compare(rounds, "1 ms a call", world.counting.path(), world.token);
  world.counting.clear();

  const test::SoftHsmToken stored("remote");
  stored.generate({{"rsa:2048", "rsa", "01"}, {"ec:P-256", "ec", "02"}});
  const RemoteToken remote(stored);
  compare(rounds, "p11-kit remote", HWID_BENCH_P11_KIT_CLIENT, stored);
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
