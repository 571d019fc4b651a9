// The PKCS#11 token whose PIN `hwid pin` changes.
#pragma once

#include <functional>
#include <string>

#include "provider/core/error.h"
#include "provider/core/inventory.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/pin/pin_file.h"
#include "tools/hwid/token_admin.h"

namespace hwid::tool {

// Ends the use of the token by the backends: TokenAdmin. One thread.
class AdministeredToken {
 public:
  // REQUIRES: info.kind is "pkcs11". Throws kTokenNotInitialized, kUnsupported for a PIN pad,
  // what TokenAdmin throws.
  AdministeredToken(Invocation& invocation, const core::TokenInfo& info);

  TokenAdmin& admin() noexcept { return admin_; }
  const TokenAdmin::Slot& slot() const noexcept { return slot_; }
  std::string text() const { return "token=" + info_.label; }

  TokenAdmin::PinFacts pin_facts() const { return admin_.pin_facts(slot_); }
  // Throws kBadParameter for a new PIN that the token would refuse for its length.
  void require_acceptable(const core::Secret& new_pin) const;

 private:
  static TokenAdmin::Slot find(const TokenAdmin& admin, const core::TokenInfo& info);

  const core::TokenInfo info_;
  TokenAdmin admin_;
  const TokenAdmin::Slot slot_;
};

// The section of openssl.cnf that serves the token; null where none does.
const core::BackendConfig* serving_backend(Invocation& invocation, const core::TokenInfo& token);

// Throws kPinLocked where a PIN ("PIN", "SO PIN") that is wrong would do harm, or has no chance;
// `force` dares the last try.
void require_tries(core::PinState state, const char* which, const std::string& token, bool force,
                   const char* when_locked);

// True where the token's answer says that the PIN stays what it was; after any other error nobody
// knows.
bool was_refused(const core::Error& error);

// The new PIN goes into `file` (may be null) and `set` gives it to the token, in the order that
// PinFile promises. Throws what `set` throws; the message says then what holds which PIN.
void renew(PinFile* file, const core::Secret& new_pin, const std::function<void()>& set);

// What is to be said after a change, and its record. REQUIRES: no PinFile lives.
struct Renewal {
  const char* what;      // "PIN changed"
  std::string pin_file;  // which has the new PIN; empty: none
  bool finished_interrupted = false;
};
void report(Invocation& invocation, const core::TokenInfo& token, const Renewal& renewal);

// The new PIN: --generate, --new-pin-source, or asked for. `file`: where it will be, or null.
void add_new_pin_options(po::options_description& options);
core::Secret new_pin(Invocation& invocation, const AdministeredToken& token, const PinFile* file);

}  // namespace hwid::tool
