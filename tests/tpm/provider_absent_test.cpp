// A program whose configuration names a TPM that is not there: it notices only where it needs it.
#include "tests/fixture/operations.h"
#include "tests/fixture/pki.h"
#include "tests/fixture/ports.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;

namespace {

OpensslConf conf(const std::string& tcti) {
  return OpensslConf()
      .backend("tpm", {{"type", "tpm2"}, {"tcti", tcti}, {"token", kToken}})
      .key("device", "tpm2:handle=0x81000002");
}
std::string absent_swtpm() { return "swtpm:host=127.0.0.1,port=" + std::to_string(free_port()); }

std::string failure(const LibraryContext& context, const std::string& uri) {
  return error_of([&] { (void)context.private_key(uri); });
}

// What has nothing to do with keys of ours.
void check_works(const LibraryContext& context) {
  unsigned char out[64];
  CHECK(EVP_Q_digest(context.get(), "SHA256", nullptr, "text", 4, out, nullptr) == 1);
  const EvpPkey software(EVP_PKEY_Q_keygen(context.get(), nullptr, "EC", "P-256"));
  REQUIRE(software);
  CHECK(verifies(software.get(), "SHA256", "text",
                 sign(context.get(), software.get(), "SHA256", "text")));
}

}  // namespace

TEST_CASE("tpm absent: the module loads, and all that needs no TPM works") {
  setenv("TSS2_LOG", "all+NONE", 0);
  const std::string tcti = absent_swtpm();
  const LibraryContext context(conf(tcti));
  check_works(context);
  for (const char* const uri :
       {"tpm2:handle=0x81000002", "hwid:device", "pkcs11:token=tpm-token;object=x"}) {
    CAPTURE(std::string(uri));
    CHECK(!failure(context, uri).empty());
  }
  const std::string message = failure(context, "tpm2:handle=0x81000002");
  CHECK_MESSAGE(contains(message, tcti), message);
  check_works(context);
}

TEST_CASE("tpm absent: what it holds is not listed as nothing") {
  const std::string tcti = absent_swtpm();
  const LibraryContext context(OpensslConf().backend(
      "tpm", {{"type", "tpm2"}, {"tcti", tcti}, {"token", kToken}, {"objects", "a=0x81000002"}}));
  const std::string message = failure(context, std::string("pkcs11:token=") + kToken);
  CHECK_MESSAGE(contains(message, tcti), message);
}

TEST_CASE("tpm absent: a device that is not there is named") {
  const LibraryContext context(conf("device:/dev/there-is-no-tpm"));
  check_works(context);
  const std::string message = failure(context, "hwid:device");
  CHECK_MESSAGE(contains(message, "there is no /dev/there-is-no-tpm"), message);
}

TEST_CASE("tpm absent: a kind of TCTI that nobody knows is named") {
  const LibraryContext context(conf("no-such-tcti:x"));
  check_works(context);
  const std::string message = failure(context, "hwid:device");
  CHECK_MESSAGE(contains(message, "no-such-tcti"), message);
}

TEST_CASE("tpm absent: a key file is read without it, and its use says what is missing") {
  const std::string pem = [] {
    World made;  // whose TPM goes with it
    return read_file(made.add_file({"ecc256", kSignDecrypt, {}, kParent, {}}));
  }();
  const std::string tcti = absent_swtpm();
  const LibraryContext context(conf(tcti));
  const EvpPkey key = read_pem(context, pem);
  CHECK(EVP_PKEY_get_bits(key.get()) == 256);
  const std::string message =
      error_of([&] { (void)sign(context.get(), key.get(), "SHA256", "text"); });
  CHECK_MESSAGE(contains(message, tcti), message);
}

TEST_CASE("tpm absent: stock openssl works, and shows the error of the URI") {
  const std::string tcti = absent_swtpm();
  const TemporaryDirectory directory;
  RunOptions options;
  options.environment["OPENSSL_CONF"] = conf(tcti).write(directory.file("openssl.cnf"));
  if (const char* const preload = std::getenv("HWID_PRELOAD"))
    options.environment["LD_PRELOAD"] = preload;
  CHECK(run({"openssl", "version"}, options).ok());
  options.input = "text";
  CHECK(run({"openssl", "dgst", "-sha256"}, options).ok());
  const RunResult refused =
      run({"openssl", "pkey", "-in", "tpm2:handle=0x81000002", "-pubout"}, options);
  CHECK(!refused.ok());
  CHECK_MESSAGE(contains(refused.err, tcti), refused.err);
}
