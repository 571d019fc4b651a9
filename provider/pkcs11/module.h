// A loaded and initialized PKCS#11 module.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "provider/core/process.h"
#include "provider/pkcs11/cryptoki.h"
#include "provider/pkcs11/errors.h"
#include "provider/pkcs11/quirks.h"
#include "provider/pkcs11/turn.h"

namespace hwid::pkcs11 {

class SharedToken;

// What a module needs to be known by. Of two configurations of one module the first counts:
// PKCS#11's C_Initialize belongs to the process.
struct ModuleSetup {
  std::string path;                       // a file, or a name for `functions`
  std::string init_args;                  // CK_C_INITIALIZE_ARGS.pReserved; empty: none
  std::vector<std::string> environment;   // NAME=VALUE, set in a forked child before C_Initialize
  CK_FUNCTION_LIST* functions = nullptr;  // where there is no file to load (p11-kit `remote:`)
  // What is called instead of the functions that the file has: for who counts calls.
  std::function<CK_FUNCTION_LIST*(CK_FUNCTION_LIST*)> instead = {};
};

// Process-wide and thread-safe. Loads and initializes itself at first use, and again in a forked
// child (PKCS#11 v2.40, 6.6: a child must call C_Initialize). CKR_CRYPTOKI_ALREADY_INITIALIZED is
// normal: the application, or another copy of us, uses the module too. Never unloaded: a module's
// destructors do not expect that. Finalized only at exit (which waits a second for calls under
// way), and only where we initialized it.
class Module final : public core::ProcessObject, public std::enable_shared_from_this<Module> {
  struct State;

 public:
  // The one of that file in the process. Touches nothing.
  static std::shared_ptr<Module> get(ModuleSetup setup);

  explicit Module(ModuleSetup setup);
  const std::string& path() const noexcept { return setup_.path; }

  // The only way to call the module. As long as one lives, the module is not finalized, and what
  // it raises on OpenSSL's error queue of this thread goes with it: our own errors say enough.
  class Use {
   public:
    Use(Use&& other) noexcept
        : alone_(std::move(other.alone_)),
          functions_(other.functions_),
          state_(std::exchange(other.state_, nullptr)),
          generation_(other.generation_) {}
    Use& operator=(Use&&) = delete;
    ~Use();
    const CK_FUNCTION_LIST* operator->() const noexcept { return functions_; }
    // Changes with each C_Initialize of ours.
    std::uint64_t generation() const noexcept { return generation_; }
    // The module shows slots, or none at all. True in the latter case if C_Initialize may find
    // some: it was long ago, or there were some before.
    bool may_find_slots_anew(bool has_slots) const noexcept;

   private:
    friend class Module;
    explicit Use(State& state, std::unique_lock<std::recursive_mutex> alone = {}) noexcept;
    std::unique_lock<std::recursive_mutex> alone_;  // where one thread at a time may be inside
    const CK_FUNCTION_LIST* functions_ = nullptr;
    State* state_;
    std::uint64_t generation_ = 0;
  };

  // Throws kExiting, kModuleNotLoadable, kNotAModule, kModuleInitFailed (also where the module
  // comes back to us while it is being initialized).
  Use use();

  // Loads the file, without initializing the module. False if that fails: use() says why.
  bool keep_loaded() noexcept;

  // A call answered CKR_CRYPTOKI_NOT_INITIALIZED: initialize at the next use, unless that happened
  // since `generation`.
  void forget_initialization(std::uint64_t generation);

  // The module lost its connection (to a remote token's server) for good, as the older ones do
  // that only connect in C_Initialize: C_Finalize, and initialize at the next use, unless that
  // happened since `generation`. Waits until no call is in the module. False where that is not
  // ours to do (the application initialized it), or a call does not come back.
  // REQUIRES: this thread has no Use.
  bool start_anew(std::uint64_t generation);

  // CK_INFO, asked once. Throws.
  CK_INFO info();

  // Tokens of this module that were seen in this process (not in its parent).
  std::vector<std::shared_ptr<SharedToken>> known_tokens();
  void remember(std::shared_ptr<SharedToken> token);

  void quiesce() noexcept override {}

 private:
  struct State {  // not shared with a forked child
    explicit State(const State* inherited) : in_child(inherited != nullptr) {}
    const bool in_child;
    Turn::Gate loading;                 // dlopen and C_Initialize: no lock is held then
    std::uint64_t initializations = 0;  // whose turn it is
    bool finalized_at_exit = false;     // likewise
    bool loaded_here = false;           // likewise
    std::atomic<bool> initialized_by_us{false};
    std::atomic<bool> has_no_locks{false};  // the module: we let one thread in at a time
    std::atomic<bool> lost{false};          // started anew, and no slot was seen since
    std::atomic<std::chrono::steady_clock::time_point> initialized_at{};
    std::atomic<std::uint64_t> generation{0};  // 0: not initialized
    std::atomic<int> uses{0};
    std::recursive_mutex one_at_a_time;
    std::mutex mutex;  // of what follows
    bool has_info = false;
    CK_INFO info{};
    std::vector<std::shared_ptr<SharedToken>> tokens;
  };

  void initialize(State& state);
  void refuse_at_exit() const;
  static void let_old_uses_end(const State& state);
  CK_FUNCTION_LIST* load(State& state, const Turn& turn);
  Place place() const { return {{}, {}, setup_.path}; }
  static void finalize_at_exit(core::ProcessObject& object) noexcept;

  const ModuleSetup setup_;
  const ModuleQuirks quirks_;
  std::atomic<CK_FUNCTION_LIST*> functions_;  // the mapping is the same in a child, as a rule
  core::EpochLocal<State> state_;
};

// Slots with a token in them, by one call as a rule. A device's error, which C_GetSlotList cannot
// have (PKCS#11 v2.40, 5.5.1), is one of the module if it comes twice; so is that it has no slots
// at all any more.
std::vector<CK_SLOT_ID> slots_with_token(const Module::Use& use, const Place& place);

// PKCS#11's fixed-width texts, without the blanks at the end, and without what some modules leave
// behind a NUL.
template <std::size_t N>
std::string padded_text(const unsigned char (&field)[N]) {
  std::size_t size = static_cast<std::size_t>(std::find(field, field + N, '\0') - field);
  while (size > 0 && field[size - 1] == ' ') --size;
  return {field, field + size};
}

}  // namespace hwid::pkcs11
