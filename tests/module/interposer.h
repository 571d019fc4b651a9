// Stands between a program and the real PKCS#11 module: counts, delays, refuses, breaks.
#pragma once

#include <p11-kit/pkcs11.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/module/counters.h"
#include "tests/module/directives.h"
#include "tests/module/plan.h"
#include "tests/module/record.h"
#include "tests/module/sessions.h"

namespace hwid::test {

// One a process, never destroyed. Thread-safe. Calls take no lock: a test of a fork must find the
// locks of the code under test, not ours. (Those at which a directive is due do.)
class Interposer {
 public:
  static Interposer& get();

  // Null if the real module cannot be loaded.
  CK_FUNCTION_LIST* real() const noexcept { return real_; }
  Counters& counters() noexcept { return counters_; }
  Sessions& sessions() noexcept { return sessions_; }

  // Takes directives, one a line. Waits until no call is in the real module, so that nothing
  // changes under a running one. Throws std::invalid_argument.
  void control(std::string_view directives);

  // What every call does before and after `forward(plan, lie)`, which asks the real module and, if
  // `lie` is not null, changes what it told. `first` is the call's slot or session, `mechanism`
  // may be null.
  template <typename Forward>
  CK_RV run(Function function, CK_ULONG first, const CK_MECHANISM* mechanism, Forward&& forward) {
    counters_.add(function);
    if (exited_.load()) counters_.add(Tally::kAfterExit);
    follow_control_file();
    const std::optional<std::size_t> place = begin_record(function);
    const Strikes strikes = plan_.load()->strikes(function);
    perform_events(strikes, false);
    const CK_RV rv = struck(function, first, mechanism, strikes, forward);
    if (place) record_.end(*place, rv);
    perform_events(strikes, true);
    return rv;
  }
  std::string record() const { return record_.text(); }

  CK_RV initialize(const Plan& plan, void* args);
  CK_RV finalize(void* reserved);
  void mark_exited() noexcept { exited_ = true; }

 private:
  template <typename Forward>
  CK_RV struck(Function function, CK_ULONG first, const CK_MECHANISM* mechanism,
               const Strikes& strikes, Forward&& forward) {
    const InFlight in_flight(*this);
    const Plan& plan = *plan_.load();
    const SessionUse use(*this, function, first);
    if (strikes.delay.count() > 0) std::this_thread::sleep_for(strikes.delay);
    const Rule* const fault = strikes.fault;
    if (fault != nullptr && !asks_first(function, *fault)) return fault->answer;
    if (const CK_RV rv = refusal(plan, function, mechanism); rv != CKR_OK) return rv;
    const CK_RV rv = forward(plan, strikes.lie);
    return fault != nullptr ? fault->answer : rv;
  }

  class InFlight {
   public:
    explicit InFlight(Interposer& owner) noexcept;
    ~InFlight() { owner_.in_flight_.fetch_sub(1); }
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;

   private:
    Interposer& owner_;
  };
  // Notices two threads in one session, which PKCS#11 leaves to the application to prevent.
  class SessionUse {
   public:
    SessionUse(Interposer& owner, Function function, CK_ULONG session) noexcept;
    ~SessionUse();
    SessionUse(const SessionUse&) = delete;
    SessionUse& operator=(const SessionUse&) = delete;

   private:
    Interposer& owner_;
    CK_SESSION_HANDLE entered_ = 0;
  };

  Interposer();
  static void after_fork_in_child();
  static CK_RV refused_arguments(const Plan& plan, const CK_C_INITIALIZE_ARGS* args) noexcept;
  bool in_forked_child(const Plan& plan) const noexcept;
  void follow_control_file();
  std::optional<std::size_t> begin_record(Function function) noexcept;
  void perform_events(const Strikes& strikes, bool after);
  static bool asks_first(Function function, const Rule& fault) noexcept;
  CK_RV refusal(const Plan& plan, Function function, const CK_MECHANISM* mechanism) const noexcept;
  void publish(std::unique_ptr<const Plan> plan);
  void control_locked(std::string_view directives, bool afresh);
  void perform(const Directive& directive);
  void drop_session(std::size_t number);
  void drop_sessions();
  void report(const std::string& path) const;

  CK_FUNCTION_LIST* real_ = nullptr;
  Counters counters_;
  Record record_;
  Sessions sessions_;
  std::atomic<const Plan*> plan_{nullptr};
  std::atomic<int> in_flight_{0};
  std::atomic<bool> paused_{false};
  std::atomic<bool> exited_{false};
  std::atomic<pid_t> initialized_by_{0};

  struct Control {  // made afresh in a forked child
    std::mutex mutex;
    std::vector<std::unique_ptr<const Plan>> plans;  // old ones too: a call may be reading them
    struct stat file_seen {};
  };
  std::atomic<Control*> control_;
  const char* control_path_ = nullptr;
  CK_C_INITIALIZE_ARGS init_args_{};
  bool has_init_args_ = false;
};

}  // namespace hwid::test
