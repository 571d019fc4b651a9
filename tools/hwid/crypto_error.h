// OpenSSL's error queue as errors of ours.
#pragma once

#include <string>

namespace hwid::tool {

// Empties this thread's queue and throws what was in it: the provider's own error with its reason
// and text, where there is one (the text has the form of every message of ours, so nothing is
// added); else kLibcrypto, "WHAT: the first cause; NEXT".
[[noreturn]] void throw_crypto_error(const std::string& what, const std::string& next);

// Empties this thread's queue: what was in it, the first cause first, in one line.
std::string take_crypto_errors();

}  // namespace hwid::tool
