#include "provider/ossl/params.h"

#include <charconv>

#include "provider/core/error.h"

namespace hwid::ossl {

void bad_parameter(const std::string& name, const std::string& why) {
  throw core::Error(core::Reason::kBadParameter, "parameter " + name + ": " + why);
}

std::optional<std::string> text_param(const OSSL_PARAM params[], const char* name) {
  const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
  const char* value = nullptr;
  if (param == nullptr) return std::nullopt;
  if (OSSL_PARAM_get_utf8_string_ptr(param, &value) != 1 || value == nullptr)
    bad_parameter(name, "it must be a string");
  return value;
}

std::optional<core::ByteView> bytes_param(const OSSL_PARAM params[], const char* name) {
  const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
  if (param == nullptr) return std::nullopt;
  const void* data = nullptr;
  std::size_t size = 0;
  if (OSSL_PARAM_get_octet_string_ptr(param, &data, &size) != 1 || (data == nullptr && size != 0))
    bad_parameter(name, "it must be bytes");
  return core::ByteView(static_cast<const std::uint8_t*>(data), size);
}

std::optional<unsigned> number_param(const OSSL_PARAM params[], const char* name) {
  const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
  unsigned value = 0;
  if (param == nullptr) return std::nullopt;
  if (OSSL_PARAM_get_uint(param, &value) != 1)
    bad_parameter(name, "it must be a number, 0 or more");
  return value;
}

std::optional<int> mode_param(const OSSL_PARAM params[], const char* name,
                              std::span<const ModeName> names) {
  const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
  if (param == nullptr) return std::nullopt;
  int value = 0;
  if (param->data_type != OSSL_PARAM_UTF8_STRING) {
    if (OSSL_PARAM_get_int(param, &value) != 1) bad_parameter(name, "it must be a number");
    return value;
  }
  const std::string text = text_param(params, name).value_or("");
  for (const auto& [number, word] : names) {
    if (text == word) return number;
  }
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) bad_parameter(name, "unknown value \"" + text + "\"");
  return value;
}

void set_mode(OSSL_PARAM* param, int value, std::span<const ModeName> names) {
  if (param == nullptr) return;
  if (param->data_type != OSSL_PARAM_UTF8_STRING) {
    if (OSSL_PARAM_set_int(param, value) != 1) bad_parameter(param->key, "no room");
    return;
  }
  std::string text = std::to_string(value);
  for (const auto& [number, word] : names) {
    if (number == value) text = word;
  }
  if (OSSL_PARAM_set_utf8_string(param, text.c_str()) != 1) bad_parameter(param->key, "no room");
}

void set_text(OSSL_PARAM params[], const char* name, const char* text) {
  OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
  if (param != nullptr && OSSL_PARAM_set_utf8_string(param, text) != 1)
    bad_parameter(name, "no room");
}

}  // namespace hwid::ossl
