// How old PINs are. No token tells, so what changes one leaves a record:
//   pins.json in state-dir, else in $XDG_STATE_HOME/hwid (~/.local/state/hwid), 0600
// and the file that holds a PIN has a time of its own.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "provider/core/config.h"
#include "provider/core/inventory.h"

namespace hwid::tool {

struct PinAge {
  std::time_t since = 0;  // when the PIN was last set, as far as is known
  std::string source;     // the file that says so

  // In seconds; 0 where the clock was set back since.
  std::time_t seconds(std::time_t now) const noexcept { return now > since ? now - since : 0; }
};

// The file that holds the PIN of the token's backend, by configuration; empty where there is none.
std::string configured_pin_file(const core::TokenInfo& token, const core::Config& config);

// The record, or the time of the PIN's file (mtime), whichever is later: a PIN that was changed by
// other means shows in the file alone, one that is in no file in the record alone. nullopt:
// nothing is known. Asks no token. Throws kBadConfiguration where the record cannot be read.
std::optional<PinAge> pin_age(const core::TokenInfo& token, const core::Config& config);

// The user PIN of the token is new now. Tokens are told apart by manufacturer, model, serial number
// and label. Throws kNotPermitted where the record cannot be written, kBadConfiguration
// where it is damaged; the PIN is changed all the same, so callers only tell of it.
void record_pin_change(const core::TokenInfo& token, const core::Config& config);

}  // namespace hwid::tool
