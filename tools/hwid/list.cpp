// hwid list: what is there, and the URI to use for each.
#include <algorithm>
#include <filesystem>

#include "provider/core/shell_word.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/holdings.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

using core::KeyUri;
using core::shell_word;
using core::TokenInfo;

constexpr core::Wanted kEverything{true, true, true, true};

std::vector<core::Object> open(core::Router& router, const KeyUri& uri,
                               const core::PinPrompt& prompt) {
  return router.open(uri, kEverything, prompt, core::Router::Origin::kProgram);
}

// Logical names: those of openssl.cnf, and what enrolment has left in the state directory.
std::vector<std::string> names(Invocation& invocation) {
  std::vector<std::string> all = invocation.section().below("keys");
  for (const std::string& name : invocation.config().key_names) all.push_back(name);
  std::error_code error;
  const std::filesystem::path state = invocation.config().state_dir;
  if (!state.empty()) {
    for (const auto& entry : std::filesystem::directory_iterator(state, error)) {
      if (std::filesystem::exists(entry.path() / "current" / "key.pem", error))
        all.push_back(entry.path().filename());
    }
  }
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

void print(Output& out, const TokenInfo& token) {
  if (token.uri.empty()) {
    out.heading(token.backend + ": " + token.kind + " " + token.module);
    out.field("problem", token.problem);
    return;
  }
  out.heading("token " + (token.label.empty() ? "(no label)" : token.label));
  out.field("uri", token.uri);
  std::string where = token.module;
  if (token.slot_id) where += ", slot " + std::to_string(*token.slot_id);
  out.field(token.kind == "tpm2" ? "TCTI" : "module", where);
  std::string device = token.manufacturer;
  for (const auto& [name, text] : {std::pair("", &token.model), std::pair("serial ", &token.serial),
                                   std::pair("firmware ", &token.firmware)}) {
    if (!text->empty()) device.append(device.empty() ? "" : ", ").append(name).append(*text);
  }
  out.field("device", device);
  const bool is_unreachable = token.initialized && !token.served;
  out.field("backend",
            token.backend + (is_unreachable ? " (serves another token: no URI leads here)" : ""));
  if (!token.initialized)
    out.field("state", "not initialized: `hwid init token " + shell_word(token.uri) +
                           " --label LABEL` does that");
  else
    out.field("PIN", pin_text(token));
  if (!token.problem.empty()) out.field("problem", token.problem);
}

// Asks nobody, or who is at the terminal, and knows afterwards whether a PIN was missing.
class Asking {
 public:
  explicit Asking(core::PinPrompt prompt) : prompt_(std::move(prompt)) {}

  core::PinPrompt prompt() {
    return [this](const std::string& token) {
      std::optional<core::Secret> pin = prompt_ ? prompt_(token) : std::nullopt;
      if (!pin) pin_is_missing_ = true;
      return pin;
    };
  }
  bool hides_keys(const Holdings& holdings) const {
    return pin_is_missing_ && std::ranges::none_of(holdings.keys, &HeldKey::is_private);
  }

 private:
  core::PinPrompt prompt_;
  bool pin_is_missing_ = false;
};

// Why the PIN that openssl.cnf may have is not sent to a token that nobody named; empty: it is. A
// wrong one costs a try at each run. (Of a TPM's keys no auth value is needed to see them.)
std::string login_hazard(const TokenInfo& token) {
  if (token.kind == "tpm2") return "";
  const std::string uri = shell_word(token.uri);
  switch (token.user_pin) {
    case core::PinState::kLow:
      return "the PIN was wrong since it was last right; `hwid list " + uri + "` sends it";
    case core::PinState::kLastTry:
      return "the next wrong PIN locks it; `hwid pin change " + uri + "` or `hwid pin unblock " +
             uri + "` sets a new one";
    case core::PinState::kLocked:
      return "the PIN is locked; `hwid pin unblock " + uri + "` unlocks it";
    default:
      return "";
  }
}

// The objects of one token. A token that refuses hides none of the others.
void list_objects(Invocation& invocation, const TokenInfo& token, Json& json) {
  Output& out = invocation.out();
  const std::string hazard = login_hazard(token);
  Asking asking(nullptr);
  try {
    core::Router& router = hazard.empty() ? invocation.router() : invocation.router_without_login();
    const Holdings holdings =
        sorted(invocation.software(), open(router, KeyUri::parse(token.uri), asking.prompt()));
    if (!hazard.empty()) {
      out.field("no login", hazard);
      json["not_logged_in"] = hazard;
    }
    print(out, holdings);
    json["objects"] = to_json(holdings);
    if (hazard.empty() && asking.hides_keys(holdings))
      out.line("  no private key seen: without a PIN a token may hide them (hwid list " +
               printable(shell_word(token.uri)) + " asks for it)");
  } catch (const core::Error& error) {
    out.field("problem", error.what());
    json["problem"] = error.what();
  }
}

Json list_tokens(Invocation& invocation, const std::vector<TokenInfo>& inventory) {
  Json tokens = Json::array();
  for (const TokenInfo& token : inventory) {
    if (!token.configured && !token.present) continue;
    print(invocation.out(), token);
    Json json = to_json(token);
    if (token.present && token.initialized && token.served && token.problem.empty())
      list_objects(invocation, token, json);
    invocation.out().line();
    tokens.push_back(std::move(json));
  }
  return tokens;
}

// Without the PIN that it may have.
std::string shown(const std::string& target) {
  try {
    return KeyUri::parse(target).text();
  } catch (const core::Error&) {  // a path, or what is no use
    return without_query(target);
  }
}

// As login_hazard, of the tokens that a name may lead to. One that leads to a key file may lead to
// any of them.
std::string name_hazard(Invocation& invocation, const std::string& uri,
                        const std::vector<TokenInfo>& inventory) {
  std::vector<TokenInfo> tokens;
  try {
    tokens = tokens_meant(inventory, followed(invocation, uri));
  } catch (const core::Error&) {
    tokens = inventory;
  }
  for (const TokenInfo& token : tokens) {
    std::string hazard = login_hazard(token);
    if (token.served && !hazard.empty()) return hazard;
  }
  return "";
}

// Empty: no key is among them. Without a login the public half has to do.
std::string type_among(const std::vector<core::Object>& objects) {
  for (const core::Object& object : objects) {
    if (object.key != nullptr) return key_type(object.key->public_key());
  }
  for (const core::Object& object : objects) {
    if (object.public_key != nullptr) return key_type(*object.public_key);
  }
  return "";
}

// What one name leads to, or why it leads nowhere.
Json list_name(Invocation& invocation, const std::string& name,
               const std::vector<TokenInfo>& inventory) {
  Output& out = invocation.out();
  const std::string uri = "hwid://" + name;
  const std::string target = shown(invocation.config().resolve(name).value_or(""));
  const std::string hazard = name_hazard(invocation, uri, inventory);
  Json json = {{"name", name}, {"uri", uri}, {"target", target}};
  std::string what;
  try {
    core::Router& router = hazard.empty() ? invocation.router() : invocation.router_without_login();
    what = type_among(open(router, KeyUri::parse(uri), nullptr));
    if (what.empty()) what = hazard.empty() ? "no key" : "no key that is seen without a login";
    json["type"] = what;
  } catch (const core::Error& error) {
    // A name that init wrote leads to its key once that is made.
    const bool is_nothing = error.reason == core::Reason::kNoObject && hazard.empty();
    what = (is_nothing ? "nothing yet: `hwid generate " + shell_word(uri) + "` makes a key there: "
                       : "problem: ") +
           error.what();
    json["problem"] = error.what();
  }
  out.heading("name " + uri);
  out.field("target", target);
  out.field("leads to", what);
  if (!hazard.empty()) {
    out.field("no login", hazard);
    json["not_logged_in"] = hazard;
  }
  return json;
}

Exit list_all(Invocation& invocation) {
  if (invocation.has("pin-source"))
    throw UsageError("--pin-source: name the token whose PIN it is: hwid list pkcs11:token=LABEL");
  Output& out = invocation.out();
  const auto& location = invocation.location();
  invocation.config();  // a file that says nonsense is all there is to tell
  out.heading("openssl.cnf " + location.path);
  out.field("by", location.why);
  std::string provider = "not loaded by this file: `hwid enable` adds it";
  if (invocation.section().is_there())
    provider = invocation.section().name();
  else if (!location.path.empty() && !file_exists(location.path))
    provider = "not loaded: there is no such file";
  out.field("provider", provider);
  out.line();
  Json document = {
      {"openssl_conf", {{"path", location.path}, {"why", location.why}}},
      {"provider", invocation.section().is_there() ? Json(invocation.section().name()) : Json()}};
  const std::vector<TokenInfo> inventory = invocation.router().inventory();
  document["tokens"] = list_tokens(invocation, inventory);
  document["names"] = Json::array();
  for (const std::string& name : names(invocation))
    document["names"].push_back(list_name(invocation, name, inventory));
  out.document(document);
  return kGood;
}

Exit list_uri(Invocation& invocation, const std::string& text) {
  const KeyUri uri = invocation.parse(text);
  Asking asking(Invocation::prompt());
  const auto objects = open(invocation.router(), uri, asking.prompt());
  const Holdings holdings = sorted(invocation.software(), objects);
  // A source that cannot be read is no reason to be content with what is public.
  if (uri.pin_source() && std::ranges::none_of(holdings.keys, &HeldKey::is_private))
    core::read_pin_source(*uri.pin_source(), invocation.log());
  if (asking.hides_keys(holdings))
    Output::note("hwid list: " + uri.text() +
                 ": no private key seen: without a PIN a token may hide them; give --pin-source");
  print(invocation.out(), holdings);
  invocation.out().document({{"objects", to_json(holdings)}});
  if (objects.empty()) Output::note("hwid list: " + uri.text() + ": nothing is there");
  return objects.empty() ? kAnswerIsNo : kGood;
}

Exit run(Invocation& invocation) {
  const auto& arguments = invocation.arguments();
  return arguments.empty() ? list_all(invocation) : list_uri(invocation, arguments[0]);
}

}  // namespace

const Command kList = {
    "list",
    "[URI]",
    "tokens, keys, certificates and names, and the URI of each",
    "Without a URI: the openssl.cnf in use, every token and TPM that it leads to, what is on "
    "them,\n"
    "and the logical names. With a URI: the objects that it means, after a question for the PIN\n"
    "where one is needed and openssl.cnf has none. A PIN that openssl.cnf gives is sent once to\n"
    "each token, but to none whose PIN was wrong lately unless URI names it. `hwid status` and\n"
    "`hwid pin state` never log in.",
    "  hwid list\n"
    "  hwid list 'pkcs11:token=softhsm2-token'\n"
    "  hwid list tpm2:\n"
    "  hwid list hwid://device --json\n",
    0,
    1,
    nullptr,
    run};

}  // namespace hwid::tool
