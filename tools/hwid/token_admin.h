// Administration of PKCS#11 tokens, through libp11.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "provider/core/audit.h"
#include "provider/core/inventory.h"
#include "provider/core/secret.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

// A module, initialized anew, with its slots. It and its end finalize the module for the whole
// process, the provider's backends included: make one when those are not needed any more. Throws
// core::Error with the CKR_ code's name. One thread.
class TokenAdmin {
 public:
  struct Slot {
    std::size_t index;
    unsigned long id;
    std::string description;
    // The token's words, for printable(); of one that is not initialized they may be empty.
    std::string label, manufacturer, model, serial;
    bool initialized;
  };

  // `audit` is told of logins; null: nobody is.
  TokenAdmin(const std::string& module, const std::string& init_args, core::AuditSink* audit);
  ~TokenAdmin();
  TokenAdmin(const TokenAdmin&) = delete;
  TokenAdmin& operator=(const TokenAdmin&) = delete;

  // Those with a token in them.
  std::vector<Slot> slots() const;
  // How the token's PINs are, now. No try is spent.
  struct PinFacts {
    core::PinState user, so;
    bool pin_pad;                           // PINs are typed there and not sent
    std::size_t shortest = 0, longest = 0;  // of PINs, in bytes; 0: the token sets no limit
  };
  PinFacts pin_facts(const Slot& slot) const;

  // One try of the user PIN; stays logged in.
  void log_in(const Slot& slot, const core::Secret& pin);
  // REQUIRES: log_in with the old PIN. (C_SetPIN alone would do, but tpm2-pkcs11 1.9 says CKR_OK to
  // a wrong old PIN, and changes nothing.)
  void change_pin(const Slot& slot, const core::Secret& old_pin, const core::Secret& new_pin);
  // One try of the SO PIN; stays logged in.
  void log_in_so(const Slot& slot, const core::Secret& so_pin);
  // Sets the user PIN, and with it the count of tries. REQUIRES: log_in_so.
  void set_pin(const Slot& slot, const core::Secret& pin);

  // Erases the token, gives it that label (at most 32 bytes), and, if it was not initialized, that
  // SO PIN; else it must be the one that it has. Then it gets that user PIN. Throws kKeyChanged
  // where the slot has another token by now, and before it erases anything also where the token
  // would not take a PIN (its length, a zero byte in it) or a wrong SO PIN would be the last one.
  void initialize(const Slot& slot, const std::string& label, const core::Secret& so_pin,
                  const core::Secret& pin);

 private:
  void open_session(const Slot& slot);
  void log_in_as(int so, const Slot& slot, const core::Secret& pin, const std::string& label);

  struct Module;
  const std::unique_ptr<Module> module_;
  core::AuditSink* const audit_;
};

// The label that `option` gives a token: 1 to 32 bytes, for people, the last one no blank. Throws
// UsageError.
std::string token_label(const Invocation& invocation, const char* option);

}  // namespace hwid::tool
