// hwid-test-module.so: a PKCS#11 module for tests, between a program and a real module. README.md
// says how it is controlled.
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "tests/module/answers.h"
#include "tests/module/lies.h"

namespace hwid::test {
namespace {

template <typename T>
CK_ULONG slot_or_session(T value) noexcept {
  if constexpr (std::is_same_v<T, CK_ULONG>) return value;
  return 0;
}

// The mechanism among the parameters of a function, or null.
inline const CK_MECHANISM* mechanism_of() noexcept { return nullptr; }
template <typename T, typename... Rest>
const CK_MECHANISM* mechanism_of(T first, Rest... rest) noexcept {
  if constexpr (std::is_same_v<T, CK_MECHANISM*>) return first;
  return mechanism_of(rest...);
}

template <Function F, auto Member>
struct Wrapper;

// One function of the list, with the parameters that its member of CK_FUNCTION_LIST has.
template <Function F, typename First, typename... Rest,
          CK_RV (*CK_FUNCTION_LIST::*Member)(First, Rest...)>
struct Wrapper<F, Member> {
  static CK_RV call(First first, Rest... rest) {
    Interposer& self = Interposer::get();
    const auto ask = [&](const Plan& plan) {
      std::optional<Sessions::Turn> turn;
      if (row_of(F).first == test::First::kSession)
        turn.emplace(self.sessions(), slot_or_session(first));
      if constexpr (requires { answer(Tag<F>{}, self, plan, first, rest...); })
        return answer(Tag<F>{}, self, plan, first, rest...);
      else
        return (self.real()->*Member)(first, rest...);
    };
    const auto forward = [&](const Plan& plan, const Rule* lie) {
      const CK_RV rv = ask(plan);
      const bool told = rv == CKR_OK || row_of(F).tells == Tells::kAttributes;
      if (lie != nullptr && told) tell_wrongly_by<F>(*lie, first, rest...);
      return rv;
    };
    return self.run(F, slot_or_session(first), mechanism_of(first, rest...), forward);
  }
};

// Exit handlers of this library run, then its destructors; calls that come later are counted.
struct ExitMark {
  ~ExitMark() { Interposer::get().mark_exited(); }
};
const ExitMark kExitMark;

}  // namespace

CK_FUNCTION_LIST* wrapped_functions() noexcept {
  static CK_FUNCTION_LIST list = {{2, 40},
#define HWID_TEST_ROW(name, first, ends, tells) \
  &Wrapper<Function::k##name, &CK_FUNCTION_LIST::C_##name>::call,
                                  HWID_TEST_PKCS11_FUNCTIONS(HWID_TEST_ROW)
#undef HWID_TEST_ROW
  };
  return &list;
}

// Only what differs is written: most tests read the list from several threads.
void show_functions(const Plan& plan) noexcept {
  CK_FUNCTION_LIST& list = *wrapped_functions();
  if (list.version.major != plan.list_version.major ||
      list.version.minor != plan.list_version.minor)
    list.version = plan.list_version;
#define HWID_TEST_ROW(name, first, ends, tells)                             \
  if (const bool hide = plan.hidden_functions[index_of(Function::k##name)]; \
      hide != (list.C_##name == nullptr))                                   \
    list.C_##name = hide ? nullptr : &Wrapper<Function::k##name, &CK_FUNCTION_LIST::C_##name>::call;
  HWID_TEST_PKCS11_FUNCTIONS(HWID_TEST_ROW)
#undef HWID_TEST_ROW
}

}  // namespace hwid::test

extern "C" {

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  // Not through the list, which may lack it.
  return hwid::test::Wrapper<hwid::test::Function::kGetFunctionList,
                             &CK_FUNCTION_LIST::C_GetFunctionList>::call(list);
}

// Takes directives, one a line; 0, or -1 if one was not understood (then none was obeyed).
__attribute__((visibility("default"))) int hwid_test_control(const char* directives) {
  try {
    hwid::test::Interposer::get().control(directives);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hwid-test-module: %s\n", error.what());
    return -1;
  }
}

// Calls of "C_Sign" so far, or of another counter ("peak-sessions"); -1 if there is none such.
__attribute__((visibility("default"))) long long hwid_test_count(const char* name) {
  const auto index = hwid::test::tally_by_name(name);
  if (!index) return -1;
  return static_cast<long long>(hwid::test::Interposer::get().counters().value(*index));
}

// The calls since the directive `record on`, lines "C_Sign CKR_OK", as a C string; the length that
// it has, or would have with more room.
__attribute__((visibility("default"))) std::size_t hwid_test_record(char* text, std::size_t room) {
  const std::string lines = hwid::test::Interposer::get().record();
  return static_cast<std::size_t>(std::snprintf(text, room, "%s", lines.c_str()));
}
}
