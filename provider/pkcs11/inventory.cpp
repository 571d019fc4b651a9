#include "provider/pkcs11/inventory.h"

#include "provider/core/uri.h"
#include "provider/pkcs11/shared_token.h"

namespace hwid::pkcs11 {

using core::PinState;
using core::TokenInfo;

namespace {

struct PinFlags {
  CK_FLAGS set, low, last_try, locked;
};
constexpr PinFlags kUserPin{CKF_USER_PIN_INITIALIZED, CKF_USER_PIN_COUNT_LOW,
                            CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED};
constexpr PinFlags kSoPin{CKF_TOKEN_INITIALIZED, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY,
                          CKF_SO_PIN_LOCKED};

PinState pin_state(CK_FLAGS flags, const PinFlags& pin) noexcept {
  if ((flags & pin.set) == 0) return PinState::kNotSet;
  if ((flags & pin.locked) != 0) return PinState::kLocked;
  if ((flags & pin.last_try) != 0) return PinState::kLastTry;
  return (flags & pin.low) != 0 ? PinState::kLow : PinState::kOk;
}

// With all that may be needed: core::merged cuts it.
std::string uri_of(const std::string& label, const std::string& serial, CK_SLOT_ID slot) {
  const std::string number = "slot-id=" + std::to_string(slot);
  if (label.empty()) return "pkcs11:" + number;
  std::string uri = "pkcs11:token=" + core::uri_escape(label);
  if (!serial.empty()) uri += ";serial=" + core::uri_escape(serial);
  return uri + ";" + number;
}

template <std::size_t N>
std::string shown(const unsigned char (&field)[N]) {
  return core::one_line(padded_text(field));
}

void add_token(TokenInfo& token, const CK_TOKEN_INFO& info, CK_SLOT_ID slot,
               const std::string& served) {
  const std::string label = padded_text(info.label);
  const auto has = [&info](CK_FLAGS flag) { return (info.flags & flag) != 0; };
  token.label = core::one_line(label);
  token.manufacturer = shown(info.manufacturerID);
  token.model = shown(info.model);
  token.serial = shown(info.serialNumber);
  token.firmware =
      std::to_string(info.firmwareVersion.major) + "." + std::to_string(info.firmwareVersion.minor);
  token.present = true;
  token.initialized = has(CKF_TOKEN_INITIALIZED);
  token.login_required = has(CKF_LOGIN_REQUIRED);
  token.write_protected = has(CKF_WRITE_PROTECTED);
  token.protected_authentication_path = has(CKF_PROTECTED_AUTHENTICATION_PATH);
  token.user_pin_to_be_changed = has(CKF_USER_PIN_TO_BE_CHANGED);
  token.user_pin = user_pin_state(info.flags);
  token.so_pin = so_pin_state(info.flags);
  token.served = served.empty() || served == label;
  token.uri = uri_of(label, padded_text(info.serialNumber), slot);
}

}  // namespace

PinState user_pin_state(CK_FLAGS flags) noexcept { return pin_state(flags, kUserPin); }
PinState so_pin_state(CK_FLAGS flags) noexcept { return pin_state(flags, kSoPin); }

TokenInfo unusable_module(const std::string& path, const std::string& backend,
                          const std::string& problem) {
  TokenInfo token;
  token.backend = backend;
  token.kind = "pkcs11";
  token.module = path;
  token.problem = problem;
  return token;
}

TokenInfo inspect_slot(const Module::Use& use, CK_SLOT_ID slot, const std::string& module,
                       const std::string& backend, const std::string& served) {
  TokenInfo token = unusable_module(module, backend, {});
  token.slot_id = slot;
  CK_SLOT_INFO where{};
  if (use->C_GetSlotInfo(slot, &where) == CKR_OK) {
    token.slot_description = shown(where.slotDescription);
    token.removable = (where.flags & CKF_REMOVABLE_DEVICE) != 0;
    token.hardware = (where.flags & CKF_HW_SLOT) != 0;
  }
  CK_TOKEN_INFO info{};
  const CK_RV rv = token_info(use, slot, info);
  if (rv == CKR_CRYPTOKI_NOT_INITIALIZED) raise(rv, "C_GetTokenInfo", {{}, {}, module});
  if (rv == CKR_OK)
    add_token(token, info, slot, served);
  else
    token.problem = core::one_line(
        describe("C_GetTokenInfo", rv, {{}, "slot " + std::to_string(slot), module}));
  return token;
}

std::vector<TokenInfo> inspect_slots(Module& module, const std::string& backend,
                                     const std::string& served) {
  const Module::Use use = module.use();
  std::vector<TokenInfo> tokens;
  for (const CK_SLOT_ID slot : slots_with_token(use, {{}, {}, module.path()}))
    tokens.push_back(inspect_slot(use, slot, module.path(), backend, served));
  return tokens;
}

}  // namespace hwid::pkcs11
