// What a tool puts onto a token: key pairs that were made in software.
#include <doctest/doctest.h>
#include <openssl/ec.h>

#include <algorithm>
#include <string>

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
