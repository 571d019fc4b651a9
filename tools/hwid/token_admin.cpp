#include "tools/hwid/token_admin.h"

#include <libp11.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstdint>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"
#include "provider/core/shell_word.h"
#include "provider/pkcs11/errors.h"
#include "provider/pkcs11/inventory.h"
#include "provider/pkcs11/library.h"
#include "provider/pkcs11/module.h"

namespace hwid::tool {

using core::Error;
using core::Reason;
using core::Secret;
using core::shell_word;

namespace {

constexpr std::size_t kLabelSize = 32;  // PKCS#11 v2.40, C_InitToken: padded with blanks

// libp11 puts the token's code on OpenSSL's queue.
[[noreturn]] void fail(const char* call, const std::string& token, const std::string& module) {
  const unsigned long error = ERR_peek_last_error();
  const std::string words = core::last_libcrypto_error();
  ERR_clear_error();
  const pkcs11::Place place{token, "", module};
  if (error != 0 && ERR_GET_LIB(error) == ERR_get_CKR_code())
    pkcs11::raise(static_cast<CK_RV>(ERR_GET_REASON(error)), call, place);
  throw Error(Reason::kModuleInitFailed, std::string(call) + ":" + pkcs11::place_text(place) +
                                             ": " + words + "; see that it is a PKCS#11 module");
}

// As a C string, in memory of the same kind. Half a PIN would cost a try.
Secret terminated(const Secret& secret) {
  if (std::ranges::find(secret.reveal(), std::uint8_t{0}) != secret.reveal().end())
    throw Error(Reason::kBadParameter,
                "PIN: it has a NUL byte, which no token's PIN has here; correct it");
  Secret text(secret.size() + 1);
  std::ranges::copy(secret.reveal(), text.writable().begin());
  return text;
}

const char* c_str(const Secret& text) {
  return reinterpret_cast<const char*>(text.reveal().data());
}

// As pkcs11::padded_text has it; libp11 leaves the blanks before a NUL.
std::string text_of(const char* text) {
  std::string found = text != nullptr ? text : "";
  found.erase(found.find_last_not_of(' ') + 1);
  return found;
}

// Asking for the PINs took its time: the slot may have another token by now, or somebody has
// initialized it.
void require_same(const CK_TOKEN_INFO& info, const TokenAdmin::Slot& wanted,
                  const pkcs11::Place& place) {
  const std::string label = pkcs11::padded_text(info.label);
  const std::string serial = pkcs11::padded_text(info.serialNumber);
  const bool initialized = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
  if (label == wanted.label && serial == wanted.serial && initialized == wanted.initialized) return;
  throw Error(Reason::kKeyChanged,
              "C_GetTokenInfo:" + pkcs11::place_text(place) + ": slot " +
                  std::to_string(wanted.id) + " has another token than the one that was chosen: " +
                  (initialized ? "label=" + label + " serial=" + serial : "one not initialized") +
                  "; nothing was changed; see `hwid list`, and start again");
}

[[noreturn]] void refuse(Reason reason, const char* code, const pkcs11::Place& place,
                         const std::string& cause) {
  throw Error(reason, code,
              std::string("C_GetTokenInfo: ") + code + pkcs11::place_text(place) + ": " + cause +
                  "; nothing was changed");
}

// What a wrong SO PIN costs is in most tokens never to be had again. A blank token has none yet
// (SoftHSM calls that locked).
void require_so_tries(const CK_TOKEN_INFO& info, const pkcs11::Place& place) {
  if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) return;
  if ((info.flags & CKF_SO_PIN_LOCKED) != 0)
    refuse(Reason::kPinLocked, "CKF_SO_PIN_LOCKED", place,
           "the SO PIN is locked; see the vendor's tool for a reset of the whole token");
  if ((info.flags & CKF_SO_PIN_FINAL_TRY) != 0)
    refuse(
        Reason::kPinLocked, "CKF_SO_PIN_FINAL_TRY", place,
        "one more wrong SO PIN locks it for good, so none is sent; if you are sure of it, log in "
        "with it once: pkcs11-tool --module " +
            shell_word(place.module) + " --login --login-type so");
}

// A PIN that the token will not take must be known before the token is erased.
void require_good_pin(const CK_TOKEN_INFO& info, const pkcs11::Place& place, const char* name,
                      const Secret& pin) {
  if (std::ranges::find(pin.reveal(), std::uint8_t{0}) != pin.reveal().end())
    refuse(pkcs11::reason_for(CKR_PIN_INVALID), "CKR_PIN_INVALID", place,
           std::string(name) + " has a zero byte in it; choose one without");
  const bool limited = info.ulMaxPinLen != 0 && info.ulMaxPinLen != CK_UNAVAILABLE_INFORMATION;
  const bool least = info.ulMinPinLen != CK_UNAVAILABLE_INFORMATION;
  if ((!limited || pin.size() <= info.ulMaxPinLen) && (!least || pin.size() >= info.ulMinPinLen))
    return;
  refuse(pkcs11::reason_for(CKR_PIN_LEN_RANGE), "CKR_PIN_LEN_RANGE", place,
         std::string(name) + " is too long or too short: the token takes " +
             std::to_string(least ? info.ulMinPinLen : 0) + " bytes to " +
             (limited ? std::to_string(info.ulMaxPinLen) : "any number") + "; choose another");
}

// How to go on where the token has no user PIN yet.
std::string init_pin_command(const std::string& label, const std::string& module) {
  return "pkcs11-tool --module " + shell_word(module) + " --token-label " + shell_word(label) +
         " --login --login-type so --init-pin";
}

}  // namespace

struct TokenAdmin::Module {
  std::string path;
  CK_FUNCTION_LIST* functions = nullptr;  // what libp11 does not tell
  PKCS11_CTX* context = nullptr;
  bool loaded = false;
  PKCS11_SLOT* slots = nullptr;
  unsigned int count = 0;

  ~Module() {
    if (slots != nullptr) PKCS11_release_all_slots(context, slots, count);
    if (loaded) PKCS11_CTX_unload(context);
    if (context != nullptr) PKCS11_CTX_free(context);
  }
};

TokenAdmin::TokenAdmin(const std::string& module, const std::string& init_args,
                       core::AuditSink* audit)
    : module_(std::make_unique<Module>()), audit_(audit) {
  // The errors of load_library say more than libp11's.
  module_->functions = pkcs11::load_library(module, pkcs11::Mapping::shared);
  module_->path = module;
  module_->context = PKCS11_CTX_new();
  if (module_->context == nullptr) throw std::bad_alloc();
  ERR_clear_error();
  // What a module read of a token when it was initialized may be old by now: it would take another
  // process's new PIN for a wrong one.
  module_->functions->C_Finalize(nullptr);
  if (!init_args.empty()) PKCS11_CTX_init_args(module_->context, init_args.c_str());
  if (PKCS11_CTX_load(module_->context, module.c_str()) != 0) fail("C_Initialize", "", module);
  module_->loaded = true;
  if (PKCS11_enumerate_slots(module_->context, &module_->slots, &module_->count) != 0)
    fail("C_GetSlotList", "", module);
}

TokenAdmin::~TokenAdmin() = default;

std::vector<TokenAdmin::Slot> TokenAdmin::slots() const {
  std::vector<Slot> found;
  for (unsigned int at = 0; at < module_->count; ++at) {
    PKCS11_SLOT* const slot = &module_->slots[at];
    const PKCS11_TOKEN* const token = slot->token;
    if (token == nullptr) continue;
    found.push_back({at, PKCS11_get_slotid_from_slot(slot), text_of(slot->description),
                     text_of(token->label), text_of(token->manufacturer), text_of(token->model),
                     text_of(token->serialnr), token->initialized != 0});
  }
  return found;
}

TokenAdmin::PinFacts TokenAdmin::pin_facts(const Slot& slot) const {
  CK_TOKEN_INFO info{};
  pkcs11::check(module_->functions->C_GetTokenInfo(slot.id, &info), "C_GetTokenInfo",
                {slot.label, "", module_->path});
  const auto limit = [](CK_ULONG told) {
    return told == CK_UNAVAILABLE_INFORMATION ? std::size_t{0} : std::size_t{told};
  };
  return {pkcs11::user_pin_state(info.flags), pkcs11::so_pin_state(info.flags),
          (info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0, limit(info.ulMinPinLen),
          limit(info.ulMaxPinLen)};
}

void TokenAdmin::open_session(const Slot& slot) {
  ERR_clear_error();
  if (PKCS11_open_session(&module_->slots[slot.index], 1) != 0)
    fail("C_OpenSession", slot.label, module_->path);
}

// `so`: libp11's word for which user. `label`: of the token, by now.
void TokenAdmin::log_in_as(int so, const Slot& slot, const Secret& pin, const std::string& label) {
  const Secret text = terminated(pin);
  core::audited(audit_,
                {.operation = core::audit_field::kLogin, .backend = "pkcs11", .token = label}, [&] {
                  if (PKCS11_login(&module_->slots[slot.index], so, c_str(text)) != 0)
                    fail("C_Login", label, module_->path);
                });
}

void TokenAdmin::log_in(const Slot& slot, const Secret& pin) {
  open_session(slot);
  log_in_as(0, slot, pin, slot.label);
}

void TokenAdmin::change_pin(const Slot& slot, const Secret& old_pin, const Secret& new_pin) {
  const Secret old_text = terminated(old_pin);
  const Secret new_text = terminated(new_pin);
  ERR_clear_error();
  if (PKCS11_change_pin(&module_->slots[slot.index], c_str(old_text), c_str(new_text)) != 0)
    fail("C_SetPIN", slot.label, module_->path);
}

void TokenAdmin::log_in_so(const Slot& slot, const Secret& so_pin) {
  open_session(slot);
  log_in_as(1, slot, so_pin, slot.label);
}

void TokenAdmin::set_pin(const Slot& slot, const Secret& pin) {
  ERR_clear_error();
  if (PKCS11_init_pin(module_->slots[slot.index].token, c_str(terminated(pin))) != 0)
    fail("C_InitPIN", slot.label, module_->path);
}

void TokenAdmin::initialize(const Slot& wanted, const std::string& label, const Secret& so_pin,
                            const Secret& pin) {
  PKCS11_SLOT* const slot = &module_->slots[wanted.index];
  std::string padded = label;
  padded.resize(kLabelSize, ' ');
  const pkcs11::Place place{wanted.label, "", module_->path};
  CK_TOKEN_INFO info{};
  pkcs11::check(module_->functions->C_GetTokenInfo(wanted.id, &info), "C_GetTokenInfo", place);
  require_same(info, wanted, place);
  require_so_tries(info, place);
  require_good_pin(info, place, "the SO PIN", so_pin);
  require_good_pin(info, place, "the PIN", pin);
  const Secret so_text = terminated(so_pin);
  const Secret text = terminated(pin);
  ERR_clear_error();
  if (PKCS11_init_token(slot->token, c_str(so_text), padded.c_str()) != 0)
    fail("C_InitToken", label, module_->path);
  try {
    if (PKCS11_open_session(slot, 1) != 0) fail("C_OpenSession", label, module_->path);
    log_in_as(1, wanted, so_pin, label);
    if (PKCS11_init_pin(slot->token, c_str(text)) != 0) fail("C_InitPIN", label, module_->path);
    PKCS11_logout(slot);
  } catch (const Error& error) {
    throw Error(error.reason, error.code,
                std::string(error.what()) +
                    "; the token is initialized, and has no user PIN yet: give it one with " +
                    init_pin_command(label, module_->path),
                error.where);
  }
}

std::string token_label(const Invocation& invocation, const char* option) {
  std::string label = invocation.text(option);
  const std::string name = std::string("--") + option;
  if (label.empty() || label.size() > kLabelSize)
    throw UsageError(name + ": a label has 1 to " + std::to_string(kLabelSize) + " bytes");
  if (label.back() == ' ')
    throw UsageError(name + ": a label does not end in a blank, which a token takes for none");
  if (printable(label) != label)
    throw UsageError(name + ": a label for people has no control characters");
  return label;
}

}  // namespace hwid::tool
