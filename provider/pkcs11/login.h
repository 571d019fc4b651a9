// What a login needs: the PIN in use, whose turn it is, and what may be tried.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

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
};

// What an operation may log in with. Borrowed: lives as long as the operation.
struct Credentials {
  const TokenPolicy& policy;
  const core::Log& log;
  core::AuditSink* audit = nullptr;
  const core::PinChain* pins = nullptr;       // null: only the PIN in use
  const CK_TOKEN_INFO* fresh_info = nullptr;  // read in the same open, or null
};

// The PIN in use: kept as long as a key of its token is open, for healing and for children.
// Thread-safe.
class KeptPin {
 public:
  explicit KeptPin(const KeptPin* inherited);
  ~KeptPin();
  KeptPin(const KeptPin&) = delete;
  KeptPin& operator=(const KeptPin&) = delete;

  std::optional<core::Secret> get() const;
  void keep(const core::Secret& pin);
  void drop() noexcept;

 private:
  mutable std::mutex mutex_;
  std::atomic<const core::Secret*> pin_{nullptr};  // atomic for a forked child alone
};

// One thread at a time asks for the PIN and logs in; the others wait, and find it done. No lock is
// held meanwhile: a program may fork, or come back to us, in its passphrase callback.
class LoginTurn {
 public:
  class Gate {
    friend class LoginTurn;
    std::mutex mutex_;
    std::condition_variable left_;
    std::optional<std::thread::id> inside_;
  };
  explicit LoginTurn(Gate& gate);  // waits
  ~LoginTurn();
  LoginTurn(const LoginTurn&) = delete;
  LoginTurn& operator=(const LoginTurn&) = delete;

 private:
  Gate& gate_;
  bool nested_ = false;  // this thread is inside already
};

// Throws kPinLocked or kPinExpired if one more try would do harm: locked, the last try, a PIN that
// must be changed first.
void check_pin_state(const CK_TOKEN_INFO& info, const TokenPolicy& policy, const Place& place);

// What C_Login's refusal means, with what the token then says of the tries that are left.
[[noreturn]] void raise_login_failure(CK_RV rv, CK_FLAGS flags_after, const Place& place);

bool is_refusal(CK_RV rv) noexcept;  // the PIN is wrong, and must not be sent again

}  // namespace hwid::pkcs11
