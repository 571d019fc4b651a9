// What a login needs: the PIN in use, and what may be tried.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "provider/core/audit.h"
#include "provider/core/config.h"
#include "provider/core/log.h"
#include "provider/core/pin.h"
#include "provider/core/secret.h"
#include "provider/pkcs11/cryptoki.h"
#include "provider/pkcs11/errors.h"

namespace hwid::pkcs11 {

// What the backend's section says of its tokens.
struct TokenPolicy {
  core::BackendConfig::Login login = core::BackendConfig::Login::kAuto;
  bool cache_pin = true;
  bool allow_final_try = false;
  std::size_t max_sessions = 16;
  bool cache_keys = true;       // where the token's quirks ask for it
  core::PinChain configured{};  // the section's own PIN; nobody is asked
};

// What an operation may log in with. Borrowed: lives as long as the operation.
struct Credentials {
  const TokenPolicy& policy;
  const core::Log& log;
  core::AuditSink* audit = nullptr;
  const core::PinChain* pins = nullptr;       // null: only the PIN in use
  const CK_TOKEN_INFO* fresh_info = nullptr;  // read in the same open, or null
};

// The PIN in use: kept as long as a key of its token is open, for healing and for children; and
// during a call that may open one. Thread-safe.
//
// A child has the keys that were open in its parent, and gives them up one by one (or never, where
// they were another thread's). Calls are not inherited: their threads are not in the child.
class KeptPin {
 public:
  enum class For { kKey, kCall };

  explicit KeptPin(const KeptPin* inherited);
  ~KeptPin();
  KeptPin(const KeptPin&) = delete;
  KeptPin& operator=(const KeptPin&) = delete;

  std::optional<core::Secret> get() const;
  void keep(const core::Secret& pin);
  void drop() noexcept;

  void hold(For what) noexcept;
  // The last to let go drops the PIN. `inherited`: the hold was made in a parent.
  void let_go(For what, bool inherited) noexcept;

 private:
  mutable std::mutex mutex_;  // of writing; a forked child alone reads without it
  std::atomic<const core::Secret*> pin_{nullptr};
  std::atomic<std::size_t> keys_{0};
  std::atomic<std::size_t> inherited_keys_{0};
  std::size_t calls_ = 0;
};

// Throws kPinLocked or kPinExpired if one more try would do harm: locked, the last try, a PIN that
// must be changed first.
void check_pin_state(const CK_TOKEN_INFO& info, const TokenPolicy& policy, const Place& place);

// What C_Login's refusal means, with what the token then says of the tries that are left.
[[noreturn]] void raise_login_failure(CK_RV rv, CK_FLAGS flags_after, const Place& place);

bool is_refusal(CK_RV rv) noexcept;  // the PIN is wrong, and must not be sent again

}  // namespace hwid::pkcs11
