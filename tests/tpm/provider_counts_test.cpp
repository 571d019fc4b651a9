// What a TPM is asked, to the command: "What the token is asked" of the design.
#include <openssl/rand.h>

#include "tests/fixture/operations.h"
#include "tests/fixture/tls.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;
using namespace hwid::test::tls;

namespace {

const LibraryContext& counted() {
  static const LibraryContext made(world().captured_conf());
  return made;
}

void sign_once(EVP_PKEY* key) {
  CHECK(verifies(key, "SHA256", "text", sign(counted().get(), key, "SHA256", "text")));
}

std::string ec_key() {
  static const std::string made = world().add_key("ecc256");
  return made;
}
std::string rsa_key() {
  static const std::string made = world().add_key("rsa2048");
  return made;
}

std::vector<std::string> request(const std::string& key) {
  return {"openssl", "req", "-new", "-key", key, "-subj", "/CN=x", "-out", world().file("csr")};
}

// Signed by the key that it names, says OpenSSL without us.
void check_request() {
  RunOptions options;
  options.environment["OPENSSL_CONF"] =
      OpensslConf().order(ProviderOrder::kDefaultOnly).write(world().file("default.cnf"));
  const std::vector<std::string> words = {"openssl",           "req",     "-in",
                                          world().file("csr"), "-verify", "-noout"};
  const RunResult result = run(words, options);
  CHECK_MESSAGE(result.ok(), result.err);
}

}  // namespace

TEST_CASE("tpm counts: a persistent key: ReadPublic, and Sign for each signature") {
  for (const std::string& handle : {ec_key(), rsa_key()}) {
    CAPTURE(handle);
    const LibraryContext fresh(world().captured_conf());
    EvpPkey first;
    EvpPkey again;
    CHECK(asked([&] { first = fresh.private_key(by_handle(handle)); }) == "ReadPublic 1");
    CHECK(asked([&] { again = fresh.private_key(by_handle(handle)); }).empty());
    CHECK(asked([&] { again = fresh.private_key("tpm2://handle=" + handle); }).empty());
    CHECK(asked([&] { sign_once(first.get()); }) == "Sign 1");
    CHECK(asked([&] { sign_once(again.get()); }) == "Sign 1");
    CHECK(asked([&] {
            for (int round = 0; round < 10; ++round) sign_once(first.get());
          }) == "Sign 10");
    CHECK(asked([&] { first.reset(), again.reset(); }).empty());
    CHECK(asked([&] { again = fresh.private_key(by_handle(handle)); }).empty());
    CHECK(asked([&] { sign_once(again.get()); }) == "Sign 1");
  }
}

TEST_CASE("tpm counts: every scheme is one command") {
  const EvpPkey rsa = counted().private_key(by_handle(rsa_key()));
  const auto signing = [&](const SignAs& as) {
    return asked([&] { (void)sign(counted().get(), rsa.get(), as, "text"); });
  };
  CHECK(signing({"SHA256", RSA_PKCS1_PSS_PADDING}) == "Sign 1");
  CHECK(signing({"SHA512", RSA_PKCS1_PSS_PADDING}) == "Sign 1");
  CHECK(signing({"SHA256", RSA_PKCS1_PSS_PADDING, 20}) == "RSA_Decrypt 1");
  CHECK(signing({"SHA224", RSA_PKCS1_PADDING}) == "RSA_Decrypt 1");
  const EvpPkey judge = software_public(rsa.get());
  const std::string ciphertext = encrypted(judge.get(), {}, "text");
  const auto decrypting = [&] {
    return asked([&] { (void)decrypted(counted().get(), rsa.get(), {}, ciphertext); });
  };
  // What is decrypted is hidden on the bus; and what a damaged ciphertext gives is the key's
  // choice.
  CHECK(decrypting() == "CreatePrimary 1, RSA_Decrypt 2, FlushContext 1, StartAuthSession 1");
  CHECK(decrypting() == "RSA_Decrypt 1");
}

TEST_CASE("tpm counts: what needs no private key asks nothing") {
  const EvpPkey ec = counted().private_key(by_handle(ec_key()));
  const std::string signature = sign(counted().get(), ec.get(), "SHA256", "text");
  CHECK(asked([&] {
          const EvpMdCtx md(EVP_MD_CTX_new());
          REQUIRE(EVP_DigestVerifyInit_ex(md.get(), nullptr, "SHA256", counted().get(), nullptr,
                                          ec.get(), nullptr) == 1);
          CHECK(EVP_DigestVerify(md.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                                 signature.size(), reinterpret_cast<const unsigned char*>("text"),
                                 4) == 1);
          unsigned char out[64];
          CHECK(EVP_Q_digest(counted().get(), "SHA256", nullptr, "text", 4, out, nullptr) == 1);
          CHECK(RAND_bytes_ex(counted().get(), out, sizeof out, 0) == 1);
          const EvpPkey software(EVP_PKEY_Q_keygen(counted().get(), nullptr, "EC", "P-256"));
          CHECK(software);
        }).empty());
}

TEST_CASE("tpm counts: one command a TLS handshake, by either end, in every version") {
  const Pki pki;
  const EvpPkey ec = counted().private_key(by_handle(ec_key()));
  const EvpPkey rsa = counted().private_key(by_handle(rsa_key()));
  const Pki::Credential peer = pki.issue("peer", {});
  const EvpPkey peer_key = read_key(peer.key_file);
  const End plain{nullptr, peer.certificate_file, peer_key.get()};
  for (const EVP_PKEY* const key : {ec.get(), rsa.get()}) {
    const End ours{counted().get(), pki.issue_for("ours", const_cast<EVP_PKEY*>(key), {}),
                   const_cast<EVP_PKEY*>(key)};
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      for (const bool serves : {false, true}) {
        CAPTURE(version);
        CAPTURE(serves);
        const auto server =
            make_context(serves ? ours : plain, TLS_server_method(), pki, version, "P-256:X25519");
        const auto client =
            make_context(serves ? plain : ours, TLS_client_method(), pki, version, "P-256:X25519");
        CHECK(asked([&] { handshake(server.get(), client.get()); }) == "Sign 1");
      }
    }
  }
}

TEST_CASE("tpm counts: restricted keys have the TPM hash") {
  const EvpPkey key =
      counted().private_key(by_handle(world().add_key("ecc256:ecdsa-sha256:null", kRestricted)));
  const auto signing = [&](std::size_t size) {
    return asked([&] { (void)sign(counted().get(), key.get(), "SHA256", std::string(size, 'm')); });
  };
  CHECK(signing(10) == "Sign 1, Hash 1");
  CHECK(signing(1024) == "Sign 1, Hash 1");
  CHECK(signing(5000) == "SequenceComplete 1, SequenceUpdate 4, Sign 1, HashSequenceStart 1");
}

TEST_CASE("tpm counts: a key file asks at its first use, and is loaded once") {
  const std::string file = world().add_file({"ecc256", kSignDecrypt, {}, kParent, {}});
  const std::string other = world().add_file({"ecc256", kSignDecrypt, {}, kParent, {}});
  EvpPkey key;
  EvpPkey again;
  EvpPkey second;
  CHECK(asked([&] { key = counted().private_key(file); }).empty());
  CHECK(asked([&] { sign_once(key.get()); }) == "Load 1, Sign 1");
  CHECK(asked([&] { again = counted().private_key(file); }).empty());
  CHECK(asked([&] { sign_once(again.get()); }) == "Sign 1");
  CHECK(asked([&] { sign_once(key.get()); }) == "Sign 1");
  CHECK(asked([&] { second = counted().private_key("tpm2:file=" + other); }).empty());
  CHECK(asked([&] { sign_once(second.get()); }) == "Load 1, Sign 1, FlushContext 1");
  CHECK(asked([&] { sign_once(key.get()); }) == "Load 1, Sign 1, FlushContext 1");
}

TEST_CASE("tpm counts: whole programs") {
  const OpensslConf conf = world().captured_conf();
  const std::string file = world().add_file({"ecc256", kSignDecrypt, {}, kParent, {}});
  const std::string before = world().swtpm.loaded();  // of this process
  const Counted persistent = run_counted(conf, request("tpm2:handle=" + ec_key()));
  CHECK_MESSAGE(persistent.result.ok(), persistent.result.err);
  CHECK(persistent.commands == "Sign 1, ReadPublic 1");
  check_request();
  const Counted loaded = run_counted(conf, request(file));
  CHECK_MESSAGE(loaded.result.ok(), loaded.result.err);
  CHECK(loaded.commands == "Load 1, Sign 1, FlushContext 1");
  CHECK(loaded.total <= 4);
  check_request();
  const Counted signer = run_signer(conf, file, "sign", "3");
  CHECK_MESSAGE(signer.result.ok(), signer.result.err);
  CHECK(signer.commands == "Load 1, Sign 3, FlushContext 1");
  CHECK(world().swtpm.loaded() == before);
}

TEST_CASE("tpm counts: a key file below a hierarchy") {
  const std::string before = world().swtpm.loaded();
  const Settings more = {{"parent", "owner"}};
  const LibraryContext context(world().captured_conf(more).setting("keygen", "tpm"));
  const EvpPkey made = generate(context, "EC", {{{"group", "P-256"}}, {}});
  const std::string file = world().file("owner.pem");
  write_file(file, write_pem(made.get()));
  const Counted signer = run_signer(world().captured_conf(), file, "sign", "3");
  CHECK_MESSAGE(signer.result.ok(), signer.result.err);
  CHECK(signer.commands == "Load 1, Sign 3, FlushContext 1, ReadPublic 1");
  CHECK(world().swtpm.loaded() == before);
}

TEST_CASE("tpm counts: an auth value costs a session a process") {
  const std::string handle = world().add_key({"ecc256", kSignDecrypt, "a-secret", kParent, {}});
  const Counted signer = run_signer(world().captured_conf(),
                                    "tpm2:handle=" + handle + "?pin-value=a-secret", "sign", "3");
  CHECK_MESSAGE(signer.result.ok(), signer.result.err);
  CHECK(signer.commands.starts_with("CreatePrimary 1, Sign 3"));
  CHECK_MESSAGE(contains(signer.commands, "StartAuthSession 1"), signer.commands);
  const Counted with_parent =
      run_signer(world().captured_conf({{"parent", kParent}}),
                 "tpm2:handle=" + handle + "?pin-value=a-secret", "sign", "3");
  CHECK_MESSAGE(with_parent.result.ok(), with_parent.result.err);
  CHECK(with_parent.commands == "Sign 3, FlushContext 1, ReadPublic 2, StartAuthSession 1");
}

TEST_CASE("tpm counts: a key that is made, and the session that parent-name costs") {
  const auto make = [](Settings more) {
    more.emplace_back("parent", kParent);
    return run_counted(world().captured_conf(more).setting("keygen", "tpm"),
                       {"openssl", "genpkey", "-propquery", "provider=hwid", "-algorithm", "EC",
                        "-pkeyopt", "group:P-256", "-out", world().file("made.pem")});
  };
  const Counted plain = make({});
  CHECK_MESSAGE(plain.result.ok(), plain.result.err);
  CHECK(plain.commands == "Create 1");
  const std::string text = world().swtpm.tool({"tpm2_readpublic", "-c", kParent});
  const std::string key = "name: ";
  const std::size_t start = text.find(key) + key.size();
  const Counted pinned =
      make({{"parent-name", text.substr(start, text.find('\n', start) - start)}});
  CHECK_MESSAGE(pinned.result.ok(), pinned.result.err);
  CHECK(pinned.commands == "Create 1, FlushContext 1, ReadPublic 1, StartAuthSession 1");
}
