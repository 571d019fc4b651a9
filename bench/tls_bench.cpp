// hwid-bench-tls: full handshakes a second, TLS 1.2 and 1.3, with a client's key on the token. The
// other side has a library context of its own with the default provider only.
#include "bench/handshake.h"
#include "bench/method_key.h"
#include "bench/rounds.h"
#include "bench/signers.h"
#include "bench/world.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

constexpr std::pair<int, const char*> kVersions[] = {{TLS1_3_VERSION, "TLS 1.3"},
                                                     {TLS1_2_VERSION, "TLS 1.2"}};

// A client with one kind of key, in all the ways that are compared.
class Clients {
 public:
  Clients(const World& world, const Token& raw, const std::string& label)
      : world_(world),
        label_(label),
        hwid_(context_.private_key(world.token.uri(label))),
        counted_(counted_context_.private_key(world.token.uri(label))),
        software_(software_context_.private_key(world.software_key_file(label))),
        raw_(method_key(raw, label, hwid_.get())),
        server_key_(server_context_.private_key(world.pki.file("server.key"))) {
    test::CertificateRequest request;
    request.usage = test::Usage::kClient;
    request.common_name = "client";
    certificate_ = world.pki.issue_for("client-" + label, hwid_.get(), request);
  }

  std::vector<Contender> all(int version) const {
    std::vector<Contender> made;
    made.push_back(handshakes("raw", handshake(version, nullptr, certificate_, raw_.get())));
    made.back().calls = 2;
    made.push_back(
        handshakes("hwid", handshake(version, context_.get(), certificate_, hwid_.get())));
    const Contender counted = handshakes(
        "counted", handshake(version, counted_context_.get(), certificate_, counted_.get()));
    made.back().calls = world_.calls_of(counted.worker(0));
    made.push_back(handshakes(
        "software", handshake(version, software_context_.get(),
                              world_.pki.file("software-" + label_ + ".pem"), software_.get())));
    made.back().calls = 0;
    return made;
  }

 private:
  std::shared_ptr<const Handshake> handshake(int version, OSSL_LIB_CTX* context,
                                             const std::string& certificate, EVP_PKEY* key) const {
    return std::make_shared<const Handshake>(
        version, Side{context, certificate, key},
        Side{server_context_.get(), world_.pki.file("server.pem"), server_key_.get()},
        world_.pki.ca_file());
  }

  const World& world_;
  const std::string label_;
  const test::LibraryContext context_{world_.conf()};
  const test::LibraryContext counted_context_{world_.conf(world_.counting.path())};
  const test::LibraryContext software_context_{World::software_conf()};
  const test::LibraryContext server_context_{World::software_conf()};
  const test::EvpPkey hwid_;
  const test::EvpPkey counted_;
  const test::EvpPkey software_;
  const test::EvpPkey raw_;
  const test::EvpPkey server_key_;
  std::string certificate_;
};

void measure(Rounds& rounds) {
  const World world;
  world.pki.issue("server", {});
  const Token raw(test::softhsm_module(), world.token.label(), test::SoftHsmToken::kPin);
  for (const char* const label : {"rsa", "ec"}) {
    const Clients clients(world, raw, label);
    for (const auto& [version, name] : kVersions) {
      Comparison comparison{
          "tls", std::string(name) + (label[0] == 'e' ? ", P-256" : ", RSA-2048"), 1, true, {}};
      comparison.contenders = clients.all(version);
      for (const int threads : {1, 2, kMostThreads}) {
        comparison.threads = threads;
        rounds.compare(comparison);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
