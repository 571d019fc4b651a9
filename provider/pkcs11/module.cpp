#include "provider/pkcs11/module.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "provider/core/config.h"
#include "provider/core/libcrypto.h"

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

}  // namespace

std::shared_ptr<Module> Module::get(ModuleSetup setup) {
  if (setup.functions == nullptr) setup.path = real_path(setup.path);
  const std::string name = "pkcs11:" + setup.path;
  return core::Process::get().shared<Module>(
      name, [&] { return std::make_shared<Module>(std::move(setup)); });
}

Module::Module(ModuleSetup setup) : setup_(std::move(setup)), functions_(setup_.functions) {}

Module::Use::Use(State& state) noexcept : state_(&state) {
  ERR_set_mark();  // as core::ErrorMark does, which cannot be moved
  state.uses.fetch_add(1, std::memory_order_seq_cst);
}

Module::Use::~Use() {
  if (state_ == nullptr) return;
  state_->uses.fetch_sub(1, std::memory_order_seq_cst);
  ERR_pop_to_mark();
}

Module::Use Module::use() {
  State& state = state_.get();
  // Counted before exiting() is asked: the exit hook does it the other way round.
  Use use(state);
  if (core::Process::get().exiting())
    throw Error(Reason::kExiting, "PKCS#11 module " + path() +
                                      ": the process is exiting; use keys before main returns");
  use.generation_ = state.generation.load(std::memory_order_acquire);
  if (use.generation_ == 0) {
    initialize(state);
    use.generation_ = state.generation.load(std::memory_order_acquire);
  }
  use.functions_ = functions_.load(std::memory_order_acquire);
  return use;
}

CK_FUNCTION_LIST* Module::load(const Turn& turn) {
  if (turn.nested())
    throw Error(Reason::kModuleInitFailed,
                "C_Initialize: module=" + path() +
                    ": the module asked OpenSSL for a key of ours while it was being initialized; "
                    "give it a configuration without this provider (OPENSSL_CONF)");
  if (CK_FUNCTION_LIST* loaded = functions_.load(std::memory_order_acquire)) return loaded;
  if (path().find('/') != std::string::npos && access(path().c_str(), F_OK) != 0)
    throw Error(Reason::kModuleNotLoadable,
                "dlopen: module=" + path() + ": " + std::strerror(errno) +
                    "; correct the path of the PKCS#11 module (PKCS11_PROVIDER_MODULE, or module "
                    "in openssl.cnf)");
  // RTLD_LOCAL, never RTLD_DEEPBIND: that breaks programs with another malloc.
  void* const library = dlopen(path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = dlerror();
    throw Error(Reason::kModuleNotLoadable,
                "dlopen: module=" + path() + ": " + (why != nullptr ? why : "unknown error") +
                    "; install what it needs, or correct the path of the PKCS#11 module");
  }
  const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  if (get_list == nullptr)
    throw Error(Reason::kNotAModule,
                "dlsym: module=" + path() +
                    ": is not a PKCS#11 module (it has no C_GetFunctionList); name the module of "
                    "your token");
  CK_FUNCTION_LIST* list = nullptr;
  const CK_RV rv = get_list(&list);
  if (rv != CKR_OK || list == nullptr)
    throw Error(Reason::kNotAModule, code_name(rv),
                call_text("C_GetFunctionList", rv, place()) +
                    ": is not a PKCS#11 module that works; see its own log");
  functions_.store(list, std::memory_order_release);
  return list;
}

bool Module::keep_loaded() noexcept {
  try {
    const core::ErrorMark mark;
    const Turn turn(state_.get().loading);
    return load(turn) != nullptr;
  } catch (const std::exception&) {
    return false;
  }
}

void Module::initialize(State& state) {
  const Turn turn(state.loading);
  if (state.generation.load(std::memory_order_acquire) != 0) return;
  const CK_FUNCTION_LIST* const functions = load(turn);
  // A child may have lost its environment (nginx's workers), and is single-threaded by now.
  if (state.in_child) core::set_environment(setup_.environment);
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  std::string reserved = setup_.init_args;  // modules may write into it
  if (!reserved.empty()) arguments.pReserved = reserved.data();
  const CK_RV rv = functions->C_Initialize(&arguments);
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    throw Error(Reason::kModuleInitFailed, code_name(rv),
                describe("C_Initialize", rv, place()) +
                    ", and its configuration (SoftHSM: SOFTHSM2_CONF, tpm2-pkcs11: "
                    "TPM2_PKCS11_STORE)");
  }
  if (rv == CKR_OK && !state.initialized_by_us) {
    state.initialized_by_us = true;
    core::Process::get().on_exit(shared_from_this(), &Module::finalize_at_exit);
  }
  state.generation.store(++state.initializations, std::memory_order_release);
}

void Module::forget_initialization(std::uint64_t generation) {
  State& state = state_.get();
  state.generation.compare_exchange_strong(generation, 0);
}

void Module::finalize_at_exit(core::ProcessObject& object) noexcept {
  auto& module = static_cast<Module&>(object);
  State& state = module.state_.get();
  if (state.uses.load(std::memory_order_seq_cst) == 0 && state.generation.load() != 0)
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

std::vector<CK_SLOT_ID> slots_with_token(const Module::Use& use, const Place& place) {
  constexpr CK_ULONG kMostSlots = 65536;  // a count is the module's word
  std::vector<CK_SLOT_ID> slots(64);
  for (;;) {
    CK_ULONG count = slots.size();
    CK_RV rv = use->C_GetSlotList(CK_TRUE, slots.data(), &count);
    if (rv == CKR_OK && count <= slots.size()) {
      slots.resize(count);
      return slots;
    }
    if (rv != CKR_BUFFER_TOO_SMALL || slots.size() >= kMostSlots) {
      if (rv == CKR_OK) rv = CKR_BUFFER_TOO_SMALL;
      raise(rv, "C_GetSlotList", place);
    }
    slots.resize(count > slots.size() && count <= kMostSlots ? count : slots.size() * 4);
  }
}

}  // namespace hwid::pkcs11
