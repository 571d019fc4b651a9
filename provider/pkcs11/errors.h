// From CK_RV to the error that OpenSSL's queue shows. All texts of this folder's return codes.
#pragma once

#include <string>

#include "provider/core/error.h"
#include "provider/pkcs11/cryptoki.h"

namespace hwid::pkcs11 {

// On what a call was made, for messages. An empty part is left out.
struct Place {
  std::string token;
  std::string object;
  std::string module;  // where no token is known yet
};

// An error that a module returned: keeps the code, for who can heal it.
class TokenError : public core::Error {
 public:
  TokenError(core::Reason reason, CK_RV code_value, const std::string& code_name,
             const std::string& what, core::SourceLoc at)
      : core::Error(reason, code_name, what, at), rv(code_value) {}
  CK_RV rv;
  bool may_repeat = true;       // by ourselves, once what was lost is made anew
  bool module_is_lost = false;  // its connection, not the token: Module::start_anew
};

// "CKR_PIN_INCORRECT", "CKR_VENDOR_DEFINED+0x12", or the number in hex.
std::string code_name(CK_RV rv);

core::Reason reason_for(CK_RV rv) noexcept;

// "C_Sign: CKR_DEVICE_REMOVED (0x32) token=line-7 object=device-key", without cause and next step.
std::string call_text(const char* call, CK_RV rv, const Place& place);

// The same with the cause and the next step that the table has for the code.
std::string describe(const char* call, CK_RV rv, const Place& place);

[[noreturn]] void raise(CK_RV rv, const char* call, const Place& place,
                        core::SourceLoc at = core::SourceLoc::here());

// With a cause that only the caller knows.
[[noreturn]] void raise(core::Reason reason, CK_RV rv, const char* call, const Place& place,
                        const std::string& cause, core::SourceLoc at = core::SourceLoc::here());

inline void check(CK_RV rv, const char* call, const Place& place,
                  core::SourceLoc at = core::SourceLoc::here()) {
  if (rv != CKR_OK) raise(rv, call, place, at);
}

// " token=line-7 object=device-key", for messages that no return code started.
std::string place_text(const Place& place);

}  // namespace hwid::pkcs11
