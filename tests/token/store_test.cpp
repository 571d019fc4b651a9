// What a tool puts onto a token: key pairs that were made in software, and certificates.
#include <doctest/doctest.h>
#include <openssl/ec.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "provider/pkcs11/backend.h"
#include "tests/fixture/inspection.h"
#include "tests/token/world.h"

using namespace hwid;
using core::Reason;
using test::error_text;
using test::Inspection;
using test::text_of;
using test::world;

namespace {

Inspection inspect() {
  return {{{"dev", world().token.backend(world().module.path())}}, pkcs11::make_backends};
}

std::string uri(const std::string& object) {
  return "pkcs11:token=" + world().token.label() + ";object=" + object;
}

bool has(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

// A pair that was made in software, as the command imports it.
test::EvpPkey software_key() {
  test::EvpPkey key(EVP_EC_gen("P-256"));
  REQUIRE(key);
  return key;
}
void store(Inspection& inspection, const std::string& where, EVP_PKEY* key) {
  core::KeyImport spec;
  spec.key = key;
  spec.id = core::Bytes(where.begin(), where.end());  // where the URI has none
  inspection->store_key(core::KeyUri::parse(where), spec, Inspection::nobody());
}

}  // namespace

TEST_CASE("store: a key that was there survives an import that cannot look for it") {
  world().token.generate({"ec:P-256", "before", "b1"});
  Inspection inspection = inspect();
  const test::EvpPkey key = software_key();
  const std::string taken = uri("before") + ";id=%b1";
  const auto kept = [&] {
    world().module.clear();
    return text_of(inspection.list(taken)) == "private before\npublic before\n";
  };
  REQUIRE(kept());
  for (const char* const call : {"C_FindObjectsInit", "C_FindObjects"}) {
    world().module.clear();
    world().module("reset-counts");
    world().module(std::string("fail ") + call + " CKR_DEVICE_ERROR");
    error_text(Reason::kDeviceError, [&] { store(inspection, taken, key.get()); });
    CHECK(world().module.count("C_DestroyObject") == 0);
    CHECK(kept());
    // Once only, so that the call begins again: it still looks.
    world().module(std::string("fail ") + call + " CKR_SESSION_HANDLE_INVALID times=1");
    const std::string text =
        error_text(Reason::kExists, [&] { store(inspection, taken, key.get()); });
    CHECK(has(text, "is there already"));
    CHECK(kept());
  }
}

TEST_CASE("store: an import that fails takes away what it made, whatever is lost meanwhile") {
  Inspection inspection = inspect();
  const test::EvpPkey key = software_key();
  const auto there = [&](const std::string& label) {
    world().module.clear();
    const auto all = inspection.list("pkcs11:token=" + world().token.label());
    return std::ranges::count_if(
        all, [&](const core::Object& object) { return object.description.label == label; });
  };
  for (const char* const plan :
       {"fail C_CreateObject CKR_DEVICE_MEMORY nth=2",
        "fail C_CreateObject CKR_DEVICE_MEMORY nth=2\nat C_DestroyObject reinitialize",
        "at C_CreateObject nth=2 reinitialize\nfail C_CreateObject CKR_DEVICE_MEMORY nth=3"}) {
    world().module.clear();
    world().module(plan);
    error_text(Reason::kDeviceError, [&] { store(inspection, uri("failing"), key.get()); });
    CHECK_MESSAGE(there("failing") == 0, plan);
  }
  // The answer is lost and not the object: it is made once.
  for (const char* const nth : {"1", "2"}) {
    const std::string label = std::string("answerless") + nth;
    world().module.clear();
    world().module(
        std::string("fail C_CreateObject CKR_SESSION_HANDLE_INVALID after times=1 nth=") + nth);
    store(inspection, uri(label), key.get());
    CHECK(there(label) == 2);
  }
}

namespace {

using Certificate = std::unique_ptr<X509, core::FreeWith<X509_free>>;

// DER of a certificate for the public half of `label`, signed by somebody.
core::Bytes certificate_for(Inspection& inspection, const std::string& label, long serial) {
  const auto found = inspection.list(uri(label) + ";type=public");
  REQUIRE(found.size() == 1);
  const Certificate made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
  const std::unique_ptr<X509_NAME, core::FreeWith<X509_NAME_free>> subject(X509_NAME_new());
  X509_NAME_add_entry_by_txt(subject.get(), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(label.c_str()), -1, -1, 0);
  X509_set_subject_name(made.get(), subject.get());
  X509_set_pubkey(made.get(), found.front().public_key->pkey());
  const test::EvpPkey issuer = software_key();
  REQUIRE(X509_sign(made.get(), issuer.get(), EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509(made.get(), &der);
  REQUIRE(size > 0);
  core::Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

core::StoredCertificate put(Inspection& inspection, const std::string& label, core::Bytes id,
                            const core::Bytes& der, bool replace = true) {
  const core::CertificateSpec spec{der, label, std::move(id), replace, {}, {}};
  return inspection->store_certificate(core::KeyUri::parse(uri(label)), spec, Inspection::nobody());
}

}  // namespace

TEST_CASE("store: a certificate replaces those of its own key, though others share its id") {
  world().token.generate({{"ec:P-256", "tenant", "c1"}, {"ec:P-256", "neighbour", "c1"}});
  Inspection inspection = inspect();
  const core::Bytes id{0xc1};
  const core::Bytes first = certificate_for(inspection, "tenant", 1);
  const core::Bytes theirs = certificate_for(inspection, "neighbour", 2);
  const core::Bytes renewed = certificate_for(inspection, "tenant", 3);
  const auto there = [&] {
    std::vector<core::Bytes> all;
    for (const core::Object& object :
         inspection.list("pkcs11:token=" + world().token.label() + ";id=%c1;type=cert"))
      all.push_back(object.certificate);
    std::ranges::sort(all);
    return all;
  };
  const auto sorted = [](std::vector<core::Bytes> all) {
    std::ranges::sort(all);
    return all;
  };
  world().module.clear();
  CHECK(put(inspection, "tenant", id, first).result == core::Stored::kNew);
  // Another key's is not in the way.
  CHECK(put(inspection, "neighbour", id, theirs, false).result == core::Stored::kNew);
  CHECK(there() == sorted({first, theirs}));
  error_text(Reason::kExists, [&] { put(inspection, "tenant", id, renewed, false); });

  const core::StoredCertificate stored = put(inspection, "tenant", id, renewed);
  CHECK(stored.result == core::Stored::kReplaced);
  REQUIRE(stored.replaced.size() == 1);
  CHECK(stored.replaced.front().certificate == first);
  CHECK(stored.replaced.front().description.label == "tenant");
  CHECK(there() == sorted({theirs, renewed}));
  CHECK(put(inspection, "tenant", id, renewed).result == core::Stored::kWasThere);

  // What is gone though the answer was lost is told as well.
  world().module("fail C_DestroyObject CKR_SESSION_HANDLE_INVALID after times=1");
  const core::StoredCertificate again = put(inspection, "tenant", id, first);
  REQUIRE(again.replaced.size() == 1);
  CHECK(again.replaced.front().certificate == renewed);
  world().module.clear();
  CHECK(there() == sorted({theirs, first}));

  // Certificates of another kind than X.509 (CKC_X_509_ATTR_CERT) are nobody's to replace.
  world().module("attribute 0x80 0100000000000000");
  CHECK(put(inspection, "tenant", id, renewed).result == core::Stored::kNew);
  world().module.clear();
  CHECK(there() == sorted({theirs, first, renewed}));
}
