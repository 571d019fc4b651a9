// What a tool sees of a TPM, and how it removes keys from it.
#include <algorithm>

#include "provider/tpm2/backend.h"
#include "tests/fixture/inspection.h"
#include "tests/tpm/provider.h"

using namespace hwid;
using namespace hwid::test::provider;
using core::PinState;
using core::Reason;
using core::TokenInfo;
using test::error_text;
using test::Inspection;
using test::Settings;
using test::Swtpm;
using test::text_of;

namespace {

Inspection inspect(const Inspection::Backends& backends) {
  return {backends, [](const core::BackendConfig& section, const core::Config&, const core::Log&) {
            std::vector<std::unique_ptr<core::Backend>> one;
            one.push_back(tpm2::make_backend(section));
            return one;
          }};
}
// Everything that the TPM is asked is counted.
Settings captured(Settings more = {}) {
  more.insert(more.begin(), {"tcti", world().swtpm.capture_tcti()});
  return world().section(more);
}
TokenInfo token() {
  const std::vector<TokenInfo> tokens = inspect({{"tpm", captured()}})->inventory();
  REQUIRE(tokens.size() == 1);
  return tokens.front();
}

// What OpenSSL's programs see.
constexpr core::Wanted kKeys{};

struct Keys {  // one of each kind
  std::string ec = world().add_key("ecc256");
  std::string rsa = world().add_key("rsa2048");
  std::string secret = world().add_key({"ecc256", kCounted, "its-value", kParent, {}});
};
const Keys& keys() {
  static const Keys made;
  return made;
}

std::string section_uri(const std::string& object) {
  return "pkcs11:token=" + std::string(kToken) + ";object=" + object;
}

}  // namespace

TEST_CASE("tpm inspect: what the TPM says of itself, by three commands") {
  TokenInfo info;
  CHECK(asked([&] { info = token(); }) == "GetCapability 3");
  CHECK(info.backend == "tpm");
  CHECK(info.kind == "tpm2");
  CHECK(info.module == world().swtpm.capture_tcti());
  CHECK(info.label == kToken);
  CHECK(info.manufacturer == "IBM");
  CHECK(contains(info.model, "SW"));
  CHECK(std::ranges::count(info.firmware, '.') == 3);
  CHECK(info.present);
  CHECK(info.initialized);
  CHECK(info.configured);
  CHECK(info.uri == "pkcs11:token=" + std::string(kToken));
  CHECK(info.user_pin == PinState::kOk);
  CHECK(info.so_pin == PinState::kNotSet);
  REQUIRE(info.lockout.has_value());
  CHECK(info.lockout->failures == 0);
  CHECK(info.lockout->most_failures == 3);
  CHECK(info.lockout->forgiven_after == 1000);
  CHECK(info.lockout->recovery == 1000);
  CHECK_FALSE(info.lockout->locked);
}

TEST_CASE("tpm inspect: failures are the user PIN's state, an owner's auth value the SO PIN's") {
  const auto fail_once = [](const std::string& value) {
    error_of([&] {
      const test::EvpPkey key =
          context().private_key(by_handle(keys().secret) + "?pin-value=" + value);
      (void)test::sign(context().get(), key.get(), "SHA256", "text");
    });
  };
  world().swtpm.reset_lockout();
  fail_once("wrong");
  CHECK(token().user_pin == PinState::kLow);
  fail_once("wrong again");
  CHECK(token().user_pin == PinState::kLastTry);
  fail_once("and again");
  const TokenInfo locked = token();
  CHECK(locked.user_pin == PinState::kLocked);
  CHECK(locked.lockout->locked);
  CHECK(locked.lockout->failures == 3);
  world().swtpm.reset_lockout();
  world().swtpm.tool({"tpm2_changeauth", "-c", "o", "owner-value"});
  CHECK(token().so_pin == PinState::kOk);
  world().swtpm.tool({"tpm2_changeauth", "-c", "o", "-p", "owner-value"});
}

TEST_CASE("tpm inspect: a TPM that is not there is a problem, not an error") {
  const std::vector<TokenInfo> tokens =
      inspect({{"gone", {{"type", "tpm2"}, {"tcti", "swtpm:host=127.0.0.1,port=1"}}},
               {"tpm", captured()}})
          ->inventory();
  REQUIRE(tokens.size() == 2);
  CHECK_FALSE(tokens[0].present);
  CHECK(contains(tokens[0].problem, "port=1"));
  CHECK(tokens[0].uri.empty());
  CHECK(tokens[1].present);
}

TEST_CASE("tpm inspect: a list has every persistent key once, asks nobody, loads nothing") {
  const std::string before = world().swtpm.loaded();
  Inspection inspection = inspect({{"tpm", captured({{"objects", "mine=" + keys().ec}})}});
  std::string text;
  const std::string commands = asked([&] { text = text_of(inspection.list("tpm2:", kKeys)); });
  CHECK(text.starts_with("private mine\n"));
  for (const std::string& handle : {keys().rsa, keys().secret}) {
    CHECK(contains(text, "private " + handle + "\n"));
    CHECK(contains(text, "public " + handle + "\n"));
  }
  CHECK_FALSE(contains(text, keys().ec));
  CHECK_FALSE(contains(text, kParent));
  CHECK_FALSE(contains(text, "other"));
  CHECK(commands == "ReadPublic 4, GetCapability 2");  // handles of keys, and of NV
  CHECK(asked([&] { (void)inspection.list("tpm2://", kKeys); }) == "GetCapability 2");
  CHECK(world().swtpm.loaded() == before);

  const std::string all = text_of(inspection.list("tpm2:"));
  CHECK(contains(all, "other (storage key EC P-256) " + std::string(kParent) + "\n"));
  CHECK(text_of(inspection.list("pkcs11:token=" + std::string(kToken), kKeys)) == text);
  for (const core::Object& object : inspection.list("pkcs11:token=" + std::string(kToken), kKeys)) {
    if (object.description.label == "mine" && object.key)
      CHECK(object.description.uri == section_uri("mine") + ";type=private");
    if (object.description.label == keys().rsa)
      CHECK(object.description.uri == "tpm2:handle=" + keys().rsa);
  }
  const std::string only_public =
      text_of(inspection.list("pkcs11:token=" + std::string(kToken) + ";type=public", kKeys));
  CHECK(contains(only_public, "public mine\n"));
  CHECK_FALSE(contains(only_public, "private"));
}

TEST_CASE("tpm inspect: sealed data and storage keys are shown to who asks for all") {
  const std::string sealed = world().file("sealed");
  test::write_file(sealed, "something");
  world().swtpm.tool(
      {"tpm2_create", "-C", kParent, "-i", sealed, "-u", sealed + ".pub", "-r", sealed + ".priv"});
  world().swtpm.tool({"tpm2_load", "-C", kParent, "-u", sealed + ".pub", "-r", sealed + ".priv",
                      "-c", sealed + ".ctx"});
  world().swtpm.tool({"tpm2_evictcontrol", "-c", sealed + ".ctx", "0x81000050"});
  world().swtpm.make_parent("0x81000051", "rsa");
  Inspection inspection = inspect({{"tpm", captured()}});
  const std::string all = text_of(inspection.list("tpm2:"));
  CHECK(contains(all, "other (sealed data) 0x81000050\n"));
  CHECK(contains(all, "other (storage key RSA 2048) 0x81000051\n"));
  CHECK_FALSE(contains(text_of(inspection.list("tpm2:", kKeys)), "0x8100005"));
  CHECK(text_of(inspection.list("tpm2:handle=0x81000050")) == "other (sealed data) 0x81000050\n");
  error_text(Reason::kUnsupported, [&] { inspection.list("tpm2:handle=0x81000050", kKeys); });

  const std::string not_asked =
      error_text(Reason::kNoObject, [&] { inspection.remove("tpm2:handle=0x81000050"); });
  CHECK(contains(not_asked, "what is there is sealed data"));
  CHECK(contains(not_asked, "hwid delete --other"));
  CHECK(
      text_of(inspection.remove("tpm2:handle=0x81000050", {false, false, false, true, nullptr})) ==
      "other (sealed data) 0x81000050\n");
  world().swtpm.remove("0x81000051");
}

TEST_CASE("tpm inspect: how a key is kept is known from its public area") {
  Inspection inspection = inspect({{"tpm", captured()}});
  const std::string loose = world().add_key("ecc256", "sensitivedataorigin|userwithauth|noda|sign");
  const auto fixed_key = inspection.list(by_handle(keys().ec), kKeys);
  const auto loose_key = inspection.list(by_handle(loose), kKeys);
  REQUIRE((fixed_key.size() == 1 && loose_key.size() == 1));
  core::Protection fixed;
  CHECK(asked([&] { fixed = fixed_key[0].key->protection(); }).empty());
  CHECK(fixed.fixed_tpm == true);
  CHECK(fixed.fixed_parent == true);
  CHECK(fixed.sensitive_data_origin == true);
  CHECK(fixed.restricted == false);
  CHECK_FALSE(fixed.sensitive.has_value());
  CHECK(fixed.exportable() == false);
  CHECK(loose_key[0].key->protection().exportable() == true);
  world().swtpm.remove(loose);
}

TEST_CASE("tpm inspect: the place for a new key is free, and nobody's by name") {
  Inspection inspection =
      inspect({{"tpm", captured({{"objects", "later=0x81000002 sooner=0x81000004"}})}});
  const auto uri = core::KeyUri::parse("tpm2:");
  CHECK(inspection->free_place(uri) == 0x81000003);
  world().swtpm.make_key({}, "0x81000003");
  CHECK(inspection->free_place(core::KeyUri::parse("pkcs11:token=" + std::string(kToken))) ==
        0x81000005);
  world().swtpm.remove("0x81000003");
}

TEST_CASE("tpm inspect: a key is removed by handle or name, once, and is gone") {
  const std::string handle = world().add_key("ecc256");
  const std::string named = world().add_key("ecc256");
  Inspection inspection = inspect({{"tpm", captured({{"objects", "leaving=" + named}})}});
  CHECK(inspection.list(by_handle(handle), kKeys).size() == 1);
  std::string removed;
  CHECK(asked([&] { removed = text_of(inspection.remove(by_handle(handle))); }) ==
        "EvictControl 1, ReadPublic 1, GetCapability 1");
  CHECK(removed == "unusable " + handle + "\n");
  const std::string no_other = error_text(Reason::kNoObject, [&] {
    inspection.remove(section_uri("leaving"), {false, false, false, true, nullptr});
  });
  CHECK(contains(no_other, "what is there is a private key"));
  CHECK(contains(no_other, "type=private"));
  CHECK(text_of(inspection.remove(section_uri("leaving"))) == "unusable leaving\n");
  for (const std::string& gone : {handle, named}) {
    const std::string text =
        error_text(Reason::kNoObject, [&] { inspection.remove(by_handle(gone)); });
    CHECK(contains(text, "object=" + gone));
  }
}

TEST_CASE("tpm inspect: what must stay is not removed, nor what came there since") {
  Inspection inspection = inspect({{"tpm", captured({{"parent", kParent}})}});
  const core::Removal everything{true, true, true, true, nullptr};
  const auto refused = [&](Reason reason, const std::string& uri) {
    return error_text(reason, [&] { inspection.remove(uri, everything); });
  };
  CHECK(contains(refused(Reason::kNotPermitted, by_handle(kParent)), "configured `parent`"));
  CHECK(contains(refused(Reason::kBadUri, "tpm2:"), "no object is named"));
  refused(Reason::kBadUri, "tpm2:file=/some/key.pem");
  refused(Reason::kNoObject, "tpm2:nv=0x1500000");
  refused(Reason::kNoObject, section_uri("unnamed"));

  const std::string handle = world().add_key("ecc256");
  CHECK(inspection.list(by_handle(handle), kKeys).size() == 1);
  world().swtpm.remove(handle);
  world().swtpm.make_key({}, handle);
  CHECK(contains(refused(Reason::kKeyChanged, by_handle(handle)), "another object sits"));
  CHECK(inspection.remove(by_handle(handle)).size() == 1);  // now that it was looked at again

  Inspection two = inspect({{"tpm", captured()}, {"second", captured({{"token", "second"}})}});
  const std::string vague =
      error_text(Reason::kNoToken, [&] { two.remove(by_handle(keys().ec), everything); });
  CHECK(contains(vague, "2 tokens match"));
}

TEST_CASE("tpm inspect: the owner's auth value is needed for a removal, and hidden") {
  const Swtpm own;
  own.make_parent(kParent);
  const std::string handle = "0x81000010";
  own.make_key({}, handle);
  own.tool({"tpm2_changeauth", "-c", "o", "owner-value"});
  Inspection inspection = inspect({{"tpm", captured({{"tcti", own.capture_tcti()}})}});
  const std::string none =
      error_text(Reason::kPinMissing, [&] { inspection.remove(by_handle(handle)); });
  CHECK(contains(none, "owner hierarchy has an auth value"));
  core::Removal what;
  what.owner_auth = std::make_shared<const core::Secret>(core::as_bytes("wrong-value"));
  error_text(Reason::kPinWrong, [&] { inspection.remove(by_handle(handle), what); });
  what.owner_auth = std::make_shared<const core::Secret>(core::as_bytes("owner-value"));
  CHECK(inspection.remove(by_handle(handle), what).size() == 1);
  CHECK_FALSE(contains(test::read_file(world().capture_file()), "owner-value"));
}

TEST_CASE("tpm inspect: a list asks nobody for the auth value of a key in a file") {
  // What tpm2_encodeobject says there of a key without auth value: that it has one.
  const std::string file = world().add_file({"ecc256", kCounted, {}, kParent, {}});
  Inspection inspection = inspect({{"tpm", captured({{"objects", "filed=" + file}})}});
  int asked_for = 0;
  const core::PinPrompt prompt = [&](const std::string&) -> std::optional<core::Secret> {
    ++asked_for;
    return core::Secret(core::as_bytes("its-value"));
  };
  const auto open = [&](const std::string& uri) {
    return text_of(
        inspection->open(core::KeyUri::parse(uri), kKeys, prompt, core::Router::Origin::kProgram));
  };
  CHECK(contains(open("tpm2:"), "private filed\n"));
  CHECK(asked_for == 0);
  CHECK(open(section_uri("filed")) == "private filed\n");
  CHECK(asked_for == 1);
}

TEST_CASE("tpm inspect: a name that leads nowhere does not spoil a list") {
  Inspection inspection =
      inspect({{"tpm", captured({{"objects", "gone=0x8100fff0 mine=" + keys().ec}})}});
  const std::string text = text_of(inspection.list("tpm2:", kKeys));
  CHECK(contains(text, "private mine\n"));
  CHECK_FALSE(contains(text, "gone"));
}

TEST_CASE("tpm inspect: all TPMs are listed, and a removal must name one") {
  const Swtpm second;
  second.make_parent(kParent);
  second.make_key({}, "0x81000222");
  Inspection inspection = inspect(
      {{"tpm", captured()},
       {"two",
        captured({{"tcti", second.tcti()}, {"token", "second"}, {"objects", "far=0x81000222"}})}});
  const std::string text = text_of(inspection.list("tpm2:", kKeys));
  CHECK(contains(text, "private " + keys().ec + "\n"));
  CHECK(contains(text, "private far\n"));
  error_text(Reason::kNoToken, [&] { inspection.remove("tpm2:handle=0x81000222"); });
  CHECK(inspection.remove("pkcs11:token=second;object=far").size() == 1);
}
