#include "provider/core/error.h"

#include <algorithm>

namespace hwid::core {

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string name_text(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  if (name.size() <= kLongest) return std::string(name);
  std::size_t end = kLongest;
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  while (end > kLongest - 3 && continues(name[end])) --end;
  return std::string(name.substr(0, end)) + "[...]";
}

std::string list_text(const std::vector<std::string>& parts) {
  constexpr std::size_t kMostListed = 10;
  constexpr std::size_t kLongest = 500;
  std::string text;
  std::size_t listed = 0;
  for (; listed < parts.size() && listed < kMostListed; ++listed) {
    if (listed > 0 && text.size() + parts[listed].size() > kLongest) break;
    text.append(listed == 0 ? "" : ", ").append(parts[listed]);
  }
  if (parts.size() > listed)
    text.append(", and ").append(std::to_string(parts.size() - listed)).append(" more");
  return text;
}

const char* reason_text(Reason reason) noexcept {
  switch (reason) {
    case Reason::kInternal:
      return "internal error";
    case Reason::kNoMemory:
      return "out of memory";
    case Reason::kBadUri:
      return "bad key URI";
    case Reason::kBadConfiguration:
      return "bad configuration";
    case Reason::kBadReference:
      return "bad key reference";
    case Reason::kModuleNotLoadable:
      return "PKCS#11 module cannot be loaded";
    case Reason::kNotAModule:
      return "not a PKCS#11 module";
    case Reason::kModuleInitFailed:
      return "PKCS#11 module does not initialize";
    case Reason::kNoToken:
      return "token not found";
    case Reason::kTokenNotInitialized:
      return "token not initialized";
    case Reason::kTokenRemoved:
      return "token removed";
    case Reason::kNoObject:
      return "object not found";
    case Reason::kSeveralObjects:
      return "several objects match";
    case Reason::kPinMissing:
      return "PIN missing";
    case Reason::kPinWrong:
      return "PIN wrong";
    case Reason::kPinLocked:
      return "PIN locked";
    case Reason::kPinExpired:
      return "PIN expired";
    case Reason::kNotPermitted:
      return "key may not do this";
    case Reason::kMechanismMissing:
      return "mechanism not offered by the token";
    case Reason::kSessionLimit:
      return "no session free on the token";
    case Reason::kNoBaseProvider:
      return "no base provider is active";
    case Reason::kPrivateStays:
      return "the private key cannot leave its token";
    case Reason::kUnsupported:
      return "unsupported";
    case Reason::kBadParameter:
      return "bad parameter";
    case Reason::kBufferTooSmall:
      return "buffer too small";
    case Reason::kDeviceError:
      return "token error";
    case Reason::kKeyChanged:
      return "another key stands in this key's place";
    case Reason::kReadOnly:
      return "token is read-only";
    case Reason::kExiting:
      return "process is exiting";
    case Reason::kLibcrypto:
      return "operation in software failed";
    case Reason::kNoPrivateKey:
      return "no private key";
    case Reason::kExists:
      return "object exists";
    case Reason::kDecryptionFailed:
      return "decryption failed";
  }
  return "unknown reason";
}

}  // namespace hwid::core
