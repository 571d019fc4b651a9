#include "provider/pkcs11/module.h"

#include <openssl/err.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <cstdlib>
#include <thread>
#include <utility>

#include "provider/core/config.h"
#include "provider/core/libcrypto.h"
#include "provider/pkcs11/library.h"

namespace hwid::pkcs11 {

using core::Error;
using core::Reason;

namespace {

// `module = softhsm2.so` means p11-kit's module directory, as it does in p11-kit's own files.
std::string real_path(const std::string& written) {
  std::string path = written;
  if (path.find('/') == std::string::npos) {
    const std::string in_directory = std::string(HWID_P11KIT_MODULE_DIR) + "/" + path;
    if (access(in_directory.c_str(), F_OK) != 0) return written;  // dlopen's own search
    path = in_directory;
  }
  const std::unique_ptr<char, core::FreeWith<std::free>> resolved(realpath(path.c_str(), nullptr));
  return resolved ? std::string(resolved.get()) : path;
}

// `condition`, or the end of patience.
template <typename Condition>
bool wait_for(std::chrono::milliseconds patience, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace

std::shared_ptr<Module> Module::get(ModuleSetup setup) {
  if (setup.functions == nullptr) setup.path = real_path(setup.path);
  const std::string name = "pkcs11:" + setup.path;
  return core::Process::get().shared<Module>(
      name, [&] { return std::make_shared<Module>(std::move(setup)); });
}

Module::Module(ModuleSetup setup)
    : setup_(std::move(setup)),
      quirks_(setup_.functions != nullptr ? ModuleQuirks{.one_at_a_time = true}
                                          : module_quirks_of(setup_.path)),
      functions_(setup_.functions) {}

Module::Use::Use(State& state, std::unique_lock<std::recursive_mutex> alone) noexcept
    : alone_(std::move(alone)), state_(&state) {
  ERR_set_mark();  // as core::ErrorMark does, which cannot be moved
  state.uses.fetch_add(1, std::memory_order_seq_cst);
}

Module::Use::~Use() {
  if (state_ == nullptr) return;
  state_->uses.fetch_sub(1, std::memory_order_seq_cst);
  ERR_pop_to_mark();
}

bool Module::Use::may_find_slots_anew(bool has_slots) const noexcept {
  constexpr std::chrono::seconds kLongAgo{1};
  if (has_slots) {
    if (state_->lost.load(std::memory_order_relaxed)) state_->lost = false;
    return false;
  }
  return state_->lost ||
         std::chrono::steady_clock::now() - state_->initialized_at.load() > kLongAgo;
}

void Module::refuse_at_exit() const {
  if (core::Process::get().exiting())
    throw Error(Reason::kExiting, "PKCS#11 module " + path() +
                                      ": the process is exiting; use keys before main returns");
}

Module::Use Module::use() {
  State& state = state_.get();
  for (;;) {
    {
      // Counted before exiting() and the generation are looked at: who finalizes does it the other
      // way round. Not counted while it waits for its turn to initialize.
      const auto one_at_a_time = [&] { return quirks_.one_at_a_time || state.has_no_locks; };
      std::unique_lock alone(state.one_at_a_time, std::defer_lock);
      if (one_at_a_time()) alone.lock();
      const bool is_alone = alone.owns_lock();
      Use use(state, std::move(alone));
      refuse_at_exit();
      use.generation_ = state.generation.load(std::memory_order_seq_cst);
      use.functions_ = functions_.load(std::memory_order_acquire);
      const bool is_admitted = is_alone || !one_at_a_time();  // it was initialized meanwhile
      if (use.generation_ != 0 && is_admitted) return use;
    }
    initialize(state);
  }
}

CK_FUNCTION_LIST* Module::load(State& state, const Turn& turn) {
  if (turn.nested())
    throw Error(Reason::kModuleInitFailed,
                "C_Initialize: module=" + path() +
                    ": the module asked OpenSSL for a key of ours while it was being initialized; "
                    "give it a configuration without this provider (OPENSSL_CONF)");
  CK_FUNCTION_LIST* functions = functions_.load(std::memory_order_acquire);
  const bool spoilt = state.in_child && quirks_.survives_no_fork && !state.loaded_here;
  if (functions != nullptr && !spoilt) return functions;
  functions = load_library(path(), functions != nullptr ? Mapping::own : Mapping::shared);
  if (setup_.instead) functions = setup_.instead(functions);
  state.loaded_here = true;
  functions_.store(functions, std::memory_order_release);
  return functions;
}

bool Module::keep_loaded() noexcept {
  try {
    const core::ErrorMark mark;
    State& state = state_.get();
    const Turn turn(state.loading);
    return load(state, turn) != nullptr;
  } catch (const std::exception&) {
    return false;
  }
}

void Module::initialize(State& state) {
  const Turn turn(state.loading);
  if (state.generation.load(std::memory_order_acquire) != 0) return;
  const Use inside(state);  // so that the exit hook waits
  refuse_at_exit();
  const CK_FUNCTION_LIST* const functions = load(state, turn);
  if (state.initializations != 0) {
    let_old_uses_end(state);
    refuse_at_exit();
  }
  // A child may have lost its environment (nginx's workers), and is single-threaded by now.
  if (state.in_child) core::set_environment(setup_.environment);
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  std::string reserved = setup_.init_args;  // modules may write into it
  if (!reserved.empty()) arguments.pReserved = reserved.data();
  CK_RV rv = functions->C_Initialize(&arguments);
  // PKCS#11 v2.40, 5.4: it has no locks; some know no arguments at all.
  if (rv == CKR_CANT_LOCK || (rv == CKR_ARGUMENTS_BAD && reserved.empty())) {
    state.has_no_locks = true;
    arguments.flags = 0;
    rv = functions->C_Initialize(reserved.empty() ? nullptr : &arguments);
  }
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    throw Error(Reason::kModuleInitFailed, code_name(rv),
                describe("C_Initialize", rv, place()) +
                    "; check its configuration (SoftHSM: SOFTHSM2_CONF, "
                    "tpm2-pkcs11: TPM2_PKCS11_STORE)");
  }
  state.initialized_by_us = rv == CKR_OK;
  state.initialized_at = std::chrono::steady_clock::now();
  if (rv == CKR_OK && !state.finalized_at_exit) {
    state.finalized_at_exit = true;
    core::Process::get().on_exit(shared_from_this(), &Module::finalize_at_exit);
  }
  state.generation.store(++state.initializations, std::memory_order_release);
}

// Someone else finalized the module. Who is still inside holds numbers of sessions and objects that
// the module gives out anew, and SoftHSM 2.6.1 signs with whatever key has the number, or crashes.
// For a while only: this thread may hold a Use itself, and another may wait for what we bring.
void Module::let_old_uses_end(const State& state) {
  constexpr std::chrono::seconds kPatience{1};
  (void)wait_for(kPatience, [&] {
    return state.uses.load(std::memory_order_seq_cst) == 1 || core::Process::get().exiting();
  });
}

void Module::forget_initialization(std::uint64_t generation) {
  State& state = state_.get();
  state.generation.compare_exchange_strong(generation, 0);
}

bool Module::start_anew(std::uint64_t generation) {
  constexpr std::chrono::seconds kPatience{5};
  State& state = state_.get();
  const Turn turn(state.loading);
  if (turn.nested()) return false;
  if (state.generation.load() != generation) return true;
  if (!state.initialized_by_us) return false;
  state.generation.store(0, std::memory_order_seq_cst);  // who comes now waits for our turn to end
  const Use in_use(state);
  const bool alone = wait_for(kPatience, [&] { return state.uses.load() == 1; });
  if (!alone || core::Process::get().exiting()) {
    state.generation.store(generation, std::memory_order_seq_cst);
    return false;
  }
  (void)functions_.load(std::memory_order_acquire)->C_Finalize(nullptr);
  state.lost = true;
  return true;
}

void Module::finalize_at_exit(core::ProcessObject& object) noexcept {
  constexpr std::chrono::seconds kPatience{1};
  auto& module = static_cast<Module&>(object);
  State& state = module.state_.get();
  // Nobody comes in any more, but threads may be inside, and the module's destructors are next.
  const bool left = wait_for(kPatience, [&] { return state.uses.load() == 0; });
  if (left && state.initialized_by_us && state.generation.load() != 0)
    module.functions_.load()->C_Finalize(nullptr);
}

CK_INFO Module::info() {
  const Use in_use = use();
  State& state = state_.get();
  {
    const std::lock_guard lock(state.mutex);
    if (state.has_info) return state.info;
  }
  CK_INFO info{};
  check(in_use->C_GetInfo(&info), "C_GetInfo", place());
  const std::lock_guard lock(state.mutex);
  state.info = info;
  state.has_info = true;
  return info;
}

std::vector<std::shared_ptr<SharedToken>> Module::known_tokens() {
  State& state = state_.get();
  const std::lock_guard lock(state.mutex);
  return state.tokens;
}

void Module::remember(std::shared_ptr<SharedToken> token) {
  State& state = state_.get();
  const std::lock_guard lock(state.mutex);
  for (const auto& known : state.tokens) {
    if (known == token) return;
  }
  state.tokens.push_back(std::move(token));
}

namespace {

[[noreturn]] void raise_lost(CK_RV rv, const std::string& text) {
  TokenError error(reason_for(rv), rv, code_name(rv), text, core::SourceLoc::here());
  error.module_is_lost = true;
  throw error;
}

void require_slots(const Module::Use& use, const Place& place, bool with_token) {
  if (!use.may_find_slots_anew(with_token)) return;
  CK_ULONG all = 0;
  if (use->C_GetSlotList(CK_FALSE, nullptr, &all) != CKR_OK || all != 0) return;
  constexpr CK_RV rv = CKR_TOKEN_NOT_PRESENT;
  raise_lost(rv, call_text("C_GetSlotList", rv, place) +
                     ": the module shows no slot at all; see that its reader or server is there");
}

}  // namespace

std::vector<CK_SLOT_ID> slots_with_token(const Module::Use& use, const Place& place) {
  constexpr CK_ULONG kMostSlots = 65536;  // a count is the module's word
  std::vector<CK_SLOT_ID> slots(64);
  for (bool may_repeat = true;;) {
    CK_ULONG count = slots.size();
    CK_RV rv = use->C_GetSlotList(CK_TRUE, slots.data(), &count);
    if (rv == CKR_OK && count <= slots.size()) {
      slots.resize(count);
      require_slots(use, place, count != 0);
      return slots;
    }
    if (rv != CKR_BUFFER_TOO_SMALL || slots.size() >= kMostSlots) {
      if (rv == CKR_OK) rv = CKR_BUFFER_TOO_SMALL;
      const bool is_device_error = rv == CKR_DEVICE_ERROR || rv == CKR_DEVICE_REMOVED;
      if (is_device_error && use->C_GetSlotList(CK_FALSE, nullptr, &count) != CKR_OK)
        raise_lost(rv, describe("C_GetSlotList", rv, place));
      const bool may_pass =
          is_device_error || rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_USER_NOT_LOGGED_IN;
      if (std::exchange(may_repeat, false) && may_pass) continue;
      raise(rv, "C_GetSlotList", place);
    }
    slots.resize(count > slots.size() && count <= kMostSlots ? count : slots.size() * 4);
  }
}

}  // namespace hwid::pkcs11
