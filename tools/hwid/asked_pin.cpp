#include "tools/hwid/asked_pin.h"

#include <openssl/evp.h>

#include <array>
#include <cstring>

#include "provider/core/error.h"
#include "provider/core/pin.h"

namespace hwid::tool {

using core::Error;
using core::Reason;
using core::Secret;

Secret asked_pin(Invocation& invocation, const char* option, const std::string& what, bool is_new) {
  if (invocation.has(option))
    return core::read_pin_source(invocation.text(option), invocation.log());
  if (!Invocation::has_terminal())
    throw Error(Reason::kPinMissing, what +
                                         ": none was given, and there is no terminal to ask at; "
                                         "name where it is with --" +
                                         option);
  std::array<char, 257> typed{};
  const std::string question = what + ": ";
  const int failed = EVP_read_pw_string_min(typed.data(), 1, static_cast<int>(typed.size()) - 1,
                                            question.c_str(), is_new ? 1 : 0);
  Secret pin(core::ByteView(reinterpret_cast<const std::uint8_t*>(typed.data()),
                            std::strlen(typed.data())));
  OPENSSL_cleanse(typed.data(), typed.size());
  if (failed != 0 || pin.empty())
    throw Error(Reason::kPinMissing,
                what + ": not given, or not the same twice; nothing was changed");
  return pin;
}

}  // namespace hwid::tool
