#include "tools/hwid/output.h"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "provider/core/error.h"
#include "provider/core/secret.h"
#include "provider/core/utf8.h"

namespace hwid::tool {
namespace {

std::string escaped(unsigned char byte) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "\\x%02x", byte);
  return text.data();
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const core::CodePoint point = core::first_code_point(text);
    const std::string_view bytes = text.substr(0, std::max<std::size_t>(point.size, 1));
    if (point.size != 0 && !core::is_control(point.value)) {
      shown += bytes;
    } else {
      for (const char byte : bytes) shown += escaped(static_cast<unsigned char>(byte));
    }
    text.remove_prefix(bytes.size());
  }
  return shown;
}

Output::Output(bool json)
    : json_(json),
      colour_(!json && isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr) {}

std::string Output::painted(const char* code, const std::string& text) const {
  return colour_ ? std::string("\033[") + code + "m" + text + "\033[0m" : text;
}

std::string Output::coloured(Colour colour, const std::string& text) const {
  switch (colour) {
    case Colour::kGreen:
      return painted("32", text);
    case Colour::kYellow:
      return painted("33", text);
    case Colour::kRed:
      return painted("1;31", text);
    case Colour::kNone:
      break;
  }
  return text;
}

void Output::line(const std::string& text) {
  if (!json_) std::cout << text << '\n';
}

void Output::field(const std::string& key, const std::string& value) {
  constexpr std::size_t kWidth = 14;
  std::string padded = key;
  padded.resize(std::max(kWidth, key.size() + 1), ' ');
  line("  " + padded + printable(value));
}

void Output::heading(const std::string& text) { line(painted("1", printable(text))); }

void Output::document(const Json& value) {
  if (!json_) return;
  std::string text = value.dump(2, ' ', false, Json::error_handler_t::replace);
  const core::Cleansed guard(text);
  std::cout << text << '\n';
}

void Output::note(const std::string& text) { std::cerr << printable(text) << '\n'; }

void Output::finish() {
  std::cout.flush();
  if (!std::cout)
    throw core::Error(core::Reason::kNotPermitted,
                      "standard output: not all of the answer could be written: is the disk full?");
}

}  // namespace hwid::tool
