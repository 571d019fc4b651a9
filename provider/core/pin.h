// Where a PIN comes from.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "provider/core/log.h"
#include "provider/core/secret.h"

namespace hwid::core {

// Reads `file:PATH` (or a bare path), `env:NAME`, `credential:NAME` (in $CREDENTIALS_DIRECTORY) or
// `keyring:NAME` (a `user` key, searched from the session keyring).
// A file: regular, opened O_NONBLOCK|O_CLOEXEC, first line, one trailing CR/LF off, at most 256
// bytes; world-readable is logged as a warning, world-writable refused; `|command` refused.
// Throws kPinMissing (nothing there; the message says where it looked) or kBadConfiguration.
Secret read_pin_source(std::string_view source, const Log& log);

// False for what no PIN can be read from, whatever is there: another kind, `|command`.
bool is_pin_source(std::string_view source) noexcept;

// The file that `source` means: of `file:PATH` or a bare path. Empty for the other kinds.
std::string pin_source_path(std::string_view source);

// The application's own passphrase callback or UI; nullopt when it has none or the user gave up.
// Called without any lock of ours: a program may fork in it.
using PinPrompt = std::function<std::optional<Secret>(const std::string& token_description)>;

// Everything that may yield the PIN of one token, in the order in which it is tried: the URI,
// then environment, then configuration, then the application. There is no prompt of our own, so a
// daemon never hangs. Borrowed views: lives as long as one open.
struct PinChain {
  const Secret* uri_value = nullptr;
  const std::string* uri_source = nullptr;
  const Secret* configured_value = nullptr;
  const std::string* configured_source = nullptr;
  const PinPrompt* prompt = nullptr;
  const Log* log = nullptr;

  // `token` is what the user is asked for ("token softhsm2-token"). nullopt if nothing is
  // configured and nobody can be asked. Throws what read_pin_source throws.
  std::optional<Secret> obtain(const std::string& token) const;
  bool has_prompt() const noexcept { return prompt != nullptr && *prompt; }
};

}  // namespace hwid::core
