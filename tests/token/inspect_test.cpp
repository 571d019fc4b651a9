// What a tool sees of tokens and keys, and how it removes them.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "provider/pkcs11/backend.h"
#include "tests/fixture/inspection.h"
#include "tests/fixture/paths.h"
#include "tests/token/world.h"

using namespace hwid;
using core::PinState;
using core::Reason;
using core::TokenInfo;
using test::error_text;
using test::Inspection;
using test::Settings;
using test::text_of;
using test::world;

namespace {

Settings section(const Settings& more = {}) {
  return world().token.backend(world().module.path(), more);
}

Inspection inspect(const Inspection::Backends& backends) {
  return {backends, pkcs11::make_backends};
}

// The tokens of all slots, the one of `label`, and what is said of it.
std::vector<TokenInfo> inventory(const Settings& settings = section()) {
  return inspect({{"dev", settings}})->inventory();
}
TokenInfo token_of(const std::vector<TokenInfo>& tokens, const std::string& label) {
  const auto found = std::ranges::find(tokens, label, &TokenInfo::label);
  REQUIRE(found != tokens.end());
  return *found;
}
TokenInfo ours() { return token_of(inventory(), world().token.label()); }

std::string uri(const std::string& object) {
  return "pkcs11:token=" + world().token.label() + ";object=" + object;
}

void pkcs11_tool(std::vector<std::string> words) {
  std::vector<std::string> argv{
      "pkcs11-tool", "--module", test::softhsm_module(),  "--token-label", world().token.label(),
      "--login",     "--pin",    test::SoftHsmToken::kPin};
  argv.insert(argv.end(), words.begin(), words.end());
  test::RunOptions options;
  options.environment = world().token.environment();
  const test::RunResult result = test::run(argv, options);
  REQUIRE_MESSAGE(result.exit_code == 0, result.err);
}

bool has(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_CASE("inspect: every slot with a token, without login, and what it says of itself") {
  world().module.clear();
  const std::vector<TokenInfo> tokens = inventory();
  CHECK(world().module.count("C_Login") == 0);
  CHECK(world().module.count("C_OpenSession") == 0);
  CHECK(tokens.size() == 2);
  const TokenInfo token = token_of(tokens, world().token.label());
  CHECK(token.backend == "dev");
  CHECK(token.kind == "pkcs11");
  CHECK(token.module == world().module.path());
  CHECK(token.slot_id.has_value());
  CHECK(has(token.slot_description, "SoftHSM"));
  CHECK(token.manufacturer == "SoftHSM project");
  CHECK(token.model == "SoftHSM v2");
  CHECK(token.serial.size() == 16);
  CHECK(token.present);
  CHECK(token.initialized);
  CHECK(token.login_required);
  CHECK_FALSE(token.write_protected);
  CHECK(token.user_pin == PinState::kOk);
  CHECK(token.so_pin == PinState::kOk);
  CHECK(token.served);
  CHECK(token.problem.empty());
  CHECK(token.uri == "pkcs11:token=" + world().token.label());
  const TokenInfo blank = token_of(tokens, "");
  CHECK(blank.present);
  CHECK_FALSE(blank.initialized);
  CHECK_FALSE(blank.served);
  CHECK(blank.user_pin == PinState::kNotSet);
  CHECK(blank.so_pin == PinState::kNotSet);
  CHECK(blank.uri == "pkcs11:slot-id=" + std::to_string(blank.slot_id.value_or(0)));
}

TEST_CASE("inspect: the state of a PIN, flag by flag") {
  struct Row {
    const char* flags;
    PinState user, so;
  };
  const Row rows[] = {{"+0x10000", PinState::kLow, PinState::kOk},
                      {"+0x30000", PinState::kLastTry, PinState::kOk},
                      {"+0x70000", PinState::kLocked, PinState::kOk},
                      {"+0x300000", PinState::kOk, PinState::kLastTry},
                      {"+0x100000", PinState::kOk, PinState::kLow},
                      {"+0x700000", PinState::kOk, PinState::kLocked},
                      {"-0x8", PinState::kNotSet, PinState::kOk},
                      {"-0x400", PinState::kOk, PinState::kNotSet}};
  for (const Row& row : rows) {
    world().module.clear();
    world().module("token-flags " + std::string(row.flags));
    const TokenInfo token = ours();
    CHECK_MESSAGE(token.user_pin == row.user, row.flags);
    CHECK_MESSAGE(token.so_pin == row.so, row.flags);
  }
  world().module.clear();
  world().module("token-flags +0x80102");
  const TokenInfo token = ours();
  CHECK(token.write_protected);
  CHECK(token.protected_authentication_path);
  CHECK(token.user_pin_to_be_changed);
  world().module.clear();
}

TEST_CASE("inspect: two tokens of one label are told apart, two sections of a module are not") {
  world().token.add_token("twin");
  world().token.add_token("twin");
  world().module.clear();
  world().module("finalize");
  const std::vector<TokenInfo> tokens =
      inspect({{"other", section({{"token", "nobody"}})}, {"dev", section()}})->inventory();
  CHECK(std::ranges::count(tokens, world().token.label(), &TokenInfo::label) == 1);
  CHECK(token_of(tokens, world().token.label()).backend == "dev");
  CHECK(token_of(tokens, "twin").backend == "other");
  std::vector<std::string> uris;
  for (const TokenInfo& token : tokens) {
    if (token.label == "twin") uris.push_back(token.uri);
    if (token.label == "twin") CHECK(token.uri == "pkcs11:token=twin;serial=" + token.serial);
  }
  REQUIRE(uris.size() == 2);
  CHECK(uris[0] != uris[1]);

  Settings anybody = section();
  std::erase_if(anybody, [](const auto& setting) { return setting.first == "token"; });
  Inspection vague = inspect({{"dev", anybody}});
  const std::string text = error_text(
      Reason::kNoToken, [&] { vague.remove("pkcs11:token=twin;object=anything?pin-value=1111"); });
  CHECK(has(text, "add serial="));
  // By its serial it is one; it is empty.
  error_text(Reason::kNoObject, [&] { vague.remove(uris[0] + ";object=any?pin-value=1111"); });
}

TEST_CASE("inspect: what cannot be looked at is said, and spoils nothing") {
  const std::vector<TokenInfo> tokens =
      inspect({{"gone", {{"type", "pkcs11"}, {"module", "/nonexistent/module.so"}}},
               {"dev", section()}})
          ->inventory();
  REQUIRE(!tokens.empty());
  CHECK(tokens.front().backend == "gone");
  CHECK(tokens.front().module == "/nonexistent/module.so");
  CHECK_FALSE(tokens.front().present);
  CHECK(has(tokens.front().problem, "/nonexistent/module.so"));
  CHECK(tokens.front().uri.empty());
  CHECK(token_of(tokens, world().token.label()).present);

  world().module.clear();
  world().module("fail C_GetTokenInfo CKR_DEVICE_ERROR");
  for (const TokenInfo& token : inventory()) {
    CHECK_FALSE(token.present);
    CHECK(has(token.problem, "C_GetTokenInfo: CKR_DEVICE_ERROR"));
  }
  world().module.clear();
  world().module("fail C_GetSlotList CKR_GENERAL_ERROR");
  const std::vector<TokenInfo> none = inventory();
  REQUIRE(none.size() == 1);
  CHECK(has(none.front().problem, "C_GetSlotList: CKR_GENERAL_ERROR"));
  world().module.clear();
  world().module("lie C_GetTokenInfo nul");  // rubbish behind a zero byte
  CHECK(ours().problem.empty());
  world().module.clear();
}

TEST_CASE("inspect: how a key is kept is one call, asked when it is asked for") {
  world().token.generate({"rsa:2048", "loose", "71", true, true});
  Inspection inspection = inspect({{"dev", section()}});
  world().module.clear();
  const auto kept = inspection.list(uri("rsa") + ";type=private");
  const auto loose = inspection.list(uri("loose") + ";type=private");
  REQUIRE((kept.size() == 1 && loose.size() == 1));
  world().module("reset-counts");
  const core::Protection good = kept[0].key->protection();
  CHECK(world().module.total() == 1);
  CHECK(world().module.count("C_GetAttributeValue") == 1);
  CHECK(good.sensitive == true);
  CHECK(good.extractable == false);
  CHECK(good.always_sensitive == true);
  CHECK(good.never_extractable == true);
  CHECK(good.local == true);
  CHECK(good.always_authenticate == false);
  CHECK_FALSE(good.fixed_tpm.has_value());
  CHECK(good.exportable() == false);
  CHECK(loose[0].key->protection().exportable() == true);

  world().module("hide-attribute 0x162\nhide-attribute 0x103");  // extractable, sensitive
  CHECK_FALSE(kept[0].key->protection().exportable().has_value());
  world().module.clear();
  world().module("drop-sessions");
  CHECK(kept[0].key->protection().exportable() == false);
  world().module("at C_GetAttributeValue log-out");
  CHECK(kept[0].key->protection().exportable() == false);
  world().module.clear();
}

TEST_CASE("inspect: a list for a tool has what OpenSSL's programs never see") {
  const test::TemporaryDirectory directory;
  test::write_file(directory.file("data"), "some bytes");
  pkcs11_tool({"--write-object", directory.file("data"), "--type", "data", "--label", "notes",
               "--private"});
  pkcs11_tool({"--keygen", "--key-type", "AES:16", "--label", "wrapping", "--id", "72"});
  world().token.generate({"ec:P-256", "halfless", "73", false});
  Inspection inspection = inspect({{"dev", section()}});
  const std::string token = "pkcs11:token=" + world().token.label();
  const auto all = inspection.list(token);
  const std::string text = text_of(all);
  CHECK(has(text, "unusable halfless\n"));
  CHECK(has(text, "other (data) notes\n"));
  CHECK(has(text, "other (secret key AES) wrapping\n"));
  CHECK(has(text, "private rsa\n"));
  CHECK(has(text, "public rsa\n"));
  for (const core::Object& object : all) {
    if (object.description.label == "notes") CHECK(has(object.description.uri, ";type=data"));
    if (object.description.label != "halfless") continue;
    CHECK(has(object.problem, "public half"));
    REQUIRE(object.protection.has_value());
    CHECK(object.protection->exportable() == false);
  }
  CHECK(has(text_of(inspection.list(uri("halfless"))), "unusable halfless"));
  CHECK(text_of(inspection.list(token + ";type=secret-key")).find("private") == std::string::npos);

  const std::string ordinary = text_of(inspection.list(token, {}));
  CHECK(ordinary.find("halfless") == std::string::npos);
  CHECK(ordinary.find("other") == std::string::npos);
  CHECK(has(ordinary, "private rsa\n"));
}

TEST_CASE("inspect: a pair is removed whole, by any name of it, and its certificate stays") {
  world().token.generate({{"ec:P-256", "leaving", "81"}, {"ec:P-256", "staying", "82"}});
  const test::TemporaryDirectory directory;
  Inspection inspection = inspect({{"dev", section()}});
  const std::string by_id = "pkcs11:token=" + world().token.label() + ";id=%81";
  CHECK(inspection.list(by_id).size() == 2);
  world().module.clear();
  CHECK(text_of(inspection.remove(uri("leaving") + ";type=private")) ==
        "unusable leaving\npublic leaving\n");
  CHECK(world().module.count("C_DestroyObject") == 2);
  const std::string gone = error_text(Reason::kNoObject, [&] { inspection.list(by_id); });
  CHECK(has(gone, "staying"));
  const std::string again =
      error_text(Reason::kNoObject, [&] { inspection.remove(uri("leaving")); });
  CHECK(has(again, "nothing matches"));
  CHECK(inspection.list(uri("staying")).size() == 2);

  // What stays of a pair where only its private half is to go.
  CHECK(text_of(inspection.remove(uri("staying"), {true, false, false, false, nullptr})) ==
        "unusable staying\n");
  CHECK(text_of(inspection.list(uri("staying"))) == "public staying\n");
  CHECK(text_of(inspection.remove(uri("staying"))) == "public staying\n");
}

TEST_CASE("inspect: a removal that could mean more than one thing removes nothing") {
  world().token.generate(
      {{"ec:P-256", "same", "91"}, {"ec:P-256", "same", "92"}, {"ec:P-256", "third", "91"}});
  Inspection inspection = inspect({{"dev", section()}});
  world().module.clear();
  const std::string token = "pkcs11:token=" + world().token.label();
  CHECK(has(error_text(Reason::kSeveralObjects, [&] { inspection.remove(uri("same")); }),
            "add id=..."));
  error_text(Reason::kSeveralObjects, [&] { inspection.remove(token + ";id=%91"); });
  error_text(Reason::kBadUri, [&] { inspection.remove(token); });
  error_text(Reason::kBadUri, [&] { inspection.remove(token + ";object="); });
  error_text(Reason::kNoToken, [&] { inspection.remove("pkcs11:token=absent;object=same"); });
  error_text(Reason::kNoObject, [&] { inspection.remove(uri("notes")); });  // data: only if asked
  CHECK(world().module.count("C_DestroyObject") == 0);
  // Its id is another's too, whose public half must stay.
  CHECK(text_of(inspection.remove(uri("third"))) == "unusable third\npublic third\n");
  CHECK(inspection.list(token + ";object=same;id=%91").size() == 2);
  CHECK(text_of(inspection.remove(uri("notes"), {false, false, false, true, nullptr})) ==
        "other (data) notes\n");
}

TEST_CASE("inspect: a removal goes on where sessions are lost, and says what is gone already") {
  world().token.generate(
      {{"ec:P-256", "lost", "a1"}, {"ec:P-256", "half", "a2"}, {"ec:P-256", "early", "a3"}});
  Inspection inspection = inspect({{"dev", section()}});
  (void)inspection.list(uri("lost"));
  world().module.clear();
  world().module("at C_FindObjects nth=1 drop-sessions");  // before anything is found
  CHECK(text_of(inspection.remove(uri("early"))) == "unusable early\npublic early\n");
  world().module.clear();
  world().module("at C_DestroyObject nth=2 drop-sessions");
  CHECK(text_of(inspection.remove(uri("lost"))) == "unusable lost\npublic lost\n");
  error_text(Reason::kNoObject, [&] { inspection.list(uri("lost")); });

  world().module.clear();
  world().module("fail C_DestroyObject CKR_ACTION_PROHIBITED nth=2");
  const std::string text =
      error_text(Reason::kNotPermitted, [&] { inspection.remove(uri("half")); });
  CHECK(has(text, "C_DestroyObject: CKR_ACTION_PROHIBITED"));
  CHECK(has(text, "already removed: pkcs11:token="));
  CHECK(has(text, "type=private"));
  world().module.clear();
  CHECK(text_of(inspection.remove(uri("half"))) == "public half\n");
}

TEST_CASE("inspect: a secret key of a pair's label and id is not part of the pair") {
  world().token.generate({"ec:P-256", "shared", "d1"});
  pkcs11_tool({"--keygen", "--key-type", "AES:16", "--label", "shared", "--id", "d1"});
  Inspection inspection = inspect({{"dev", section()}});
  world().module.clear();
  const core::Removal with_other{true, true, true, true, nullptr};
  const std::string both =
      error_text(Reason::kSeveralObjects, [&] { inspection.remove(uri("shared"), with_other); });
  for (const char* const part : {"private key", "secret key AES", "type=private", "--other"})
    CHECK(has(both, part));
  CHECK(world().module.count("C_DestroyObject") == 0);

  const std::string none = error_text(Reason::kNoObject, [&] {
    inspection.remove(uri("shared"), {false, false, true, false, nullptr});
  });
  for (const char* const part : {"public key", "secret key AES", "type=private", "--other"})
    CHECK(has(none, part));

  CHECK(text_of(inspection.remove(uri("shared"), {false, false, false, true, nullptr})) ==
        "other (secret key AES) shared\n");
  CHECK(text_of(inspection.list(uri("shared"))) == "private shared\npublic shared\n");
  const std::string only = error_text(Reason::kNoObject, [&] {
    inspection.remove(uri("shared"), {false, false, false, true, nullptr});
  });
  CHECK(has(only, "type=private or type=public"));

  pkcs11_tool({"--keygen", "--key-type", "AES:16", "--label", "shared", "--id", "d1"});
  CHECK(text_of(inspection.remove(uri("shared"))) == "unusable shared\npublic shared\n");
  CHECK(text_of(inspection.list(uri("shared"))) == "other (secret key AES) shared\n");
}
