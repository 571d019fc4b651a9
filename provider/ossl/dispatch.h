// Typed callbacks, checked against OpenSSL's own prototypes.
#pragma once

#include <openssl/core_dispatch.h>

#include <concepts>
#include <type_traits>

#include "provider/ossl/guard.h"

namespace hwid::ossl {

template <typename T>
const ErrorSink* errors_of(T* first) noexcept {
  // Of an incomplete type it could not be said whether it has errors().
  if constexpr (!std::is_void_v<T>) static_assert(sizeof(T) != 0);
  if constexpr (requires { first->errors(); })
    return first != nullptr ? first->errors() : nullptr;
  else
    return nullptr;
}

// A callback may name its own type where the prototype says void*; every other parameter must
// match exactly.
template <typename C, typename P>
concept Sharpens = std::same_as<C, P> ||
    (std::is_pointer_v<C>&& std::is_pointer_v<P>&& std::is_void_v<std::remove_pointer_t<C>>);

template <auto Fn, typename Proto, typename Mine>
struct Trampoline;

template <auto Fn, typename R, typename C0, typename... C, typename M, typename P0, typename... P>
struct Trampoline<Fn, R(C0, C...), M (*)(P0, P...)> {
  static_assert(Sharpens<C0, P0> && sizeof...(C) == sizeof...(P) && (Sharpens<C, P> && ...),
                "not this operation's prototype");
  static R call(C0 first, C... rest) noexcept {
    const auto run = [&] { return Fn(static_cast<P0>(first), static_cast<P>(rest)...); };
    const ErrorSink* errors = nullptr;
    if constexpr (std::is_pointer_v<P0>) errors = errors_of(static_cast<P0>(first));
    if constexpr (std::is_void_v<R>) {
      guard(errors, 0, [&] {
        run();
        return 0;
      });
    } else {
      return guard(errors, R{}, [&]() -> R { return run(); });
    }
  }
};

// Needs nothing, and cannot fail.
template <auto Fn, typename R>
struct Trampoline<Fn, R(), R (*)()> {
  static R call() noexcept { return Fn(); }
};

}  // namespace hwid::ossl

// A macro because the cast must stand in the initialiser: so the tables are constant data.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define HWID_OP(ID, proto, fn)                                                          \
  {                                                                                     \
    OSSL_FUNC_##ID,                                                                     \
        reinterpret_cast<void (*)(void)>(                                               \
            &::hwid::ossl::Trampoline<fn, OSSL_FUNC_##proto##_fn, decltype(&fn)>::call) \
  }
// NOLINTEND(bugprone-macro-parentheses)
