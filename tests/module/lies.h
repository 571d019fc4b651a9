// Answers that are right but for what they say of themselves.
#pragma once

#include <p11-kit/pkcs11.h>

#include <tuple>

#include "tests/module/plan.h"

namespace hwid::test {

// Each changes what the real module has just told.
void tell_wrongly(const Rule& rule, CK_ULONG* length) noexcept;
void tell_wrongly(const Rule& rule, CK_ATTRIBUTE* attributes, CK_ULONG count) noexcept;
void tell_wrongly(const Rule& rule, CK_INFO* info) noexcept;
void tell_wrongly(const Rule& rule, CK_SLOT_INFO* info) noexcept;
void tell_wrongly(const Rule& rule, CK_TOKEN_INFO* info) noexcept;

// The same with the parameters of the function that told it.
template <Function F, typename First, typename... Rest>
void tell_wrongly_by(const Rule& rule, First first, Rest... rest) noexcept {
  constexpr Tells kTells = row_of(F).tells;
  if constexpr (kTells == Tells::kAttributes) {
    const auto last_two = [&](CK_OBJECT_HANDLE, CK_ATTRIBUTE* attributes, CK_ULONG count) {
      tell_wrongly(rule, attributes, count);
    };
    last_two(rest...);
  } else if constexpr (kTells != Tells::kNothing) {
    tell_wrongly(rule, std::get<sizeof...(Rest)>(std::tuple(first, rest...)));
  }
}

}  // namespace hwid::test
