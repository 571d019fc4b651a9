// A token as the whole process sees it: where it is, its sessions, its login.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "provider/pkcs11/login.h"
#include "provider/pkcs11/module.h"
#include "provider/pkcs11/session_copies.h"
#include "provider/pkcs11/session_pool.h"
#include "provider/pkcs11/turn.h"

namespace hwid::pkcs11 {

// What an operation needs of its session.
struct SessionRequest {
  bool login = false;
  bool read_write = false;
  const Credentials& credentials;
};

// C_GetTokenInfo, asked again where it fails or a quirk has it incomplete: a token that is there
// must not be taken for one that is not, or for another.
CK_RV token_info(const Module::Use& use, CK_SLOT_ID slot, CK_TOKEN_INFO& info);

// Identified by module, label and serial number: a slot number may change. Process-wide,
// thread-safe, usable in a forked child, which makes sessions and a login of its own.
class SharedToken final : public core::ProcessObject {
 public:
  // The one of that identity in the process, and known to be in `slot`.
  static std::shared_ptr<SharedToken> get(const std::shared_ptr<Module>& module, CK_SLOT_ID slot,
                                          const CK_TOKEN_INFO& info);

  SharedToken(std::shared_ptr<Module> module, const CK_TOKEN_INFO& info);
  ~SharedToken() override { delete mechanisms_.load(std::memory_order_acquire); }
  SharedToken(const SharedToken&) = delete;
  SharedToken& operator=(const SharedToken&) = delete;

  const std::string& label() const noexcept { return place_.token; }
  std::string serial() const { return padded_text(info().serialNumber); }
  const Place& place() const noexcept { return place_; }
  const std::string& module_path() const noexcept { return module_->path(); }
  const CK_TOKEN_INFO& info() const noexcept { return info_; }  // when it was first seen
  bool is_here();  // in a known slot, as far as we know; asks nothing

  bool needs_login(const TokenPolicy& policy) const noexcept;
  bool logged_in() { return state_.get().pool.logged_in(); }

  // Runs `body(Lease&, bool again)` on a session. Where the token lost something (a session, the
  // login, itself, an object), rebuilds it and runs `body` once more, with `again` true: object
  // handles must then be found again. Where that meets another loss (an event can look like two,
  // and other threads rebuild too), a third time, and only while others rebuild up to an eighth.
  // The one way to a session. Throws what
  // `body` throws, and kPinMissing, kPinWrong, kPinLocked, kPinExpired, kSessionLimit,
  // kTokenRemoved, ...
  template <typename Body>
  auto with_session(const SessionRequest& request, Body&& body) {
    std::optional<TokenError> first;
    for (int tries = 1;; ++tries) {
      const Generations before = generations();
      try {
        Lease lease = lease_session(request, first.has_value());
        return body(lease, first.has_value());
      } catch (const TokenError& error) {
        if (first && !is_another_loss(*first, error, before, tries)) report(*first, error);
        if (!heal(error, before, request.credentials) || !error.may_repeat) throw;
        if (!first) first = error;
      }
    }
  }

  // C_Login(CKU_CONTEXT_SPECIFIC) with the PIN in use, or the configured one where none is kept,
  // inside an operation (PKCS#11 v2.40, 5.6.5).
  void log_in_for_operation(Lease& lease, const Credentials& credentials);

  // For who found nothing: throws CKR_USER_NOT_LOGGED_IN if the session is no user's (any more),
  // since somebody may have logged out behind our back, and CKR_OBJECT_HANDLE_INVALID if the login
  // may be newer than what was looked for with it. One call.
  void require_user(Lease& lease) const;

  // Keeps a PIN for children and healing where none is in use yet: somebody else logged in.
  void keep_pin(const Credentials& credentials);

  // As long as one lives, the PIN in use is kept. A key's may be destroyed in a forked child.
  class Hold {
   public:
    Hold(std::shared_ptr<SharedToken> token, KeptPin::For what) noexcept;
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold();

   private:
    const std::shared_ptr<SharedToken> token_;
    const KeptPin::For what_;
    const std::uint64_t epoch_;
  };

  // Mechanisms of the token, asked once. Null: not known, and not asked for.
  const std::vector<CK_MECHANISM_TYPE>* known_mechanisms() const noexcept {
    return mechanisms_.load(std::memory_order_acquire);
  }
  const std::vector<CK_MECHANISM_TYPE>& mechanisms(Lease& lease);

  SessionCopies& copies() { return state_.get().copies; }

  // Lease::handle_generation of a lease that is taken now.
  std::uint64_t handle_generation() { return state_.get().pool.handle_generation(); }

  void quiesce() noexcept override;

 private:
  struct State {  // not shared with a forked child
    explicit State(const State* inherited)
        : copies(inherited ? &inherited->copies : nullptr),
          pin(inherited ? &inherited->pin : nullptr) {}
    std::mutex slot_mutex;
    std::optional<CK_SLOT_ID> slot;
    SessionPool pool;
    SessionCopies copies;
    Turn::Gate gate;
    KeptPin pin;
  };
  struct Generations {
    std::uint64_t module, sessions, login;
    bool operator==(const Generations&) const = default;
  };

  // Makes sure that the user is logged in. `again`: what is known of the token may be old.
  void log_in(const Credentials& credentials, bool again);
  Generations generations();
  // False for a device that fails twice the same way, with nobody else rebuilding since `before`,
  // and after enough `tries`.
  bool is_another_loss(const TokenError& first, const TokenError& error, const Generations& before,
                       int tries);
  Lease lease_session(const SessionRequest& request, bool again);
  Lease acquire(const Credentials& credentials, bool read_write);
  bool heal(const TokenError& error, const Generations& before, const Credentials& credentials);
  void check_login(const Generations& before, const Credentials& credentials);
  [[noreturn]] static void report(const TokenError& first, const TokenError& second);
  void forget_slot();
  CK_SLOT_ID slot(const Module::Use& use);
  std::optional<core::Secret> obtain_pin(const Credentials& credentials);
  void send_pin(Lease& lease, CK_USER_TYPE user, const std::optional<core::Secret>& pin,
                const TokenPolicy& policy);
  core::AuditEvent login_event() const;
  CK_TOKEN_INFO read_info(const Module::Use& use);
  bool has_pin_pad() const noexcept {
    return (info_.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
  }

  const std::shared_ptr<Module> module_;
  const CK_TOKEN_INFO info_;
  const Place place_;
  const std::string identity_;                                        // for refused PINs
  std::atomic<std::vector<CK_MECHANISM_TYPE>*> mechanisms_{nullptr};  // as long as the token
  core::EpochLocal<State> state_;
};

}  // namespace hwid::pkcs11
