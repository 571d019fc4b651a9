// Keys that a TPM wrapped, as far as no TPM is asked: in, and out again.
#include <doctest/doctest.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "tests/fixture/files.h"
#include "tests/fixture/library_context.h"

using namespace hwid::test;

namespace {

using Bio = std::unique_ptr<BIO, decltype([](BIO* bio) { BIO_free(bio); })>;

std::string tss2(const std::string& name) {
  return read_file(std::filesystem::path(std::getenv("HWID_TESTS_DIR")) / "unit/data/tss2" / name);
}

// Nobody answers there.
OpensslConf conf() {
  return OpensslConf().backend(
      "tpm", {{"type", "tpm2"}, {"token", "tpm-token"}, {"tcti", "swtpm:host=127.0.0.1,port=1"}});
}

const LibraryContext& context() {
  static const LibraryContext made(conf());
  return made;
}

std::string content(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// The program's passphrase callback, which has no answer; counts how often it was asked.
int no_answer(char*, int, int, void* asked) {
  ++*static_cast<int*>(asked);
  return -1;
}

EvpPkey read_pem(const std::string& pem, int& asked, const LibraryContext& from = context()) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return EvpPkey(
      PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, no_answer, &asked, from.get(), nullptr));
}
EvpPkey read_pem(const std::string& pem, const LibraryContext& from = context()) {
  int asked = 0;
  return read_pem(pem, asked, from);
}

std::string der_of(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  REQUIRE(PEM_read_bio(bio.get(), &label, &header, &data, &size) == 1);
  const std::string der(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return der;
}

EvpPkey read_der(const std::string& der) {
  EVP_PKEY* key = nullptr;
  OSSL_DECODER_CTX* const decoder =
      OSSL_DECODER_CTX_new_for_pkey(&key, "DER", nullptr, nullptr, 0, context().get(), nullptr);
  auto at = reinterpret_cast<const unsigned char*>(der.data());
  std::size_t left = der.size();
  (void)OSSL_DECODER_from_data(decoder, &at, &left);
  OSSL_DECODER_CTX_free(decoder);
  return EvpPkey(key);
}

std::string written(EVP_PKEY* key, const char* format, const char* structure) {
  OSSL_ENCODER_CTX* const encoder =
      OSSL_ENCODER_CTX_new_for_pkey(key, OSSL_KEYMGMT_SELECT_ALL, format, structure, nullptr);
  const Bio bio(BIO_new(BIO_s_mem()));
  const int good = OSSL_ENCODER_to_bio(encoder, bio.get());
  OSSL_ENCODER_CTX_free(encoder);
  return good == 1 ? content(bio.get()) : "";
}

std::string spki_pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  return PEM_write_bio_PUBKEY(bio.get(), key) == 1 ? content(bio.get()) : "";
}

bool errors_have(const std::string& part) {
  const std::string errors = openssl_errors();
  if (errors.find(part) != std::string::npos) return true;
  MESSAGE(errors);
  return false;
}

}  // namespace

TEST_CASE("wrapped: the file of every writer becomes its key") {
  for (const char* const name : {"tpm2-tools-ec", "tpm2-tools-rsa", "tpm2-tools-ec-auth"}) {
    CAPTURE(name);
    const EvpPkey key = read_pem(tss2(std::string(name) + ".pem"));
    REQUIRE_MESSAGE(key, openssl_errors());
    CHECK(spki_pem(key.get()) == tss2(std::string(name) + ".public.pem"));
  }
  for (const char* const name : {"tpm2-openssl-ec.pem", "tpm2-openssl-rsa.pem", "old.pem"}) {
    CAPTURE(name);
    CHECK_MESSAGE(read_pem(tss2(name)), openssl_errors());
  }
}

TEST_CASE("wrapped: the program is asked once for an auth value, and only where there is one") {
  // (emptyAuth of the second is the opposite of what is true.)
  const std::pair<std::string, int> files[] = {{"empty-auth-false.pem", 1},
                                               {"tpm2-tools-rsa.pem", 1},
                                               {"tpm2-openssl-ec.pem", 0},
                                               {"tpm2-openssl-rsa.pem", 0}};
  for (const auto& [name, most] : files) {
    const auto& which = name;
    CAPTURE(which);
    int asked = 0;
    CHECK_MESSAGE(read_pem(tss2(name), asked), openssl_errors());
    CHECK(asked == most);
  }
}

TEST_CASE("wrapped: a key is written as a file of its own, in PEM and in DER") {
  for (const char* const name : {"tpm2-openssl-ec.pem", "tpm2-openssl-rsa.pem"}) {
    CAPTURE(name);
    const EvpPkey key = read_pem(tss2(name));
    REQUIRE_MESSAGE(key, openssl_errors());
    const std::string pem = written(key.get(), "PEM", "PrivateKeyInfo");
    CHECK(pem.find("-----BEGIN TSS2 PRIVATE KEY-----\n") == 0);
    CHECK(written(key.get(), "PEM", "type-specific") == pem);
    const std::string der = written(key.get(), "DER", "PrivateKeyInfo");
    CHECK(der == der_of(pem));
    unsigned char* bytes = nullptr;
    CHECK(i2d_PrivateKey(key.get(), &bytes) == static_cast<int>(der.size()));
    OPENSSL_free(bytes);
    const std::array<EvpPkey, 2> both{read_pem(pem), read_der(der)};
    for (const EvpPkey& again : both) {
      REQUIRE_MESSAGE(again, openssl_errors());
      CHECK(EVP_PKEY_eq(key.get(), again.get()) == 1);
      CHECK(written(again.get(), "PEM", "PrivateKeyInfo") == pem);
    }
  }
}

TEST_CASE("wrapped: the text has no line for a URI that is not there") {
  const EvpPkey key = read_pem(tss2("tpm2-openssl-ec.pem"));
  REQUIRE_MESSAGE(key, openssl_errors());
  const std::string text = written(key.get(), "TEXT", nullptr);
  CHECK(text.find("Private key on a token\n    Token: tpm-token\n") == 0);
  CHECK(text.find("URI:") == std::string::npos);
  CHECK(text.find("    ID:") == std::string::npos);
  CHECK(text.find(": \n") == std::string::npos);
}

TEST_CASE("wrapped: the key is a token's, so nothing changes it and nothing takes it out") {
  const EvpPkey key = read_pem(tss2("tpm2-openssl-ec.pem"));
  REQUIRE_MESSAGE(key, openssl_errors());
  OSSL_PARAM* params = nullptr;
  CHECK(EVP_PKEY_todata(key.get(), EVP_PKEY_KEYPAIR, &params) != 1);
  CHECK(errors_have("export: token=tpm-token: the private key stays"));
  unsigned char point[65] = {4};
  CHECK(EVP_PKEY_set1_encoded_public_key(key.get(), point, sizeof point) != 1);
  CHECK(errors_have("set_params: token=tpm-token: the values of a key on a token are fixed"));
}

TEST_CASE("wrapped: what cannot be used says why, on the queue and in the log") {
  const TemporaryDirectory directory;
  const std::string log = directory.file("log");
  LibraryContext own(conf().setting("log", "error:file:" + log));
  CHECK_FALSE(read_pem(tss2("sealed.pem"), own));
  CHECK(errors_have("TSS2 PRIVATE KEY: "));
  CHECK(read_file(log).find("TSS2 PRIVATE KEY: ") != std::string::npos);

  LibraryContext without(
      OpensslConf().backend("dev", {{"type", "pkcs11"}, {"module", "/none.so"}}));
  CHECK_FALSE(read_pem(tss2("tpm2-openssl-ec.pem"), without));
  CHECK(errors_have("no TPM is configured"));
}

TEST_CASE("wrapped: what only begins like one is looked at no further than 64 KiB") {
  std::string der = der_of(tss2("tpm2-openssl-ec.pem"));
  der.resize(60000);
  CHECK_FALSE(read_der(der));
  (void)openssl_errors();
  der.resize(70000);
  CHECK_FALSE(read_der(der));
  const std::string errors = openssl_errors();
  CHECK_MESSAGE(errors.find("TSS2") == std::string::npos, errors);
}
