#include "provider/pkcs11/login.h"

#include <string>

namespace hwid::pkcs11 {

using core::Error;
using core::Reason;

KeptPin::KeptPin(const KeptPin* inherited) {
  if (inherited == nullptr) return;
  inherited_keys_ = inherited->keys_.load(std::memory_order_acquire) +
                    inherited->inherited_keys_.load(std::memory_order_acquire);
  if (inherited_keys_ == 0) return;
  const core::Secret* const pin = inherited->pin_.load(std::memory_order_acquire);
  if (pin != nullptr) pin_ = new core::Secret(pin->clone());
}

KeptPin::~KeptPin() { delete pin_.load(std::memory_order_acquire); }

std::optional<core::Secret> KeptPin::get() const {
  const std::lock_guard lock(mutex_);
  const core::Secret* const pin = pin_.load(std::memory_order_acquire);
  if (pin == nullptr) return std::nullopt;
  return pin->clone();
}

void KeptPin::keep(const core::Secret& pin) {
  auto fresh = std::make_unique<core::Secret>(pin.clone());
  const std::lock_guard lock(mutex_);
  const std::unique_ptr<const core::Secret> old(
      pin_.exchange(fresh.release(), std::memory_order_acq_rel));
}

void KeptPin::drop() noexcept {
  const std::lock_guard lock(mutex_);
  const std::unique_ptr<const core::Secret> old(pin_.exchange(nullptr, std::memory_order_acq_rel));
}

void KeptPin::hold(For what) noexcept {
  const std::lock_guard lock(mutex_);
  if (what == For::kKey)
    keys_.fetch_add(1, std::memory_order_relaxed);
  else
    ++calls_;
}

void KeptPin::let_go(For what, bool inherited) noexcept {
  std::unique_ptr<const core::Secret> dropped;
  const std::lock_guard lock(mutex_);
  if (what == For::kKey) {
    std::atomic<std::size_t>& count = inherited ? inherited_keys_ : keys_;
    if (count.load(std::memory_order_relaxed) != 0) count.fetch_sub(1, std::memory_order_relaxed);
  } else if (!inherited) {
    --calls_;
  }
  if (calls_ == 0 && keys_.load(std::memory_order_relaxed) == 0 &&
      inherited_keys_.load(std::memory_order_relaxed) == 0)
    dropped.reset(pin_.exchange(nullptr, std::memory_order_acq_rel));
}

void check_pin_state(const CK_TOKEN_INFO& info, const TokenPolicy& policy, const Place& place) {
  const auto refuse = [&](Reason reason, const char* flag, const std::string& cause) {
    throw Error(reason, flag,
                std::string("C_GetTokenInfo: ") + flag + place_text(place) + ": " + cause);
  };
  if ((info.flags & CKF_USER_PIN_LOCKED) != 0)
    refuse(Reason::kPinLocked, "CKF_USER_PIN_LOCKED",
           "the PIN is locked; unlock it with the SO PIN: hwid pin unblock");
  if ((info.flags & CKF_USER_PIN_TO_BE_CHANGED) != 0)
    refuse(Reason::kPinExpired, "CKF_USER_PIN_TO_BE_CHANGED",
           "the token wants a new PIN first; set one: hwid pin change");
  if ((info.flags & CKF_USER_PIN_FINAL_TRY) != 0 && !policy.allow_final_try)
    refuse(Reason::kPinLocked, "CKF_USER_PIN_FINAL_TRY",
           "one more wrong PIN locks the token, so none is sent; log in with another tool, or set "
           "allow-final-try = yes for one try");
}

bool is_refusal(CK_RV rv) noexcept {
  return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE;
}

namespace {

// The answer says that nobody looked at the PIN. After any other it may have cost a try.
bool costs_no_try(CK_RV rv) noexcept {
  switch (rv) {
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_REMOVED:
    case CKR_OPERATION_ACTIVE:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SLOT_ID_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
      return true;
    default:
      return false;
  }
}

}  // namespace

void raise_login_failure(CK_RV rv, CK_FLAGS flags_after, const Place& place) {
  if (!is_refusal(rv)) {
    const bool says_nothing = rv == CKR_USER_NOT_LOGGED_IN;  // that is why there was a login
    const std::string why =
        says_nothing
            ? call_text("C_Login", rv, place) +
                  ": the token refused the login without saying why; see the module's own log"
            : describe("C_Login", rv, place);
    TokenError error(says_nothing ? Reason::kDeviceError : reason_for(rv), rv, code_name(rv), why,
                     core::SourceLoc::here());
    error.may_repeat = costs_no_try(rv);
    throw error;
  }
  std::string text = describe("C_Login", rv, place);
  if ((flags_after & CKF_USER_PIN_LOCKED) != 0)
    text += " (it is locked now)";
  else if ((flags_after & CKF_USER_PIN_FINAL_TRY) != 0)
    text += " (one try is left)";
  else if ((flags_after & CKF_USER_PIN_COUNT_LOW) != 0)
    text += " (few tries are left)";
  throw TokenError(Reason::kPinWrong, rv, code_name(rv), text, core::SourceLoc::here());
}

}  // namespace hwid::pkcs11
