#include "tools/hwid/crypto_error.h"

#include <openssl/err.h>

#include <array>
#include <cstring>
#include <optional>

#include "provider/core/error.h"

namespace hwid::tool {
namespace {

using core::Reason;

// A provider's errors have a library number that OpenSSL gives it at run time; the reason's text
// tells ours from those of others.
std::optional<Reason> reason_of_ours(unsigned long code) {
  const int number = ERR_GET_REASON(code);
  if (ERR_GET_LIB(code) < ERR_LIB_USER || number < 1 || number > core::kLastReason)
    return std::nullopt;
  const auto reason = static_cast<Reason>(number);
  const char* const text = ERR_reason_error_string(code);
  if (text == nullptr || std::strcmp(text, core::reason_text(reason)) != 0) return std::nullopt;
  return reason;
}

std::string text_of(unsigned long code, const char* data, int flags) {
  const char* const reason = ERR_reason_error_string(code);
  std::string text = reason != nullptr ? reason : "error " + std::to_string(code);
  if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0')
    text.append(" (").append(data).append(")");
  return text;
}

}  // namespace

std::string take_crypto_errors() {
  std::string all;
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    const bool is_whole = reason_of_ours(code) && data != nullptr && *data != '\0';
    all.append(all.empty() ? "" : "; ").append(is_whole ? data : text_of(code, data, flags));
  }
  return all.empty() ? "no reason given" : all;
}

void throw_crypto_error(const std::string& what, const std::string& next) {
  std::string first;
  std::string ours;
  Reason reason = Reason::kLibcrypto;
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    const std::optional<Reason> own = reason_of_ours(code);
    if (own && data != nullptr && *data != '\0') {
      ours = data;
      reason = *own;
    }
    if (first.empty()) first = text_of(code, data, flags);
  }
  if (!ours.empty()) throw core::Error(reason, ours);
  throw core::Error(reason,
                    what + ": " + (first.empty() ? "no reason given" : first) + "; " + next);
}

}  // namespace hwid::tool
