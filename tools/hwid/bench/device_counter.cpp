#include "tools/hwid/bench/device_counter.h"

#include <array>
#include <atomic>
#include <mutex>
#include <utility>

#include "provider/pkcs11/module.h"
#include "provider/tpm2/backend.h"

namespace hwid::tool::bench {
namespace {

constexpr std::array kCallNames{"C_GetSlotList",      "C_GetSlotInfo",       "C_GetTokenInfo",
                                "C_GetMechanismList", "C_GetMechanismInfo",  "C_OpenSession",
                                "C_CloseSession",     "C_GetSessionInfo",    "C_Login",
                                "C_Logout",           "C_FindObjectsInit",   "C_FindObjects",
                                "C_FindObjectsFinal", "C_GetAttributeValue", "C_CopyObject",
                                "C_DestroyObject",    "C_SignInit",          "C_Sign",
                                "C_SignUpdate",       "C_SignFinal",         "C_DecryptInit",
                                "C_Decrypt",          "C_DeriveKey",         "C_GenerateRandom"};

std::array<std::atomic<std::uint64_t>, kCallNames.size()>& calls() {
  static std::array<std::atomic<std::uint64_t>, kCallNames.size()> counted{};
  return counted;
}

// A module that is counted: its own functions, and those that count and call them.
struct Counted {
  const CK_FUNCTION_LIST* real = nullptr;
  CK_FUNCTION_LIST list{};
};
constexpr std::size_t kMostModules = 4;
std::array<Counted, kMostModules>& modules() {
  static std::array<Counted, kMostModules> all;
  return all;
}

template <std::size_t Module, std::size_t Index, auto Member>
struct Forward;
template <std::size_t Module, std::size_t Index, typename... Arguments,
          CK_RV (*CK_FUNCTION_LIST::*Member)(Arguments...)>
struct Forward<Module, Index, Member> {
  static CK_RV call(Arguments... arguments) {
    calls()[Index].fetch_add(1, std::memory_order_relaxed);
    return (modules()[Module].real->*Member)(arguments...);
  }
};

template <std::size_t Module, auto... Members>
struct Installer {
  template <std::size_t... Index>
  static void install(CK_FUNCTION_LIST& list, std::index_sequence<Index...>) {
    static_assert(sizeof...(Members) == kCallNames.size());
    ((list.*Members = list.*Members != nullptr ? &Forward<Module, Index, Members>::call : nullptr),
     ...);
  }
};

// In the order of kCallNames.
template <std::size_t Module>
CK_FUNCTION_LIST* counting(CK_FUNCTION_LIST* real) {
  using List = CK_FUNCTION_LIST;
  Counted& counted = modules()[Module];
  counted.real = real;
  counted.list = *real;
  Installer<Module, &List::C_GetSlotList, &List::C_GetSlotInfo, &List::C_GetTokenInfo,
            &List::C_GetMechanismList, &List::C_GetMechanismInfo, &List::C_OpenSession,
            &List::C_CloseSession, &List::C_GetSessionInfo, &List::C_Login, &List::C_Logout,
            &List::C_FindObjectsInit, &List::C_FindObjects, &List::C_FindObjectsFinal,
            &List::C_GetAttributeValue, &List::C_CopyObject, &List::C_DestroyObject,
            &List::C_SignInit, &List::C_Sign, &List::C_SignUpdate, &List::C_SignFinal,
            &List::C_DecryptInit, &List::C_Decrypt, &List::C_DeriveKey,
            &List::C_GenerateRandom>::install(counted.list,
                                              std::make_index_sequence<kCallNames.size()>());
  return &counted.list;
}
constexpr std::array<CK_FUNCTION_LIST* (*)(CK_FUNCTION_LIST*), kMostModules> kCounting{
    counting<0>, counting<1>, counting<2>, counting<3>};

// TPM commands by code. Never destroyed: a TPM is left clean at exit.
struct Commands {
  std::mutex mutex;
  std::map<TPM2_CC, std::uint64_t> counts;
};
Commands& commands() {
  static Commands* const counted = new Commands;
  return *counted;
}

std::string command_name(TPM2_CC code) {
  static constexpr std::pair<TPM2_CC, const char*> kNames[] = {
      {TPM2_CC_Sign, "TPM2_Sign"},
      {TPM2_CC_RSA_Decrypt, "TPM2_RSA_Decrypt"},
      {TPM2_CC_ECDH_ZGen, "TPM2_ECDH_ZGen"},
      {TPM2_CC_Hash, "TPM2_Hash"},
      {TPM2_CC_HashSequenceStart, "TPM2_HashSequenceStart"},
      {TPM2_CC_SequenceUpdate, "TPM2_SequenceUpdate"},
      {TPM2_CC_SequenceComplete, "TPM2_SequenceComplete"},
      {TPM2_CC_Load, "TPM2_Load"},
      {TPM2_CC_ReadPublic, "TPM2_ReadPublic"},
      {TPM2_CC_FlushContext, "TPM2_FlushContext"},
      {TPM2_CC_ContextLoad, "TPM2_ContextLoad"},
      {TPM2_CC_ContextSave, "TPM2_ContextSave"},
      {TPM2_CC_CreatePrimary, "TPM2_CreatePrimary"},
      {TPM2_CC_StartAuthSession, "TPM2_StartAuthSession"},
      {TPM2_CC_GetCapability, "TPM2_GetCapability"},
      {TPM2_CC_GetRandom, "TPM2_GetRandom"}};
  for (const auto& [known, name] : kNames) {
    if (known == code) return name;
  }
  return "TPM2 command " + tpm2::hex(code);
}

// Begins as every TCTI context does, which is how tpm2-tss finds its functions.
struct CountingTcti {
  TSS2_TCTI_CONTEXT_COMMON_V2 common{};
  tpm2::Tcti real;

  explicit CountingTcti(tpm2::Tcti opened) : real(std::move(opened)) {
    common.v1.version = 2;
    common.v1.transmit = &CountingTcti::transmit;
    common.v1.receive = &CountingTcti::receive;
    common.v1.getPollHandles = &CountingTcti::poll_handles;
  }
  static TSS2_TCTI_CONTEXT* real_of(TSS2_TCTI_CONTEXT* context) {
    return reinterpret_cast<CountingTcti*>(context)->real.get();
  }
  static TSS2_RC transmit(TSS2_TCTI_CONTEXT* context, std::size_t size, const std::uint8_t* bytes) {
    constexpr std::size_t kCodeAt = 6;  // TPM 2.0 Part 1, 18.2
    if (size >= kCodeAt + 4) {
      TPM2_CC code = 0;
      for (std::size_t i = 0; i < 4; ++i) code = code << 8 | bytes[kCodeAt + i];
      const std::lock_guard lock(commands().mutex);
      ++commands().counts[code];
    }
    return Tss2_Tcti_Transmit(real_of(context), size, bytes);
  }
  static TSS2_RC receive(TSS2_TCTI_CONTEXT* context, std::size_t* size, std::uint8_t* bytes,
                         std::int32_t timeout) {
    return Tss2_Tcti_Receive(real_of(context), size, bytes, timeout);
  }
  static TSS2_RC poll_handles(TSS2_TCTI_CONTEXT* context, TSS2_TCTI_POLL_HANDLE* handles,
                              std::size_t* count) {
    return Tss2_Tcti_GetPollHandles(real_of(context), handles, count);
  }
  static void close(TSS2_TCTI_CONTEXT* context) { delete reinterpret_cast<CountingTcti*>(context); }
};

tpm2::Tcti open_counting(const std::string& configuration) {
  auto* const made = new CountingTcti(tpm2::open_tcti(configuration));
  return {reinterpret_cast<TSS2_TCTI_CONTEXT*>(made), &CountingTcti::close};
}

}  // namespace

DeviceCounter::DeviceCounter(const core::Config& config) {
  std::size_t counted = 0;
  for (const core::BackendConfig& section : config.backends) {
    if (section.type == "tpm2") {
      tpm2::TpmSetup setup = tpm2::setup_of(section);
      setup.open = open_counting;
      kept_.push_back(tpm2::Tpm::get(std::move(setup)));
    } else if (!section.module.empty() && counted < kMostModules) {
      pkcs11::ModuleSetup setup{section.module, section.init_args, section.environment};
      setup.instead = kCounting[counted++];
      kept_.push_back(pkcs11::Module::get(std::move(setup)));
    }
  }
}

std::map<std::string, std::uint64_t> DeviceCounter::counts() const {
  std::map<std::string, std::uint64_t> all;
  for (std::size_t i = 0; i < kCallNames.size(); ++i) {
    if (const std::uint64_t count = calls()[i].load()) all[kCallNames[i]] = count;
  }
  const std::lock_guard lock(commands().mutex);
  for (const auto& [code, count] : commands().counts) all[command_name(code)] += count;
  return all;
}

std::map<std::string, std::uint64_t> difference(
    const std::map<std::string, std::uint64_t>& after,
    const std::map<std::string, std::uint64_t>& before) {
  std::map<std::string, std::uint64_t> more;
  for (const auto& [name, count] : after) {
    const auto found = before.find(name);
    const std::uint64_t old = found != before.end() ? found->second : 0;
    if (count > old) more[name] = count - old;
  }
  return more;
}

}  // namespace hwid::tool::bench
