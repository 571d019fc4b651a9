// What OSSL_STORE_find leaves of a token's objects.
#include <doctest/doctest.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "provider/core/libcrypto.h"
#include "tests/fixture/command.h"
#include "tests/fixture/paths.h"
#include "tests/token/world.h"

using hwid::test::Certificate;
using hwid::test::context;
using hwid::test::EvpPkey;
using hwid::test::openssl_errors;
using hwid::test::world;

namespace {

using Search = std::unique_ptr<OSSL_STORE_SEARCH, hwid::core::FreeWith<OSSL_STORE_SEARCH_free>>;
using Name = std::unique_ptr<X509_NAME, hwid::core::FreeWith<X509_NAME_free>>;

// Two certificates on the token, "one" with serial number 17 and "two" with 18.
void add_certificates() {
  static bool added = false;
  if (std::exchange(added, true)) return;
  for (const auto& [label, serial] : {std::pair("one", "17"), {"two", "18"}}) {
    const std::string file = world().token.directory().file(std::string(label) + ".pem");
    hwid::test::run_checked(
        {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", file + ".key", "-out", file, "-subj",
         std::string("/O=Finders/CN=") + label, "-set_serial", serial},
        {});
    world().token.add_certificate(file, label, serial);
  }
}

std::string common_name(const X509* certificate) {
  const X509_NAME* const name = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

// "cert one", "private rsa", ... of what is left.
std::vector<std::string> found(const Search& search, int expected = 0) {
  REQUIRE(search);
  const std::string uri = "pkcs11:token=" + world().token.label();
  OSSL_STORE_CTX* const store = OSSL_STORE_open_ex(uri.c_str(), context().get(), nullptr, nullptr,
                                                   nullptr, nullptr, nullptr, nullptr);
  REQUIRE_MESSAGE(store != nullptr, openssl_errors());
  if (expected != 0) REQUIRE(OSSL_STORE_expect(store, expected) == 1);
  CHECK_MESSAGE(OSSL_STORE_find(store, search.get()) == 1, openssl_errors());
  std::vector<std::string> all;
  while (OSSL_STORE_INFO* const info = OSSL_STORE_load(store)) {
    std::string text = OSSL_STORE_INFO_type_string(OSSL_STORE_INFO_get_type(info));
    if (X509* const certificate = OSSL_STORE_INFO_get0_CERT(info)) {
      text += " " + common_name(certificate);
    }
    all.push_back(std::move(text));
    OSSL_STORE_INFO_free(info);
  }
  CHECK(OSSL_STORE_error(store) == 0);
  OSSL_STORE_close(store);
  return all;
}

using Objects = std::vector<std::string>;

Name name(const char* organization, const char* common) {
  Name made(X509_NAME_new());
  const auto add = [&](const char* field, const char* value) {
    X509_NAME_add_entry_by_txt(made.get(), field, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(value), -1, -1, 0);
  };
  add("O", organization);
  add("CN", common);
  return made;
}

}  // namespace

TEST_CASE("find: by subject, as names compare") {
  add_certificates();
  const Name two = name("Finders", "two");
  CHECK(found(Search(OSSL_STORE_SEARCH_by_name(two.get()))) == Objects{"Certificate two"});
  const Name shouted = name("FINDERS", "TWO");  // RFC 5280, 7.1
  CHECK(found(Search(OSSL_STORE_SEARCH_by_name(shouted.get())), OSSL_STORE_INFO_CERT) ==
        Objects{"Certificate two"});
  const Name nobody = name("Finders", "three");
  CHECK(found(Search(OSSL_STORE_SEARCH_by_name(nobody.get()))).empty());
}

TEST_CASE("find: by issuer and serial number") {
  add_certificates();
  const Name one = name("Finders", "one");
  const std::unique_ptr<ASN1_INTEGER, hwid::core::FreeWith<ASN1_INTEGER_free>> serial(
      ASN1_INTEGER_new());
  const auto left = [&](long number) {
    ASN1_INTEGER_set(serial.get(), number);
    return found(Search(OSSL_STORE_SEARCH_by_issuer_serial(one.get(), serial.get())));
  };
  CHECK(left(17) == Objects{"Certificate one"});
  CHECK(left(18).empty());
}

TEST_CASE("find: by alias, every object of the label") {
  add_certificates();
  const Search alias(OSSL_STORE_SEARCH_by_alias("rsa"));
  CHECK(found(alias) == Objects{"Pkey", "Public key"});
  CHECK(found(alias, OSSL_STORE_INFO_PKEY) == Objects{"Pkey"});
  CHECK(found(Search(OSSL_STORE_SEARCH_by_alias("rs"))).empty());
  CHECK(found(Search(OSSL_STORE_SEARCH_by_alias("one"))) == Objects{"Certificate one"});
}

TEST_CASE("find: by fingerprint, of a certificate or of a key") {
  add_certificates();
  const Certificate one =
      context().certificate("pkcs11:token=" + world().token.label() + ";object=one;type=cert");
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  REQUIRE(X509_digest(one.get(), EVP_sha256(), hash, &size) == 1);
  CHECK(found(Search(OSSL_STORE_SEARCH_by_key_fingerprint(EVP_sha256(), hash, size))) ==
        Objects{"Certificate one"});
  const EvpPkey half = hwid::test::software_public(hwid::test::key("ec").get());
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(half.get(), &der);
  REQUIRE(length > 0);
  REQUIRE(EVP_Digest(der, static_cast<std::size_t>(length), hash, &size, EVP_sha1(), nullptr) == 1);
  OPENSSL_free(der);
  CHECK(found(Search(OSSL_STORE_SEARCH_by_key_fingerprint(EVP_sha1(), hash, size))) ==
        Objects{"Pkey", "Public key"});
}

TEST_CASE("find: stock programs that look for a certificate by its subject") {
  add_certificates();
  const hwid::test::TemporaryDirectory directory;
  hwid::test::RunOptions options;
  options.environment = world().token.environment();
  options.environment["OPENSSL_CONF"] = world().conf().write(directory.file("openssl.cnf"));
  options.environment["OPENSSL_MODULES"] = std::getenv("HWID_MODULE_DIR");
  if (const char* const preload = std::getenv("HWID_PRELOAD"))
    options.environment["LD_PRELOAD"] = preload;
  const std::string uri = "pkcs11:token=" + world().token.label();
  const auto listed = hwid::test::run(
      {"openssl", "storeutl", "-certs", "-noout", "-subject", "/O=Finders/CN=two", uri}, options);
  CHECK_MESSAGE(listed.out.find("Total found: 1") != std::string::npos, (listed.out + listed.err));
  // The store of trusted certificates asks for the issuer's name.
  const auto verified = hwid::test::run(
      {"openssl", "verify", "-CAstore", uri, world().token.directory().file("one.pem")}, options);
  CHECK_MESSAGE(verified.ok(), (verified.out + verified.err));
}
