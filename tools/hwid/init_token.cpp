// hwid init token: labels and PINs of a real token.
#include <p11-kit/uri.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <set>

#include "provider/core/error.h"
#include "tools/hwid/asked_pin.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/pin_age.h"
#include "tools/hwid/token_admin.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Reason;
using core::Secret;
using Slot = TokenAdmin::Slot;

// A module that may have the token.
struct ModuleChoice {
  std::string path;
  std::string init_args;
};

std::vector<ModuleChoice> modules_for(Invocation& invocation, const KeyUri& uri) {
  invocation.router();  // sets the environment that openssl.cnf has for modules
  if (invocation.has("module")) return {{invocation.text("module"), ""}};
  std::vector<ModuleChoice> modules;
  std::set<std::string> seen;
  for (const core::BackendConfig& backend : invocation.config().backends) {
    const bool meant = backend.type == "pkcs11" && !backend.module.empty() &&
                       (!uri.module_path() || *uri.module_path() == backend.module);
    if (meant && seen.insert(backend.module).second)
      modules.push_back({backend.module, backend.init_args});
  }
  if (!modules.empty()) return modules;
  throw Error(Reason::kBadConfiguration,
              "openssl.cnf: " + invocation.location().path +
                  ": no section names the token's PKCS#11 module; name it with --module FILE");
}

void put(unsigned char* field, std::size_t size, const std::string& text) {
  std::fill_n(field, size, ' ');
  std::copy_n(text.begin(), std::min(size, text.size()), field);
}

bool matches(const KeyUri& uri, const Slot& slot) {
  CK_TOKEN_INFO info{};
  put(info.label, sizeof info.label, slot.label);
  put(info.manufacturerID, sizeof info.manufacturerID, slot.manufacturer);
  put(info.model, sizeof info.model, slot.model);
  put(info.serialNumber, sizeof info.serialNumber, slot.serial);
  const CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri.pkcs11());
  const bool any_slot = wanted == static_cast<CK_SLOT_ID>(-1);
  return (any_slot || wanted == slot.id) && p11_kit_uri_match_token_info(uri.pkcs11(), &info) == 1;
}

std::string slot_text(const Slot& slot) {
  std::string text = "slot-id=" + std::to_string(slot.id);
  if (!slot.label.empty()) text += " token=" + slot.label;
  if (!slot.serial.empty()) text += " serial=" + slot.serial;
  return text + (slot.initialized ? "" : " (not initialized)");
}

std::string list_text(const std::vector<Slot>& slots) {
  std::string text;
  for (const Slot& slot : slots) text.append(text.empty() ? "" : ", ").append(slot_text(slot));
  return text.empty() ? "no token at all" : text;
}

// The one that is meant. An initialized one is meant only by who says --force.
Slot choose(const KeyUri& uri, const std::vector<Slot>& all, bool force) {
  std::vector<Slot> matching;
  std::ranges::copy_if(all, std::back_inserter(matching),
                       [&](const Slot& slot) { return matches(uri, slot); });
  if (matching.empty())
    throw Error(Reason::kNoToken, uri.text() + ": no token matches; there are: " + list_text(all) +
                                      "; name one by slot-id= or serial=");
  std::vector<Slot> blank;
  std::ranges::copy_if(matching, std::back_inserter(blank),
                       [](const Slot& slot) { return !slot.initialized; });
  if (blank.empty() && !force)
    throw Error(Reason::kExists,
                uri.text() + ": initialized already: " + list_text(matching) +
                    "; --force and its serial number typed, or given by --serial, erase it with "
                    "all keys");
  const std::vector<Slot>& candidates = force ? matching : blank;
  if (candidates.size() > 1)
    throw Error(Reason::kSeveralObjects, uri.text() +
                                             ": several tokens match: " + list_text(candidates) +
                                             "; name one by slot-id= or serial=");
  return candidates.front();
}

std::string typed_serial(Invocation& invocation, const Slot& slot) {
  if (invocation.has("serial")) return invocation.text("serial");
  if (!Invocation::has_terminal())
    throw UsageError(
        "--force: give the serial number of the token that is to be erased, too: "
        "--serial " +
        slot.serial);
  std::cerr << "All keys on " << printable(slot_text(slot))
            << " will be lost.\nType its serial number to go on: " << std::flush;
  std::string typed;
  std::getline(std::cin, typed);
  return typed;
}

void require_consent(Invocation& invocation, const Slot& slot) {
  if (!slot.initialized) return;
  const std::string typed = typed_serial(invocation, slot);
  if (!slot.serial.empty() && typed == slot.serial) return;
  throw Error(Reason::kExists,
              slot_text(slot) + ": its serial number is not " + typed + "; nothing was changed");
}

void show(Output& out, const std::string& label, const ModuleChoice& module, const Slot& slot) {
  const std::string uri = "pkcs11:token=" + core::uri_escape(label);
  out.heading("Token initialized");
  out.field("URI", uri);
  out.field("module", module.path);
  out.field("slot", slot.description);
  out.line("\nWrite `token = " + label + "` and its pin-source into the section of openssl.cnf.");
  out.document(Json{{"uri", uri},
                    {"label", label},
                    {"module", module.path},
                    {"slot_description", slot.description},
                    {"erased", slot.initialized}});
}

// So that `hwid pin state` and `hwid status` know the PIN's age.
void record(Invocation& invocation, const Slot& slot) {
  core::TokenInfo token;
  token.manufacturer = core::one_line(slot.manufacturer);
  token.model = core::one_line(slot.model);
  token.serial = core::one_line(slot.serial);
  token.label = core::one_line(slot.label);
  try {
    record_pin_change(token, invocation.config());
  } catch (const Error& error) {
    Output::note(std::string("the PIN's age is not recorded: ") + error.what());
  }
}

Exit run(Invocation& invocation) {
  const std::string label = token_label(invocation, "label");
  const KeyUri uri = KeyUri::parse(invocation.arguments()[0]);
  if (uri.scheme() != KeyUri::Scheme::kPkcs11)
    throw UsageError(uri.text() + ": a PKCS#11 token is initialized; a TPM needs nothing of that");
  if (uri.names_object()) throw UsageError(uri.text() + ": name the token, not an object on it");
  const std::vector<ModuleChoice> modules = modules_for(invocation, uri);
  if (modules.size() > 1)
    throw UsageError("openssl.cnf names " + std::to_string(modules.size()) +
                     " modules; say which has the token with --module FILE");
  TokenAdmin admin(modules.front().path, modules.front().init_args, invocation.audit());
  const Slot slot = choose(uri, admin.slots(), invocation.flag("force"));
  require_consent(invocation, slot);
  const Secret so_pin =
      asked_pin(invocation, "so-pin-source",
                (slot.initialized ? "SO PIN of " : "New SO PIN of ") + printable(slot_text(slot)),
                !slot.initialized);
  const Secret pin = asked_pin(invocation, "pin-source", "New PIN of " + label, true);
  admin.initialize(slot, label, so_pin, pin);
  for (const Slot& made : admin.slots()) {
    if (made.index == slot.index) record(invocation, made);  // its serial number may be another one
  }
  show(invocation.out(), label, modules.front(), slot);
  return kGood;
}

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("label", po::value<std::string>()->value_name("LABEL"), "what the token is to be called");
  add("so-pin-source", po::value<std::string>()->value_name("SOURCE"),
      "where the security officer's PIN is, as --pin-source: a new one, or the token's own where "
      "it "
      "is initialized anew (default: a question at the terminal)");
  add("module", po::value<std::string>()->value_name("FILE"),
      "the token's PKCS#11 module (default: the one of openssl.cnf)");
  add("force", po::bool_switch(), "erase a token that is initialized, with all its keys");
  add("serial", po::value<std::string>()->value_name("SERIAL"),
      "with --force: the serial number of the token that is to be erased");
}

}  // namespace

const Command kInitToken = {
    "init token",
    "URI --label LABEL",
    "initialize a token and set its PINs",
    "Gives a new PKCS#11 token its label, the security officer's PIN, and the user's PIN, which\n"
    "--pin-source names. The URI names the token: slot-id= or serial= of one that has no label "
    "yet.\n"
    "A token that is initialized is erased only with --force and its serial number, by --serial "
    "or\n"
    "typed at the terminal.",
    "  hwid init token 'pkcs11:slot-id=0' --label line-7 \\\n"
    "      --so-pin-source file:/root/so-pin --pin-source file:/etc/hwid/line-7.pin\n"
    "  hwid init token 'pkcs11:token=line-7' --label line-8 --force --serial 3a5b67c9\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
