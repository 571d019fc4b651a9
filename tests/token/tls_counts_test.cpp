// What a TLS handshake asks of the token: one signature by the side whose key is there, and
// nothing to verify the other one, wherever the provider stands.
#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/fixture/pki.h"
#include "tests/fixture/tls.h"
#include "tests/token/world.h"

using namespace hwid::test;
using namespace hwid::test::tls;

namespace {

using Params = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;

struct Order {
  std::string name;
  OpensslConf conf;
};

std::vector<Order> orders() {
  const OpensslConf conf = world().conf();
  std::vector<Order> all = {{"default first", conf},
                            {"hwid first", conf},
                            {"hwid first, named aaa", conf},
                            {"hwid preferred", conf}};
  all[1].conf.order(ProviderOrder::kHwidFirst);
  all[2].conf.order(ProviderOrder::kHwidFirst).name("aaa");
  all[3].conf.default_properties("?provider=hwid");
  return all;
}

constexpr const char* kGroups[] = {"P-256", "P-384:P-256", "X25519:P-256"};

// Four handshakes in a row: 2 calls each.
void check_counts(const SslContext& server, const SslContext& client) {
  constexpr std::uint64_t kHandshakes = 4;
  const ModuleControl& module = world().module;
  const std::uint64_t total = module.total();
  const std::uint64_t inits = module.count("C_SignInit");
  const std::uint64_t signatures = module.count("C_Sign");
  for (std::uint64_t i = 0; i < kHandshakes; ++i) handshake(server.get(), client.get());
  CHECK(module.count("C_SignInit") - inits == kHandshakes);
  CHECK(module.count("C_Sign") - signatures == kHandshakes);
  CHECK(module.total() - total == 2 * kHandshakes);
}

// The token's side has our provider; the other side is OpenSSL as it comes.
void check_key(const LibraryContext& context, const Pki& pki, const std::string& object,
               const std::string& peer_algorithm) {
  const EvpPkey key = context.private_key(world().token.uri(object));
  for (const char* const message : {"first", "second"})  // which copies the key
    sign(context.get(), key.get(), "SHA256", message);
  CHECK(openssl_errors().empty());  // SSL_get_error would take them for the connection's
  const Pki::Credential peer = pki.issue("peer", {}, peer_algorithm);
  const EvpPkey peer_key = read_key(peer.key_file);
  const End with_token{context.get(), pki.issue_for("token", key.get(), {}), key.get()};
  const End plain{nullptr, peer.certificate_file, peer_key.get()};
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const char* groups : kGroups) {
      for (const bool serves : {false, true}) {
        CAPTURE(version);
        CAPTURE(std::string(groups));
        CAPTURE(serves);
        const End& server = serves ? with_token : plain;
        const End& client = serves ? plain : with_token;
        check_counts(make_context(server, TLS_server_method(), pki, version, groups),
                     make_context(client, TLS_client_method(), pki, version, groups));
      }
    }
  }
}

EvpPkey from_data(OSSL_LIB_CTX* context, const char* type, OSSL_PARAM* params) {
  const EvpPkeyCtx operation(EVP_PKEY_CTX_new_from_name(context, type, nullptr));
  EVP_PKEY* key = nullptr;
  require(EVP_PKEY_fromdata_init(operation.get()), "EVP_PKEY_fromdata_init");
  require(EVP_PKEY_fromdata(operation.get(), &key, EVP_PKEY_KEYPAIR, params), "EVP_PKEY_fromdata");
  return EvpPkey(key);
}

// A software key's numbers, given to another context.
void check_from_data(OSSL_LIB_CTX* context, const std::string& algorithm, const char* type) {
  const EvpPkey original = new_software_key(algorithm);
  OSSL_PARAM* all = nullptr;
  require(EVP_PKEY_todata(original.get(), EVP_PKEY_KEYPAIR, &all), "EVP_PKEY_todata");
  const Params params(all);
  const EvpPkey copy = from_data(context, type, params.get());
  CHECK(EVP_PKEY_eq(original.get(), copy.get()) == 1);
  const std::string signature = sign(context, copy.get(), "SHA256", "message");
  CHECK(verifies(original.get(), "SHA256", "message", signature));
}

}  // namespace

TEST_CASE("tls: one signature a handshake and nothing to verify, in every order of providers") {
  for (const auto& order : orders()) {
    CAPTURE(order.name);
    const LibraryContext context(order.conf);
    check_key(context, Pki("rsa:2048"), "ec", "rsa:2048");
    check_key(context, Pki("ec:P-256"), "rsa", "ec:P-256");
  }
}

TEST_CASE("tls: keys on both sides are two signatures") {
  const LibraryContext context(world().conf());
  const Pki pki;
  const EvpPkey rsa = context.private_key(world().token.uri("rsa"));
  const EvpPkey ec = context.private_key(world().token.uri("ec"));
  const End server{context.get(), pki.issue_for("rsa", rsa.get(), {}), rsa.get()};
  const End client{context.get(), pki.issue_for("ec", ec.get(), {}), ec.get()};
  const auto serving = make_context(server, TLS_server_method(), pki, TLS1_3_VERSION, "P-256");
  const auto asking = make_context(client, TLS_client_method(), pki, TLS1_3_VERSION, "P-256");
  const std::uint64_t before = world().module.total();
  handshake(serving.get(), asking.get());
  CHECK(world().module.total() - before == 4);
}

TEST_CASE("tls: RSA key exchange decrypts the premaster secret on the token, in every order") {
  for (const auto& order : orders()) {
    CAPTURE(order.name);
    const LibraryContext context(order.conf);
    const Pki pki;
    const EvpPkey rsa = context.private_key(world().token.uri("rsa"));
    const Pki::Credential peer = pki.issue("peer", {}, "rsa:2048");
    const EvpPkey peer_key = read_key(peer.key_file);
    const End server{context.get(), pki.issue_for("rsa", rsa.get(), {}), rsa.get()};
    const End client{nullptr, peer.certificate_file, peer_key.get()};
    const auto serving = make_context(server, TLS_server_method(), pki, TLS1_2_VERSION, "P-256");
    const auto asking = make_context(client, TLS_client_method(), pki, TLS1_2_VERSION, "P-256");
    require(SSL_CTX_set_cipher_list(asking.get(), "AES128-GCM-SHA256"), "SSL_CTX_set_cipher_list");
    const std::uint64_t before = world().module.count("C_Decrypt");
    const std::uint64_t total = world().module.total();
    handshake(serving.get(), asking.get());
    CHECK(world().module.count("C_Decrypt") - before == 1);
    CHECK(world().module.total() - total == 2);
  }
}

TEST_CASE("tls: EVP_PKEY_fromdata makes software keys, in every order of providers") {
  const std::uint64_t before = world().module.total();
  for (const auto& order : orders()) {
    CAPTURE(order.name);
    const LibraryContext context(order.conf);
    check_from_data(context.get(), "rsa:2048", "RSA");
    check_from_data(context.get(), "ec:P-256", "EC");
  }
  CHECK(world().module.total() == before);
}

TEST_CASE("tls: a key that is loaded again costs no call") {
  const LibraryContext context(world().conf());
  const EvpPkey first = context.private_key(world().token.uri("rsa"));
  const std::uint64_t before = world().module.total();
  const EvpPkey second = context.private_key(world().token.uri("rsa"));
  CHECK(EVP_PKEY_eq(first.get(), second.get()) == 1);
  CHECK(world().module.total() == before);
}
