// Every way to a key in a TPM, and every signature that it makes.
#include <array>

#include "tests/fixture/operations.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;

namespace {

constexpr std::array kDigests = {"SHA224", "SHA256", "SHA384", "SHA512", "SHA3-256"};

// One key, and all that leads to it.
struct Device {
  Device() {
    // By hand: the files, the handle and the saved handle shall be of one key.
    const Swtpm& tpm = world().swtpm;
    const Swtpm::KeyOptions options{"ecc256", kSignDecrypt, {}, kParent, {}};
    const Swtpm::KeyFiles files = tpm.make_key(options);
    tpm.encode_key(files, options, pem);
    const std::string context = world().file("device.ctx");
    tpm.tool({"tpm2_load", "-Q", "-C", kParent, "-u", files.public_file, "-r", files.private_file,
              "-c", context});
    tpm.tool({"tpm2_evictcontrol", "-Q", "-C", "o", "-c", context, "0x81000002", "-o", saved});
    tpm.tool({"tpm2_readpublic", "-Q", "-c", "0x81000002", "-f", "pem", "-o", public_file});
  }
  OpensslConf conf() const {
    return world()
        .conf({{"objects", "by-handle=0x81000002 in-file=" + pem + " saved=" + saved}})
        .key("name-of-handle", "tpm2:handle=0x81000002")
        .key("name-of-token", std::string("pkcs11:token=") + kToken + ";object=by-handle")
        .key("name-of-uri", "tpm2:file=" + pem)
        .key("name-of-file", pem)
        .key("name-of-saved", "tpm2:file=" + saved);
  }
  const std::string pem = world().file("device.pem");
  const std::string saved = world().file("device.handle");
  const std::string public_file = world().file("device.pub.pem");
};

const Device& device() {
  static const Device made;
  return made;
}

// A signature of a key verifies by its public half, and no other message does.
void check_signs(const EvpPkey& key, const SignAs& as = {}) {
  const std::string signature = sign(context().get(), key.get(), as, "message");
  CHECK(verifies(key.get(), as, "message", signature));
  CHECK_FALSE(verifies(key.get(), as, "massage", signature));
}

std::string refusal(const EvpPkey& key, const SignAs& as) {
  return error_of([&] { (void)sign(context().get(), key.get(), as, "message"); });
}

constexpr SignAs pss(const char* digest, int salt = RSA_PSS_SALTLEN_DIGEST) {
  return {digest, RSA_PKCS1_PSS_PADDING, salt, nullptr};
}

}  // namespace

TEST_CASE("tpm provider: every way leads to the key") {
  const LibraryContext context(device().conf());
  const EvpPkey expected = read_public(device().public_file);
  const std::string token = std::string("pkcs11:token=") + kToken + ";object=";
  for (const std::string& uri : {std::string("tpm2:handle=0x81000002"),
                                 std::string("tpm2:handle=81000002"),
                                 std::string("tpm2://handle=0x81000002"),
                                 std::string("handle:0x81000002"),
                                 "tpm2:file=" + device().saved,
                                 "tpm2:file=" + device().pem,
                                 "object:" + device().saved,
                                 "object:" + device().pem,
                                 "tpm2://file=" + device().pem,
                                 std::string("hwid:name-of-handle"),
                                 std::string("hwid://name-of-handle"),
                                 std::string("hwid:name-of-token"),
                                 std::string("hwid:name-of-uri"),
                                 std::string("hwid:name-of-file"),
                                 std::string("hwid:name-of-saved"),
                                 token + "by-handle",
                                 token + "in-file",
                                 token + "saved",
                                 token + "in-file;type=private",
                                 device().pem}) {
    CAPTURE(uri);
    const EvpPkey key = context.private_key(uri);
    CHECK(EVP_PKEY_eq(key.get(), expected.get()) == 1);
    const std::string signature = sign(context.get(), key.get(), "SHA256", "message");
    CHECK(verifies(expected.get(), "SHA256", "message", signature));
    CHECK_FALSE(verifies(expected.get(), "SHA256", "massage", signature));
  }
}

TEST_CASE("tpm keys: a saved handle whose name is not its public area's is refused") {
  std::string content = read_file(device().saved);
  content[8] ^= 1;  // in the name: handle 4, size 2, algorithm 2
  const std::string damaged = world().file("damaged.handle");
  write_file(damaged, content);
  const std::string message = error_of([&] { (void)context().private_key("object:" + damaged); });
  CHECK_MESSAGE(contains(message, "the key's name is not that of its public area"), message);
}

TEST_CASE("tpm keys: one that signs one digest only says so") {
  const char* const sign_only = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
  const EvpPkey key = context().private_key(
      "tpm2:handle=" + world().add_key({"ecc256:ecdsa-sha384:null", sign_only, {}, kParent, {}}));
  char name[32] = {};
  CHECK(EVP_PKEY_get_default_digest_name(key.get(), name, sizeof name) == 2);  // it is mandatory
  CHECK(std::string(name) == "SHA384");
}

TEST_CASE("tpm provider: a TSS2 PRIVATE KEY is read as any key file is") {
  const LibraryContext context(device().conf());
  const EvpPkey expected = read_public(device().public_file);
  const EvpPkey key = read_pem(context, read_file(device().pem));
  CHECK(EVP_PKEY_eq(key.get(), expected.get()) == 1);
  const std::string signature = sign(context.get(), key.get(), "SHA256", "message");
  CHECK(verifies(expected.get(), "SHA256", "message", signature));
}

TEST_CASE("tpm provider: a key in the TPM is written as a reference, which leads back to it") {
  const LibraryContext context(device().conf());
  const EvpPkey expected = read_public(device().public_file);
  const std::pair<const char*, const char*> written[] = {
      {"tpm2:handle=0x81000002", "HWID KEY REFERENCE"},
      {"hwid:name-of-handle", "HWID KEY REFERENCE"},
      {"pkcs11:token=tpm-token;object=saved", "PKCS#11 PROVIDER URI"}};
  for (const auto& [uri, label] : written) {
    const auto& which = uri;
    CAPTURE(std::string(which));
    const EvpPkey key = context.private_key(uri);
    const std::string pem = write_pem(key.get());
    CHECK_MESSAGE(pem.starts_with("-----BEGIN " + std::string(label)), pem);
    const EvpPkey again = read_pem(context, pem);
    CHECK(EVP_PKEY_eq(again.get(), expected.get()) == 1);
    const std::string signature = sign(context.get(), again.get(), "SHA256", "message");
    CHECK(verifies(expected.get(), "SHA256", "message", signature));
  }
}

TEST_CASE("tpm provider: without a section, the TPM that tpm2-openssl's settings name") {
  setenv("TPM2OPENSSL_TCTI", world().swtpm.tcti().c_str(), 1);
  const EvpPkey expected = read_public(device().public_file);
  for (const char* const name : {"hwid", "tpm2"}) {
    const LibraryContext context(OpensslConf().name(name));
    const EvpPkey key = context.private_key("handle:0x81000002");
    CHECK(EVP_PKEY_eq(key.get(), expected.get()) == 1);
  }
  unsetenv("TPM2OPENSSL_TCTI");
  const LibraryContext context(OpensslConf().name("tpm2").setting("tcti", world().swtpm.tcti()));
  const EvpPkey key = context.private_key("handle:0x81000002");
  CHECK(EVP_PKEY_eq(key.get(), expected.get()) == 1);
}

TEST_CASE("tpm provider: the public half alone, by each way") {
  const LibraryContext context(device().conf());
  const EvpPkey expected = read_public(device().public_file);
  for (const std::string& uri : {std::string("tpm2:handle=0x81000002"), "tpm2:file=" + device().pem,
                                 std::string("hwid:name-of-token")}) {
    CAPTURE(uri);
    const EvpPkey half = context.public_key(uri);
    CHECK(EVP_PKEY_eq(half.get(), expected.get()) == 1);
  }
}

TEST_CASE("tpm provider: what is not there is said, with what is") {
  const LibraryContext context(device().conf());
  const auto refused = [&](const std::string& uri) {
    return error_of([&] { (void)context.private_key(uri); });
  };
  const std::string absent = refused("tpm2:handle=0x81000099");
  CHECK_MESSAGE(contains(absent, "TPM2_ReadPublic: TPM_RC_HANDLE"), absent);
  CHECK_MESSAGE(contains(absent, "0x81000099"), absent);
  CHECK_MESSAGE(contains(absent, "tpm2_getcap handles-persistent"), absent);
  const std::string unknown = refused(std::string("pkcs11:token=") + kToken + ";object=other");
  CHECK_MESSAGE(contains(unknown, "`objects` names: by-handle, in-file, saved"), unknown);
  const std::string no_file = refused("tpm2:file=" + world().file("nowhere"));
  CHECK_MESSAGE(contains(no_file, "No such file"), no_file);
  write_file(world().file("nothing"), "nothing");
  const std::string no_key = refused("tpm2:file=" + world().file("nothing"));
  CHECK_MESSAGE(contains(no_key, "no TSS2 PRIVATE KEY and no saved handle"), no_key);
  CHECK_MESSAGE(contains(no_key, world().file("nothing")), no_key);
}

TEST_CASE("tpm provider: EC keys of three curves with every digest") {
  for (const char* const algorithm : {"ecc256", "ecc384", "ecc521"}) {
    const EvpPkey made = key(by_handle(world().add_key(algorithm)));
    for (const char* const digest : kDigests) {
      CAPTURE(std::string(algorithm));
      CAPTURE(std::string(digest));
      check_signs(made, {digest});
    }
  }
}

TEST_CASE("tpm provider: RSA, PKCS#1 and PSS with every digest, also what a TPM does not make") {
  const EvpPkey rsa = key(by_handle(world().add_key("rsa2048")));
  for (const char* const digest : kDigests) {
    CAPTURE(std::string(digest));
    check_signs(rsa, {digest});
    check_signs(rsa, pss(digest));
    check_signs(rsa, pss(digest, 20));
  }
  check_signs(rsa, {"SHA256", RSA_PKCS1_PSS_PADDING, 32, "SHA1"});
  check_signs(rsa, pss("SHA256", RSA_PSS_SALTLEN_MAX));
}

TEST_CASE("tpm provider: an RSA key that only signs refuses what only decryption could make") {
  const EvpPkey rsa = key(by_handle(world().add_key(
      "rsa2048", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign")));
  for (const char* const digest : {"SHA256", "SHA384", "SHA512"}) {
    check_signs(rsa, {digest});
    check_signs(rsa, pss(digest));
  }
  const std::string salt = refusal(rsa, pss("SHA256", 20));
  CHECK_MESSAGE(contains(salt, "RSA-PSS SHA2-256 salt 20: the TPM's salt has 32 bytes"), salt);
  CHECK_MESSAGE(contains(salt, "make the key with sign and decrypt"), salt);
  const std::string digest = refusal(rsa, {"SHA3-256"});
  CHECK_MESSAGE(contains(digest, "TPM2_Sign does not take SHA3-256"), digest);
}

TEST_CASE("tpm provider: keys with a scheme sign by that, and say so for any other") {
  const std::string sign_only = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
  const EvpPkey pkcs1 = key(by_handle(world().add_key("rsa2048:rsassa-sha256:null", sign_only)));
  check_signs(pkcs1, {"SHA256"});
  for (const SignAs& other : {SignAs{"SHA384"}, pss("SHA256")}) {
    const std::string message = refusal(pkcs1, other);
    CHECK_MESSAGE(
        contains(message, "the key was made for TPM2_ALG_RSASSA with TPM2_ALG_SHA256 only"),
        message);
  }
  const EvpPkey rsa_pss = key(by_handle(world().add_key("rsa2048:rsapss-sha256:null", sign_only)));
  check_signs(rsa_pss, pss("SHA256"));
  CHECK(EVP_PKEY_is_a(rsa_pss.get(), "RSA") == 1);  // RSA-PSS are restricted ones
  const EvpPkey ec = key(by_handle(world().add_key("ecc384:ecdsa-sha256:null", sign_only)));
  check_signs(ec, {"SHA256"});
  check_signs(ec, {"SHA224"});
  const std::string message = refusal(ec, {"SHA384"});
  CHECK_MESSAGE(contains(message, "the key was made for TPM2_ALG_ECDSA with TPM2_ALG_SHA256 only"),
                message);
  const EvpPkey longer = key(by_handle(world().add_key("ecc256:ecdsa-sha384:null", sign_only)));
  check_signs(longer, {"SHA384"});
  check_signs(longer, {"SHA256"});
}

TEST_CASE("tpm provider: restricted keys sign what the TPM has hashed, of any length") {
  const EvpPkey keys[] = {
      key(by_handle(world().add_key("rsa2048:rsassa-sha256:null", kRestricted))),
      key(by_handle(world().add_key("ecc256:ecdsa-sha256:null", kRestricted)))};
  for (const EvpPkey& key : keys) {
    for (const std::size_t size : {0U, 10U, 1024U, 1025U, 5000U}) {
      CAPTURE(size);
      const std::string message(size, 'm');
      const std::string signature = sign(context().get(), key.get(), "SHA256", message);
      CHECK(verifies(key.get(), "SHA256", message, signature));
      CHECK_FALSE(verifies(key.get(), "SHA256", message + "m", signature));
    }
    // Of a file with nothing in it no data comes at all.
    const EvpMdCtx operation(EVP_MD_CTX_new());
    std::string signature(512, '\0');
    std::size_t size = signature.size();
    REQUIRE(EVP_DigestSignInit_ex(operation.get(), nullptr, "SHA256", context().get(), nullptr,
                                  key.get(), nullptr) == 1);
    REQUIRE(EVP_DigestSignFinal(operation.get(), reinterpret_cast<unsigned char*>(signature.data()),
                                &size) == 1);
    signature.resize(size);
    CHECK(verifies(key.get(), "SHA256", "", signature));
    const std::string other = refusal(key, {"SHA384"});
    CHECK_MESSAGE(contains(other, "the key is restricted: it signs only what the TPM hashed"),
                  other);
    // What begins as the TPM's own attestations do could be taken for one.
    const std::string forged =
        error_of([&] { (void)sign(context().get(), key.get(), "SHA256", "\xffTCG and more"); });
    CHECK_MESSAGE(contains(forged, "TPM_RC_TICKET"), forged);
    CHECK_MESSAGE(contains(forged, "the message begins with ff 54 43 47"), forged);
  }
}
