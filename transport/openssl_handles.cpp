#include "transport/openssl_handles.h"

#include <openssl/err.h>

namespace hwid::transport {

std::string take_openssl_errors() {
  std::string text;
  std::string noise;  // engines that are not there, tried by whoever was called
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    char buffer[256];
    const char* reason = ERR_reason_error_string(code);
    if (reason == nullptr) {
      ERR_error_string_n(code, buffer, sizeof buffer);
      reason = buffer;
    }
    std::string line = reason;
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0')
      line += " (" + std::string(data) + ")";
    const int library = ERR_GET_LIB(code);
    std::string& list = library == ERR_LIB_ENGINE || library == ERR_LIB_DSO ? noise : text;
    if (list.find(line) == std::string::npos) list += (list.empty() ? "" : ", ") + line;
  }
  if (text.empty()) text = noise;
  return text.empty() ? "no reason given" : text;
}

}  // namespace hwid::transport
