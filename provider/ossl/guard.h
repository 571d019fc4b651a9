// No exception crosses the C boundary.
#pragma once

#include <openssl/core_dispatch.h>

#include <cerrno>
#include <concepts>
#include <exception>
#include <new>
#include <utility>

#include "provider/core/error.h"

namespace hwid::ossl {

// Puts errors on the queue of the library context that loaded us. Thread-safe.
class ErrorSink {
 public:
  ErrorSink(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls) noexcept;
  void raise(core::Reason reason, const char* what, core::SourceLoc at) const noexcept;

 private:
  const OSSL_CORE_HANDLE* handle_;
  OSSL_FUNC_core_new_error_fn* new_error_ = nullptr;
  OSSL_FUNC_core_set_error_debug_fn* set_error_debug_ = nullptr;
  OSSL_FUNC_core_vset_error_fn* vset_error_ = nullptr;
};

// errno as the program left it: Python's ssl believes errno before OpenSSL's queue.
class KeepErrno {
 public:
  KeepErrno() noexcept : saved_(errno) {}
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_;
};

// The only try/catch of this folder that ends an exception's way.
template <typename R, std::invocable F>
R guard(const ErrorSink* errors, R failed, F&& body) noexcept {
  const KeepErrno keep_errno;
  const auto raise = [errors](core::Reason reason, const char* what, core::SourceLoc at) {
    if (errors != nullptr) errors->raise(reason, what, at);
  };
  try {
    return std::forward<F>(body)();
  } catch (const core::Error& error) {
    raise(error.reason, error.what(), error.where);
  } catch (const std::bad_alloc&) {
    raise(core::Reason::kNoMemory, "out of memory", core::SourceLoc::here());
  } catch (const std::exception& error) {
    raise(core::Reason::kInternal, error.what(), core::SourceLoc::here());
  } catch (...) {
    raise(core::Reason::kInternal, "unknown exception", core::SourceLoc::here());
  }
  return failed;
}

}  // namespace hwid::ossl
