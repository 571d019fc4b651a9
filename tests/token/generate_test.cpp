#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

#include <cstring>
#include <string>

#include "provider/core/libcrypto.h"
#include "tests/fixture/command.h"
#include "tests/fixture/paths.h"
#include "tests/token/world.h"

using hwid::test::EvpPkey;
using hwid::test::EvpPkeyCtx;
using hwid::test::LibraryContext;
using hwid::test::openssl_errors;
using hwid::test::world;

namespace {

hwid::test::RunResult run(const std::vector<std::string>& argv,
                          hwid::test::Environment environment) {
  hwid::test::RunOptions options;
  options.environment = std::move(environment);
  return hwid::test::run(argv, options);
}

LibraryContext& context() {
  static LibraryContext made(world().conf().order(hwid::test::ProviderOrder::kHwidFirst));
  return made;
}

// What the queue held is shown if it did not.
bool errors_have(const std::string& part) {
  const std::string errors = openssl_errors();
  if (errors.find(part) != std::string::npos) return true;
  MESSAGE(errors);
  return false;
}

EvpPkey generate(const char* algorithm, std::string uri, const char* parameter, std::string value) {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(context().get(), algorithm, "provider=hwid"));
  REQUIRE_MESSAGE(ctx, openssl_errors());
  REQUIRE(EVP_PKEY_keygen_init(ctx.get()) == 1);
  std::size_t bits = parameter == std::string("bits") ? std::stoul(value) : 0;
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri.data(), 0),
                               bits != 0
                                   ? OSSL_PARAM_construct_size_t(parameter, &bits)
                                   : OSSL_PARAM_construct_utf8_string(parameter, value.data(), 0),
                               OSSL_PARAM_construct_end()};
  if (EVP_PKEY_CTX_set_params(ctx.get(), params) != 1) return nullptr;
  EVP_PKEY* made = nullptr;
  EVP_PKEY_generate(ctx.get(), &made);
  return EvpPkey(made);
}

// As `openssl genpkey` takes its options, in text.
EvpPkeyCtx keygen(const char* algorithm, const LibraryContext& from) {
  EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(from.get(), algorithm, "provider=hwid"));
  REQUIRE_MESSAGE(ctx, openssl_errors());
  REQUIRE(EVP_PKEY_keygen_init(ctx.get()) == 1);
  return ctx;
}
bool set(EVP_PKEY_CTX* ctx, const std::string& option) {
  const std::size_t colon = option.find(':');
  return EVP_PKEY_CTX_ctrl_str(ctx, option.substr(0, colon).c_str(),
                               option.substr(colon + 1).c_str()) == 1;
}

std::string uri_for(const std::string& label) {
  return "pkcs11:token=" + world().token.label() + ";object=" + label;
}

// What the token itself says of the pair, through a tool that is not ours.
std::string listing() {
  return run({"pkcs11-tool", "--module", hwid::test::softhsm_module(), "--login", "--pin",
              hwid::test::SoftHsmToken::kPin, "--token-label", world().token.label(), "-O"},
             world().token.environment())
      .out;
}

// The slot's number, in decimal: "Slot 0 (0x1a2b): ..." is the line before the token's label.
std::string slot_of_token() {
  const std::string all = run({"pkcs11-tool", "--module", hwid::test::softhsm_module(), "-L"},
                              world().token.environment())
                              .out;
  const std::size_t token = all.find(world().token.label());
  REQUIRE_MESSAGE(token != std::string::npos, all);
  const std::size_t slot = all.rfind("(0x", token);
  REQUIRE_MESSAGE(slot != std::string::npos, all);
  return std::to_string(std::stoul(all.substr(slot + 1), nullptr, 16));
}

std::string described(const std::string& label, const std::string& kind) {
  const std::string all = listing();
  std::size_t at = 0;
  while ((at = all.find(kind, at)) != std::string::npos) {
    const std::size_t end = std::min(all.find("Object;", at + kind.size() + 1), all.size());
    const std::string object = all.substr(at, end - at);
    if (object.find("label:      " + label + "\n") != std::string::npos) return object;
    at += kind.size();
  }
  return "";
}

// OpenSC writes 0a0b, newer ones 2571 (0x0a:0b).
bool has_id(const std::string& object, const std::string& id) {
  const std::size_t at = object.find("\n  ID: ");
  if (at == std::string::npos) return false;
  std::string line = object.substr(at + 1, object.find('\n', at + 1) - at - 1);
  std::erase(line, ':');
  return line.ends_with(" " + id) || line.ends_with("(0x" + id + ")");
}

}  // namespace

TEST_CASE("generate: keys on the token, sensitive and unextractable, which sign") {
  struct Row {
    const char* algorithm;
    const char* parameter;
    const char* value;
    int bits;
  };
  for (const Row& row : {Row{"RSA", "bits", "2048", 2048}, Row{"EC", "group", "P-256", 256},
                         Row{"EC", "group", "P-384", 384}, Row{"EC", "group", "secp521r1", 521},
                         Row{"RSA-PSS", "bits", "2048", 2048}}) {
    const std::string label = std::string("made-") + row.algorithm + row.value;
    CAPTURE(label);
    const EvpPkey made = generate(row.algorithm, uri_for(label), row.parameter, row.value);
    REQUIRE_MESSAGE(made, openssl_errors());
    CHECK(EVP_PKEY_get_bits(made.get()) == row.bits);
    const std::string signature = hwid::test::sign(context().get(), made.get(), "SHA256", "m");
    CHECK(hwid::test::verifies(made.get(), "SHA256", "m", signature));
    const std::string object = described(label, "Private Key Object");
    CHECK(object.find("sensitive, always sensitive, never extractable") != std::string::npos);
    CHECK(object.find("local") != std::string::npos);
    CHECK(described(label, "Public Key Object").find("ID:") != std::string::npos);
  }
}

TEST_CASE("generate: an RSA-PSS key stays one when it is loaded again") {
  const EvpPkey loaded = context().private_key(uri_for("made-RSA-PSS2048"));
  CHECK(EVP_PKEY_is_a(loaded.get(), "RSA-PSS"));
  const std::string signature = hwid::test::sign(context().get(), loaded.get(), "SHA384", "m");
  CHECK(hwid::test::verifies(loaded.get(), "SHA384", "m", signature));
}

TEST_CASE("generate: label and id of the URI are the pair's") {
  const EvpPkey made = generate("EC", uri_for("with-id") + ";id=%0a%0b", "group", "P-256");
  REQUIRE_MESSAGE(made, openssl_errors());
  CHECK(has_id(described("with-id", "Private Key Object"), "0a0b"));
  CHECK(has_id(described("with-id", "Public Key Object"), "0a0b"));
}

TEST_CASE("generate: never over an existing key, never in software instead") {
  CHECK_FALSE(generate("EC", uri_for("ec"), "group", "P-256"));
  CHECK(errors_have("exists"));
  CHECK_FALSE(generate("EC", "pkcs11:token=nobody;object=x", "group", "P-256"));
  CHECK(errors_have("no token matches"));
  CHECK_FALSE(generate("EC", uri_for("bad-curve"), "group", "no-such-curve"));
  CHECK_FALSE(openssl_errors().empty());
  CHECK_FALSE(generate("RSA", "file:/tmp/key", "bits", "2048"));
  CHECK(errors_have("key URI"));
}

TEST_CASE("generate: what a key on a token cannot be told is refused by name") {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(context().get(), "RSA-PSS", "provider=hwid"));
  REQUIRE(EVP_PKEY_keygen_init(ctx.get()) == 1);
  REQUIRE(EVP_PKEY_CTX_ctrl_str(ctx.get(), "rsa_pss_keygen_md", "sha384") == 1);
  std::string uri = uri_for("restricted");
  REQUIRE(EVP_PKEY_CTX_ctrl_str(ctx.get(), "pkcs11_uri", uri.c_str()) == 1);
  EVP_PKEY* made = nullptr;
  CHECK(EVP_PKEY_generate(ctx.get(), &made) != 1);
  CHECK(errors_have("parameter digest cannot be kept on a token"));
  CHECK(described("restricted", "Private Key Object").empty());
}

TEST_CASE("generate: what only a TPM's key has is refused by name on another token") {
  for (const char* const option : {"digest:SHA256", "user-auth:hush-hush", "parent:0x81000001",
                                   "parent-auth:hush-hush", "owner-auth:hush-hush"}) {
    CAPTURE(option);
    const std::string name(option, std::strchr(option, ':'));
    const EvpPkeyCtx ctx = keygen("EC", context());
    REQUIRE(set(ctx.get(), "group:P-256"));
    REQUIRE_MESSAGE(set(ctx.get(), option), openssl_errors());
    REQUIRE(set(ctx.get(), "hwid_uri:" + uri_for("for-a-tpm")));
    EVP_PKEY* made = nullptr;
    CHECK(EVP_PKEY_generate(ctx.get(), &made) != 1);
    const std::string errors = openssl_errors();
    CHECK_MESSAGE(errors.find("parameter " + name + " cannot be kept") != std::string::npos,
                  errors);
    CHECK(errors.find("hush") == std::string::npos);
  }
  CHECK(described("for-a-tpm", "Private Key Object").empty());
}

TEST_CASE("generate: what a key may be used for, in pkcs11-provider's words") {
  struct Case {
    const char* algorithm;
    const char* usage;
    const char* listed;  // by pkcs11-tool
  };
  const Case cases[] = {
      {"RSA", "digitalSignature", "Usage:      sign\n"},
      {"RSA", "dataEncipherment keyEncipherment", "Usage:      decrypt, unwrap\n"},
      {"RSA", " keyCertSign  cRLSign dataEncipherment ", "Usage:      decrypt, sign\n"},
      {"EC", "digitalSignature", "Usage:      sign\n"},
      {"EC", "keyAgreement", "Usage:      derive\n"},
      {"ED25519", "nonRepudiation", "Usage:      sign\n"},
      {"X25519", "keyAgreement", "Usage:      derive\n"}};
  int number = 0;
  for (const Case& each : cases) {
    CAPTURE(each.usage);
    const std::string label = "use-" + std::to_string(++number);
    const EvpPkey made = generate(each.algorithm, uri_for(label), "pkcs11_key_usage", each.usage);
    REQUIRE_MESSAGE(made, openssl_errors());
    std::string object = described(label, "Private Key Object");
    // OpenSC 0.26 shows CKA_SIGN_RECOVER, too, which SoftHSM sets by itself.
    for (const char* const recover : {"signRecover, ", ", signRecover"}) {
      const std::size_t at = object.find(recover);
      if (at != std::string::npos) object.erase(at, std::strlen(recover));
    }
    CHECK_MESSAGE(object.find(each.listed) != std::string::npos, object);
  }
  for (const auto& [algorithm, usage] : {std::pair("RSA", "keyAgreement"),
                                         {"EC", "dataEncipherment"},
                                         {"X25519", "cRLSign"},
                                         {"RSA", "everything"},
                                         {"EC", " "}}) {
    const std::string name = usage;
    CAPTURE(name);
    CHECK_FALSE(generate(algorithm, uri_for("no-use"), "pkcs11_key_usage", usage));
    CHECK(errors_have("parameter pkcs11_key_usage: " + (name == "everything" ? name : "")));
  }
  CHECK(described("no-use", "Private Key Object").empty());
}

TEST_CASE("generate: a key in a session signs and derives, and is gone with the key") {
  for (const char* const option : {"pkcs11_ephemeral:1", "pkcs11_ephemeral:0"}) {
    CAPTURE(option);
    const bool in_session = std::string(option).back() == '1';
    const std::string label = in_session ? "in-session" : "on-token";
    const EvpPkeyCtx ctx = keygen("EC", context());
    REQUIRE(set(ctx.get(), "group:P-256"));
    REQUIRE_MESSAGE(set(ctx.get(), option), openssl_errors());
    REQUIRE(set(ctx.get(), "pkcs11_uri:" + uri_for(label)));
    EVP_PKEY* raw = nullptr;
    REQUIRE_MESSAGE(EVP_PKEY_generate(ctx.get(), &raw) == 1, openssl_errors());
    EvpPkey made(raw);
    const hwid::core::Bio out(BIO_new(BIO_s_mem()));
    CHECK((PEM_write_bio_PrivateKey(out.get(), made.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
           1) == in_session);
    CHECK((openssl_errors().find("the key is in a session of this process") != std::string::npos) ==
          in_session);
    for (int i = 0; i < 3; ++i) {
      const std::string signature = hwid::test::sign(context().get(), made.get(), "SHA256", "m");
      CHECK(hwid::test::verifies(made.get(), "SHA256", "m", signature));
    }
    CHECK(described(label, "Private Key Object").empty() == in_session);  // for another process
    made.reset();
    if (in_session)
      CHECK_THROWS(context().private_key(uri_for(label)));
    else
      CHECK(context().private_key(uri_for(label)));
    (void)openssl_errors();
    CHECK(described(label, "Public Key Object").empty() == in_session);
  }
}

TEST_CASE("generate: a key in a session that was lost says so") {
  const EvpPkeyCtx ctx = keygen("EC", context());
  REQUIRE(set(ctx.get(), "group:P-256"));
  REQUIRE(set(ctx.get(), "pkcs11_ephemeral:1"));
  REQUIRE(set(ctx.get(), "pkcs11_uri:" + uri_for("lost")));
  EVP_PKEY* raw = nullptr;
  REQUIRE_MESSAGE(EVP_PKEY_generate(ctx.get(), &raw) == 1, openssl_errors());
  const EvpPkey made(raw);
  world().module("at C_SignInit drop-sessions");
  std::string error;
  try {
    hwid::test::sign(context().get(), made.get(), "SHA256", "m");
  } catch (const std::exception& thrown) {
    error = thrown.what();
  }
  world().module.clear();
  CHECK_MESSAGE(error.find("the key was in a session (pkcs11_ephemeral) and is gone with it") !=
                    std::string::npos,
                error);
}

TEST_CASE("generate: on the one token where nothing names another") {
  // The parameters of pkcs11-provider before it had a URI there.
  const EvpPkeyCtx ctx = keygen("EC", context());
  std::string label = "of-old";
  std::string id = "\x0c\x0d";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string("pkcs11_key_label", label.data(), 0),
      OSSL_PARAM_construct_octet_string("pkcs11_key_id", id.data(), 2), OSSL_PARAM_construct_end()};
  REQUIRE(EVP_PKEY_CTX_set_params(ctx.get(), params) == 1);
  REQUIRE(set(ctx.get(), "group:P-256"));
  EVP_PKEY* raw = nullptr;
  REQUIRE_MESSAGE(EVP_PKEY_generate(ctx.get(), &raw) == 1, openssl_errors());
  EVP_PKEY_free(raw);
  CHECK(has_id(described("of-old", "Private Key Object"), "0c0d"));
}

TEST_CASE("generate: in the slot that a parameter names, and in no other") {
  const auto made_in = [](const std::string& slot, const std::string& uri) {
    const EvpPkeyCtx ctx = keygen("EC", context());
    REQUIRE(set(ctx.get(), "group:P-256"));
    REQUIRE_MESSAGE(set(ctx.get(), "pkcs11_slot_id:" + slot), openssl_errors());
    REQUIRE(set(ctx.get(), "pkcs11_uri:" + uri));
    EVP_PKEY* raw = nullptr;
    EVP_PKEY_generate(ctx.get(), &raw);
    return EvpPkey(raw);
  };
  const std::string slot = slot_of_token();
  CHECK_MESSAGE(made_in(slot, "pkcs11:object=in-slot"), openssl_errors());
  CHECK_FALSE(described("in-slot", "Private Key Object").empty());
  CHECK_FALSE(made_in("99", "pkcs11:object=nowhere"));
  CHECK(errors_have("pkcs11:object=nowhere;slot-id=99: no token matches"));
  CHECK_FALSE(made_in(slot, "pkcs11:object=twice;slot-id=" + slot));
  CHECK(errors_have("slot-id is of pkcs11: URIs, and is given once"));
}

TEST_CASE("generate: a bare genpkey makes a key on the token where keygen names its backend") {
  const auto is_on_token = [](const hwid::test::OpensslConf& conf, const char* query) {
    const LibraryContext own(conf);
    const EvpPkey made(EVP_PKEY_Q_keygen(own.get(), query, "EC", "P-256"));
    REQUIRE_MESSAGE(made, openssl_errors());
    const bool stays = i2d_PrivateKey(made.get(), nullptr) <= 0;
    CHECK((openssl_errors().find("stays on its token") != std::string::npos) == stays);
    return stays;
  };
  CHECK(is_on_token(world().conf().setting("keygen", "dev"), "provider=hwid"));
  CHECK(is_on_token(world().conf().name("pkcs11").setting("keygen", "dev"), "provider=pkcs11"));
  CHECK_FALSE(is_on_token(world().conf().name("pkcs11"), "provider=pkcs11"));
}

TEST_CASE("generate: the public half says, too, that a key is for RSA-PSS only") {
  const EvpPkey made = generate("RSA-PSS", uri_for("pss-both"), "bits", "2048");
  REQUIRE_MESSAGE(made, openssl_errors());
  OSSL_STORE_CTX* const store =
      OSSL_STORE_open_ex((uri_for("pss-both") + ";type=public").c_str(), context().get(), nullptr,
                         nullptr, nullptr, nullptr, nullptr, nullptr);
  REQUIRE(store != nullptr);
  OSSL_STORE_INFO* const info = OSSL_STORE_load(store);
  REQUIRE_MESSAGE(info != nullptr, openssl_errors());
  const EvpPkey half(OSSL_STORE_INFO_get1_PUBKEY(info));
  CHECK(EVP_PKEY_is_a(half.get(), "RSA-PSS") == 1);
  OSSL_STORE_INFO_free(info);
  OSSL_STORE_close(store);
}

TEST_CASE("generate: a parameter of ours means hardware, and never software instead") {
  for (const char* const option :
       {"user-auth:", "parent:1073741825", "parent-auth:x", "owner-auth:x"}) {
    CAPTURE(option);
    const EvpPkeyCtx ctx = keygen("EC", context());
    REQUIRE(set(ctx.get(), "group:P-256"));
    REQUIRE_MESSAGE(set(ctx.get(), option), openssl_errors());
    EVP_PKEY* made = nullptr;
    CHECK(EVP_PKEY_generate(ctx.get(), &made) != 1);
    CHECK(errors_have("no TPM is configured"));
  }
  const EvpPkeyCtx ctx = keygen("EC", context());
  for (const char* const parent : {"parent:0", "parent:0x80000001", "parent:0x1500000"}) {
    CHECK_FALSE(set(ctx.get(), parent));
    CHECK(errors_have("parameter parent: write the handle"));
  }
}

TEST_CASE("generate: a URI that is no place for a new key is refused") {
  for (const char* const uri :
       {"tpm2:file=/tmp/key.pem", "object:/tmp/key", "tpm2:nv=0x1500000", "tpm2:ek=rsa"}) {
    CAPTURE(uri);
    const EvpPkeyCtx ctx = keygen("EC", context());
    REQUIRE(set(ctx.get(), "group:P-256"));
    REQUIRE(set(ctx.get(), std::string("hwid_uri:") + uri));
    EVP_PKEY* made = nullptr;
    CHECK(EVP_PKEY_generate(ctx.get(), &made) != 1);
    CHECK(errors_have("a key is made at a handle"));
  }
}

TEST_CASE("generate: two primes are what every RSA key has") {
  const EvpPkeyCtx two = keygen("RSA", context());
  REQUIRE(set(two.get(), "bits:2048"));
  REQUIRE(set(two.get(), "primes:2"));
  REQUIRE(set(two.get(), "hwid_uri:" + uri_for("two-primes")));
  EVP_PKEY* made = nullptr;
  CHECK_MESSAGE(EVP_PKEY_generate(two.get(), &made) == 1, openssl_errors());
  EVP_PKEY_free(made);
  made = nullptr;
  const EvpPkeyCtx three = keygen("RSA", context());
  REQUIRE(set(three.get(), "primes:3"));
  REQUIRE(set(three.get(), "hwid_uri:" + uri_for("three-primes")));
  CHECK(EVP_PKEY_generate(three.get(), &made) != 1);
  CHECK(errors_have("parameter primes cannot be kept"));
}

TEST_CASE("generate: a wrong configuration stops the keys that it is about, and no others") {
  const auto broken = [](const std::string& name) {
    return hwid::test::OpensslConf()
        .order(hwid::test::ProviderOrder::kHwidFirst)
        .name(name)
        .setting("backends", "nowhere");
  };
  const auto generates = [](const hwid::test::OpensslConf& conf) {
    const LibraryContext own(conf);
    return EvpPkey(EVP_PKEY_Q_keygen(own.get(), nullptr, "EC", "P-256")) != nullptr;
  };
  CHECK(generates(broken("hwid")));
  CHECK(generates(broken("hwid").setting("keygen", "software")));
  CHECK(generates(broken("tpm2").setting("keygen", "software")));
  CHECK(openssl_errors().empty());
  CHECK_FALSE(generates(broken("hwid").setting("keygen", "nowhere")));
  CHECK(errors_have("nowhere"));
  CHECK_FALSE(generates(broken("tpm2")));
  CHECK(errors_have("nowhere"));
}

TEST_CASE("generate: without a parameter of ours it is an ordinary key, and no token is asked") {
  world().module.clear();
  const EvpPkey ec(EVP_PKEY_Q_keygen(context().get(), nullptr, "EC", "P-256"));
  const EvpPkey rsa(EVP_PKEY_Q_keygen(context().get(), nullptr, "RSA", std::size_t{2048}));
  REQUIRE(ec);
  REQUIRE(rsa);
  CHECK(i2d_PrivateKey(ec.get(), nullptr) > 0);
  CHECK(i2d_PrivateKey(rsa.get(), nullptr) > 0);
  const std::string signature = hwid::test::sign(context().get(), ec.get(), "SHA256", "m");
  CHECK(hwid::test::verifies(ec.get(), "SHA256", "m", signature));
  CHECK(world().module.total() == 0);
}

TEST_CASE("generate: stock genpkey makes the key and prints its reference") {
  const hwid::test::TemporaryDirectory directory;
  const std::string conf = world().conf().write(directory.file("openssl.cnf"));
  hwid::test::Environment environment = world().token.environment();
  environment["OPENSSL_CONF"] = conf;
  environment["OPENSSL_MODULES"] = std::getenv("HWID_MODULE_DIR");
  if (const char* const preload = std::getenv("HWID_PRELOAD")) environment["LD_PRELOAD"] = preload;
  const hwid::test::RunResult result =
      run({"openssl", "genpkey", "-provider", "hwid", "-propquery", "provider=hwid", "-algorithm",
           "EC", "-pkeyopt", "group:P-256", "-pkeyopt", "pkcs11_uri:" + uri_for("stock")},
          environment);
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK(result.out.find("-----BEGIN PKCS#11 PROVIDER URI-----") != std::string::npos);
  CHECK_FALSE(described("stock", "Private Key Object").empty());
}
