#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <string>

#include "provider/core/key_reference.h"
#include "tests/fixture/files.h"
#include "tests/fixture/pki.h"
#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::EvpPkey;
using hwid::test::LibraryContext;
using hwid::test::openssl_errors;
using hwid::test::TemporaryDirectory;
using hwid::test::world;

namespace {

using Bio = std::unique_ptr<BIO, decltype([](BIO* bio) { BIO_free(bio); })>;
using SslCtx = std::unique_ptr<SSL_CTX, decltype([](SSL_CTX* ctx) { SSL_CTX_free(ctx); })>;

std::string content(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string private_pem(EVP_PKEY* pkey) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), pkey, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return "";
  return content(bio.get());
}

EvpPkey read_pem(const std::string& pem, const LibraryContext& from) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return EvpPkey(
      PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, nullptr, nullptr, from.get(), nullptr));
}

std::string reference_pem(const std::string& uri) {
  const hwid::core::KeyReference reference = hwid::core::encode_reference(uri);
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio(bio.get(), reference.label, "", reference.der.data(),
                static_cast<long>(reference.der.size()));
  return content(bio.get());
}

}  // namespace

// First in this file: once a key of the token is open, its PIN is there for all.
TEST_CASE("reference: a pin-source in a file is only read where configuration allows it") {
  const std::string pin = world().token.pin_file();
  const std::string pem = reference_pem(world().token.uri("ec") + "?pin-source=file:" + pin);
  const auto without_pin = [] {
    hwid::test::Settings backend;
    for (const auto& [name, value] : world().token.backend(world().module.path())) {
      if (name != "pin-source") backend.emplace_back(name, value);
    }
    return hwid::test::OpensslConf().backend("dev", backend);
  };
  LibraryContext refusing(without_pin());
  CHECK_FALSE(read_pem(pem, refusing));
  CHECK(openssl_errors().find("PIN") != std::string::npos);
  LibraryContext allowing(without_pin().setting("allow-pin-source", "file:" + pin));
  const EvpPkey allowed = read_pem(pem, allowing);
  CHECK_MESSAGE(allowed, openssl_errors());
}

TEST_CASE("reference: a key by URI writes pkcs11-provider's form, a key by name ours") {
  const EvpPkey by_uri = context().private_key(world().token.uri("rsa", true));
  const std::string pem = private_pem(by_uri.get());
  CHECK(pem.find("-----BEGIN PKCS#11 PROVIDER URI-----") == 0);
  CHECK(pem.find("PRIVATE KEY") == std::string::npos);
  const EvpPkey by_name = context().private_key("hwid:device");
  CHECK(private_pem(by_name.get()).find("-----BEGIN HWID KEY REFERENCE-----") == 0);
  for (const std::string& written : {pem, private_pem(by_name.get())}) {
    const EvpPkey again = read_pem(written, context());
    REQUIRE_MESSAGE(again, openssl_errors());
    CHECK(EVP_PKEY_eq(again.get(), by_uri.get()) == 1);
    const std::string signature = hwid::test::sign(context().get(), again.get(), "SHA256", "m");
    CHECK(hwid::test::verifies(by_uri.get(), "SHA256", "m", signature));
  }
}

TEST_CASE("reference: no form holds the PIN") {
  const EvpPkey rsa = context().private_key(world().token.uri("rsa", true));
  const std::string pem = private_pem(rsa.get());
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  REQUIRE(PEM_read_bio(bio.get(), &name, &header, &data, &size) == 1);
  const std::string der(reinterpret_cast<char*>(data), static_cast<std::size_t>(size));
  CHECK(der.find("pin") == std::string::npos);
  CHECK(der.find(hwid::test::SoftHsmToken::kPin) == std::string::npos);
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  const Bio text(BIO_new(BIO_s_mem()));
  REQUIRE(EVP_PKEY_print_private(text.get(), rsa.get(), 0, nullptr) == 1);
  CHECK(content(text.get()).find("Token: " + world().token.label()) != std::string::npos);
  CHECK(content(text.get()).find("Object: rsa") != std::string::npos);
  CHECK(content(text.get()).find("pin") == std::string::npos);
}

TEST_CASE("reference: a program that only knows files loads it, alone or beside a certificate") {
  const EvpPkey rsa = context().private_key("hwid:device");
  const hwid::test::Pki pki;
  const std::string certificate = pki.issue_for("device", rsa.get(), {});
  const std::string cert_pem = hwid::test::read_file(certificate);
  const TemporaryDirectory directory;
  const std::string reference = reference_pem("hwid://device");
  const auto load = [&](const std::string& content) {
    const std::string file = directory.file("key.pem");
    hwid::test::write_file(file, content);
    const SslCtx ctx(SSL_CTX_new_ex(context().get(), nullptr, TLS_method()));
    REQUIRE(SSL_CTX_use_certificate_chain_file(ctx.get(), certificate.c_str()) == 1);
    REQUIRE_MESSAGE(SSL_CTX_use_PrivateKey_file(ctx.get(), file.c_str(), SSL_FILETYPE_PEM) == 1,
                    openssl_errors());
    CHECK(SSL_CTX_check_private_key(ctx.get()) == 1);
  };
  load(reference);
  load(cert_pem + reference);
  load(reference + cert_pem);
}

TEST_CASE("reference: one of a public key is that, and asks for no PIN") {
  const std::string uri = "pkcs11:token=" + world().token.label() + ";object=ec;type=public";
  const std::string pem = reference_pem(uri);
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const EvpPkey half(
      PEM_read_bio_PUBKEY_ex(bio.get(), nullptr, nullptr, nullptr, context().get(), nullptr));
  REQUIRE_MESSAGE(half, openssl_errors());
  const std::string signature =
      hwid::test::sign(context().get(), hwid::test::key("ec").get(), "SHA256", "m");
  CHECK(hwid::test::verifies(half.get(), "SHA256", "m", signature));
  std::size_t size = 0;
  CHECK(EVP_PKEY_get_raw_private_key(half.get(), nullptr, &size) != 1);
  (void)openssl_errors();
}

TEST_CASE("reference: one file costs one search, whatever the key's type") {
  LibraryContext fresh(world().conf());
  world().module.clear();
  const EvpPkey key = read_pem(reference_pem(world().token.uri("ec")), fresh);
  REQUIRE_MESSAGE(key, openssl_errors());
  CHECK(world().module.count("C_FindObjectsInit") == 1);
}

TEST_CASE("reference: a damaged one, and one to nothing, say what is wrong") {
  CHECK_FALSE(read_pem(reference_pem("pkcs11:token=t;objekt=x"), context()));
  CHECK(openssl_errors().find("objekt") != std::string::npos);
  CHECK_FALSE(read_pem(reference_pem(world().token.uri("nobody")), context()));
  CHECK(openssl_errors().find("no private key matches") != std::string::npos);
  CHECK_FALSE(read_pem(reference_pem("hwid://nobody"), context()));
  CHECK(openssl_errors().find("not configured") != std::string::npos);
}

TEST_CASE("reference: writing one can be forbidden") {
  LibraryContext strict(
      world().conf().setting("pkcs11-module-encode-provider-uri-to-pem", "false"));
  const EvpPkey rsa = strict.private_key(world().token.uri("rsa"));
  CHECK(private_pem(rsa.get()).empty());
  CHECK(openssl_errors().find("encode-provider-uri-to-pem") != std::string::npos);
}

TEST_CASE("reference: ordinary keys are written and read as ever") {
  for (const char* const algorithm : {"ec:P-256", "rsa:2048"}) {
    const EvpPkey software = hwid::test::new_software_key(algorithm);
    const std::string pem = private_pem(software.get());
    LibraryContext first(world().conf().order(hwid::test::ProviderOrder::kHwidFirst));
    const EvpPkey read = read_pem(pem, first);
    REQUIRE_MESSAGE(read, openssl_errors());
    CHECK(private_pem(read.get()) == pem);
    const std::string signature = hwid::test::sign(first.get(), read.get(), "SHA256", "m");
    CHECK(hwid::test::verifies(software.get(), "SHA256", "m", signature));
  }
}
