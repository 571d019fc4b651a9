// What is there: tokens and TPMs, as they are when asked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hwid::core {

// How many tries a PIN has left, as far as a token says. Of a TPM: what its lockout says of the
// auth values that count against it (user PIN), and of the owner's (SO PIN): kNotSet or kOk.
enum class PinState {
  kUnknown,
  kOk,
  kLow,      // it was wrong since it was last right
  kLastTry,  // the next wrong one locks it
  kLocked,
  kNotSet,
};
const char* pin_state_text(PinState state) noexcept;  // "unknown", "ok", "low", "last-try", ...

// A TPM's dictionary attack protection (TPM 2.0 Part 1, 19.8). Times are in seconds.
struct Lockout {
  std::uint32_t failures = 0;
  std::uint32_t most_failures = 0;   // at which auth values are not taken any more
  std::uint32_t forgiven_after = 0;  // for each failure; 0: never
  std::uint32_t recovery = 0;        // after a wrong lockout auth value; 0: at the next reboot
  bool locked = false;
};

// A token in a slot, or a TPM; or, with `problem` alone, a backend or slot that cannot be looked
// at. Texts are the token's word: trailing blanks are off, control characters are blanks.
struct TokenInfo {
  std::string backend;  // name of its section in openssl.cnf
  std::string kind;     // "pkcs11", "tpm2"
  std::string module;   // path of the PKCS#11 module, or the TCTI ("default")
  std::optional<std::uint64_t> slot_id;
  std::string slot_description;

  std::string label;  // of a TPM: `token` of its section, which may be empty
  std::string manufacturer;
  std::string model;
  std::string serial;
  std::string firmware;  // "2.6"; of a TPM "1.2.3.4"

  bool present = false;      // false: see `problem`
  bool initialized = false;  // false: needs a label and PINs first (C_InitToken)
  bool login_required = false;
  bool write_protected = false;
  bool protected_authentication_path = false;  // a PIN pad
  bool removable = false;
  std::optional<bool> hardware;  // the module says that its slot is, or is not (CKF_HW_SLOT)
  bool user_pin_to_be_changed = false;
  PinState user_pin = PinState::kUnknown;
  PinState so_pin = PinState::kUnknown;
  std::optional<Lockout> lockout;

  // False: `token` of the section names another, so no URI leads to this one.
  bool served = true;
  // False: the TPM that tpm2-tss finds by itself, where no backend is configured. That it is not
  // there is no fault.
  bool configured = true;
  // Names this token and no other in the same inventory: `pkcs11:token=LABEL`, with ;serial= and
  // ;slot-id= where others have that label too; `pkcs11:slot-id=N` (of `module`) where it has no
  // label; `tpm2:` for a TPM without `token`. Empty where there is no token.
  std::string uri;
  // Why it cannot be used, in the form of every message of ours (error.h), or empty. (That a token
  // is not initialized is none.)
  std::string problem;
};

// Puts the tokens of all backends together: one that two sections of one module show comes once,
// from the section that serves it, and `uri`, which each backend makes with all that names the
// token (token, serial, slot-id), is cut to what is needed.
std::vector<TokenInfo> merged(std::vector<TokenInfo> tokens);

}  // namespace hwid::core
