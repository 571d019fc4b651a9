#include "provider/core/inventory.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/protection.h"

using hwid::core::merged;
using hwid::core::Protection;
using hwid::core::TokenInfo;

namespace {

TokenInfo token(const std::string& uri, std::uint64_t slot, const std::string& module = "m") {
  TokenInfo info;
  info.kind = "pkcs11";
  info.module = module;
  info.slot_id = slot;
  info.uri = uri;
  return info;
}

std::vector<std::string> uris(std::vector<TokenInfo> tokens) {
  std::vector<std::string> all;
  for (const TokenInfo& info : merged(std::move(tokens))) all.push_back(info.uri);
  return all;
}

}  // namespace

TEST_CASE("inventory: a token's URI says no more than it must") {
  using List = std::vector<std::string>;
  CHECK(uris({}).empty());
  CHECK(uris({token("pkcs11:token=a;serial=1;slot-id=1", 1),
              token("pkcs11:token=b;serial=1;slot-id=2", 2)}) ==
        List{"pkcs11:token=a", "pkcs11:token=b"});
  CHECK(uris({token("pkcs11:token=a;serial=1;slot-id=1", 1),
              token("pkcs11:token=a;serial=2;slot-id=2", 2),
              token("pkcs11:token=ab;serial=2;slot-id=3", 3)}) ==
        List{"pkcs11:token=a;serial=1", "pkcs11:token=a;serial=2", "pkcs11:token=ab"});
  CHECK(uris({token("pkcs11:token=a;serial=1;slot-id=1", 1),
              token("pkcs11:token=a;serial=1;slot-id=2", 2)}) ==
        List{"pkcs11:token=a;serial=1;slot-id=1", "pkcs11:token=a;serial=1;slot-id=2"});
  // One without a serial number is not named by what the others have too.
  CHECK(
      uris({token("pkcs11:token=a;slot-id=1", 1), token("pkcs11:token=a;serial=1;slot-id=2", 2)}) ==
      List{"pkcs11:token=a;slot-id=1", "pkcs11:token=a;serial=1"});
  CHECK(uris({token("pkcs11:slot-id=7", 7), token("tpm2:", 8), token("", 9)}) ==
        List{"pkcs11:slot-id=7", "tpm2:", ""});
}

TEST_CASE("inventory: a slot comes once, from the section that serves its token") {
  TokenInfo other = token("pkcs11:token=a;slot-id=1", 1);
  other.backend = "other";
  other.served = false;
  TokenInfo ours = token("pkcs11:token=a;slot-id=1", 1);
  ours.backend = "ours";
  for (const auto& order : {std::vector{other, ours}, std::vector{ours, other}}) {
    const std::vector<TokenInfo> all = merged(order);
    REQUIRE(all.size() == 1);
    CHECK(all[0].backend == "ours");
    CHECK(all[0].uri == "pkcs11:token=a");
  }
  // The same slot number of another module is another slot; what has none is never the same.
  CHECK(merged({ours, token("pkcs11:token=a;slot-id=1", 1, "n")}).size() == 2);
  TokenInfo broken;
  broken.problem = "it is gone";
  CHECK(merged({broken, broken}).size() == 2);
}

TEST_CASE("protection: a key is exportable, not so, or the device does not say") {
  const auto pkcs11 = [](std::optional<bool> sensitive, std::optional<bool> extractable) {
    Protection protection;
    protection.sensitive = sensitive;
    protection.extractable = extractable;
    return protection.exportable();
  };
  CHECK(pkcs11(true, false) == false);
  CHECK(pkcs11(true, true) == true);
  CHECK(pkcs11(false, false) == true);
  CHECK(pkcs11({}, true) == true);
  CHECK(pkcs11(false, {}) == true);
  CHECK_FALSE(pkcs11(true, {}).has_value());
  CHECK_FALSE(pkcs11({}, false).has_value());
  CHECK_FALSE(pkcs11({}, {}).has_value());
  Protection tpm;
  tpm.fixed_tpm = true;
  CHECK(tpm.exportable() == false);
  tpm.fixed_tpm = false;
  CHECK(tpm.exportable() == true);
}
