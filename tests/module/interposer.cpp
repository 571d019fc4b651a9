#include "tests/module/interposer.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "tests/module/answers.h"

namespace hwid::test {
namespace {

CK_FUNCTION_LIST* load_real_module() {
  const char* path = std::getenv("HWID_TEST_REAL_MODULE");
  if (path == nullptr) path = HWID_SOFTHSM_MODULE;
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "hwid-test-module: %s\n", dlerror());
    return nullptr;
  }
  const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* list = nullptr;
  if (get_list == nullptr || get_list(&list) != CKR_OK) {
    std::fprintf(stderr, "hwid-test-module: %s is not a PKCS#11 module\n", path);
    return nullptr;
  }
  return list;
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

Interposer& Interposer::get() {
  alignas(Interposer) static std::byte storage[sizeof(Interposer)];
  static Interposer* const interposer = ::new (static_cast<void*>(storage)) Interposer;
  return *interposer;
}

Interposer::Interposer()
    : real_(load_real_module()),
      counters_(std::getenv("HWID_TEST_REPORT")),
      control_(new Control),
      control_path_(std::getenv("HWID_TEST_CONTROL")) {
  publish(std::make_unique<Plan>());
  pthread_atfork(nullptr, nullptr, after_fork_in_child);
}

void Interposer::after_fork_in_child() {
  Interposer& self = get();
  self.in_flight_ = 0;
  self.paused_ = false;
  self.sessions_.leave_all();
  // The old one may be locked for ever; its plans stay readable.
  auto* const fresh = new Control;
  fresh->file_seen = self.control_.load()->file_seen;
  self.control_ = fresh;
}

Interposer::InFlight::InFlight(Interposer& owner) noexcept : owner_(owner) {
  for (;;) {
    const auto others = owner_.in_flight_.fetch_add(1);
    owner_.counters_.raise_to(Tally::kPeakCalls, static_cast<std::uint64_t>(others) + 1);
    if (!owner_.paused_.load()) return;
    owner_.in_flight_.fetch_sub(1);
    while (owner_.paused_.load()) std::this_thread::yield();
  }
}

Interposer::SessionUse::SessionUse(Interposer& owner, Function function, CK_ULONG session) noexcept
    : owner_(owner) {
  if (row_of(function).first != First::kSession) return;
  switch (owner_.sessions_.enter(session)) {
    case Sessions::Use::kFree:
      entered_ = session;
      break;
    case Sessions::Use::kBusy:
      owner_.counters_.add(Tally::kSharedSession);
      break;
    case Sessions::Use::kUnknown:
      owner_.counters_.add(Tally::kBadHandle);
      break;
  }
}

Interposer::SessionUse::~SessionUse() {
  if (entered_ != 0) owner_.sessions_.leave(entered_);
}

bool Interposer::in_forked_child(const Plan& plan) const noexcept {
  const pid_t pid = initialized_by_.load();
  return plan.strict_fork && pid != 0 && pid != getpid();
}

std::optional<std::size_t> Interposer::begin_record(Function function) noexcept {
  if (!plan_.load()->record) return std::nullopt;
  return record_.begin(function);
}

// As if a test had given the directive just then; no call is in the real module meanwhile.
void Interposer::perform_events(const Strikes& strikes, bool after) {
  for (const Rule* const event : strikes.events) {
    if (event->after == after) control(event->event);
  }
}

// An operation ends with any error but this one (PKCS#11 v2.40, 5.2), in the real module too.
bool Interposer::asks_first(Function function, const Rule& fault) noexcept {
  return fault.after || (row_of(function).error_ends_operation &&
                         fault.answer != CKR_BUFFER_TOO_SMALL && fault.answer != CKR_OK);
}

CK_RV Interposer::refusal(const Plan& plan, Function function,
                          const CK_MECHANISM* mechanism) const noexcept {
  if (real_ == nullptr) return CKR_GENERAL_ERROR;
  const bool life_cycle =
      function == Function::kInitialize || function == Function::kGetFunctionList;
  // SoftHSM would say so, but looks without a lock, while another thread may initialize it.
  if (!life_cycle && initialized_by_.load() == 0) return CKR_CRYPTOKI_NOT_INITIALIZED;
  if (!life_cycle && in_forked_child(plan)) return CKR_CRYPTOKI_NOT_INITIALIZED;
  if (plan.token_removed && row_of(function).first == First::kSession) return CKR_DEVICE_REMOVED;
  if (plan.token_removed && row_of(function).first == First::kSlot &&
      function != Function::kGetSlotInfo)
    return CKR_TOKEN_NOT_PRESENT;
  if (mechanism != nullptr && plan.hides_mechanism(mechanism->mechanism))
    return CKR_MECHANISM_INVALID;
  return CKR_OK;
}

CK_RV Interposer::refused_arguments(const Plan& plan, const CK_C_INITIALIZE_ARGS* args) noexcept {
  if (args == nullptr) return plan.refusal(Asked::kNoArguments);
  const bool has_callbacks = args->CreateMutex != nullptr || args->DestroyMutex != nullptr ||
                             args->LockMutex != nullptr || args->UnlockMutex != nullptr;
  for (const auto& [asked, what] :
       {std::pair((args->flags & CKF_OS_LOCKING_OK) != 0, Asked::kOsLocking),
        std::pair(has_callbacks, Asked::kCallbacks),
        std::pair(args->pReserved != nullptr, Asked::kReserved),
        std::pair(true, Asked::kArguments)}) {
    if (asked && plan.refusal(what) != CKR_OK) return plan.refusal(what);
  }
  return CKR_OK;
}

CK_RV Interposer::initialize(const Plan& plan, void* args) {
  const CK_RV refused = refused_arguments(plan, static_cast<CK_C_INITIALIZE_ARGS*>(args));
  if (refused != CKR_OK) return refused;
  if (in_forked_child(plan)) {  // the real module may not know of the fork
    real_->C_Finalize(nullptr);
    sessions_.closed_all();
  }
  const CK_RV rv = real_->C_Initialize(args);
  if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) initialized_by_ = getpid();
  if (rv != CKR_OK) return rv;
  has_init_args_ = args != nullptr;
  if (has_init_args_) init_args_ = *static_cast<CK_C_INITIALIZE_ARGS*>(args);
  initialized_by_ = getpid();
  sessions_.closed_all();
  return rv;
}

CK_RV Interposer::finalize(void* reserved) {
  const CK_RV rv = real_->C_Finalize(reserved);
  if (rv != CKR_OK) return rv;
  sessions_.closed_all();
  initialized_by_ = 0;
  return rv;
}

void Interposer::control(std::string_view directives) {
  const std::lock_guard lock(control_.load()->mutex);
  control_locked(directives, false);
}

void Interposer::control_locked(std::string_view directives, bool afresh) {
  auto plan = std::make_unique<Plan>(afresh ? Plan{} : *plan_.load());
  std::vector<Directive> actions;
  std::istringstream lines{std::string(directives)};
  for (std::string line; std::getline(lines, line);)
    actions.push_back(parse_directive(line, *plan));
  paused_ = true;
  while (in_flight_.load() != 0) std::this_thread::yield();
  publish(std::move(plan));
  for (const Directive& directive : actions) perform(directive);
  paused_ = false;
}

void Interposer::publish(std::unique_ptr<const Plan> plan) {
  show_functions(*plan);
  plan_ = plan.get();
  control_.load()->plans.push_back(std::move(plan));
}

// The file holds the whole plan: what is no longer in it is over.
void Interposer::follow_control_file() {
  if (control_path_ == nullptr) return;
  Control& control = *control_.load();
  const std::lock_guard lock(control.mutex);
  struct stat now {};
  if (stat(control_path_, &now) != 0 || same_file(now, control.file_seen)) return;
  control.file_seen = now;
  const std::ifstream file(control_path_);
  std::ostringstream text;
  text << file.rdbuf();
  try {
    control_locked(text.str(), true);
  } catch (const std::invalid_argument& error) {
    // A test with a misspelt directive would pass for the wrong reason.
    std::fprintf(stderr, "hwid-test-module: %s: %s\n", control_path_, error.what());
    std::abort();
  }
}

void Interposer::perform(const Directive& directive) {
  switch (directive.action) {
    case Action::kNone:
    case Action::kClear:
      break;
    case Action::kResetCounts:
      counters_.reset();
      break;
    case Action::kResetRecord:
      record_.reset();
      break;
    case Action::kReport:
      report(directive.argument);
      break;
    case Action::kDropSession:
      drop_session(std::stoul(directive.argument));
      break;
    case Action::kDropSessions:
      drop_sessions();
      break;
    case Action::kLogOut:
      for (const CK_SESSION_HANDLE session : sessions_.all()) real_->C_Logout(session);
      break;
    case Action::kFinalize:
      finalize(nullptr);
      break;
    case Action::kReinitialize:
      finalize(nullptr);
      real_->C_Initialize(has_init_args_ ? &init_args_ : nullptr);
      initialized_by_ = getpid();
      break;
  }
}

void Interposer::drop_session(std::size_t number) {
  const std::vector<CK_SESSION_HANDLE> open = sessions_.all();
  if (number == 0 || number > open.size()) return;
  real_->C_CloseSession(open[number - 1]);
  sessions_.closed(open[number - 1]);
}

void Interposer::drop_sessions() {
  if (real_ == nullptr) return;
  CK_ULONG count = 0;
  if (real_->C_GetSlotList(CK_FALSE, nullptr, &count) != CKR_OK) return;
  std::vector<CK_SLOT_ID> slots(count);
  if (real_->C_GetSlotList(CK_FALSE, slots.data(), &count) != CKR_OK) return;
  slots.resize(count);
  for (const CK_SLOT_ID slot : slots) real_->C_CloseAllSessions(slot);
  sessions_.closed_all();
}

void Interposer::report(const std::string& path) const {
  std::ofstream(path, std::ios::app) << "pid " << getpid() << "\n" << counters_.text();
}

}  // namespace hwid::test
