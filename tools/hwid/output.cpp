#include "tools/hwid/output.h"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "provider/core/error.h"

namespace hwid::tool {
namespace {

std::string escaped(unsigned char byte) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "\\x%02x", byte);
  return text.data();
}

// Bytes of the UTF-8 sequence at the beginning (RFC 3629, section 4); 0 if there is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool too_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool out_of_range = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  return too_long || out_of_range ? 0 : length;
}

bool is_control(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7f;
  return first == 0xc2 && static_cast<unsigned char>(sequence[1]) < 0xa0;  // C1
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
    if (length != 0 && !is_control(sequence)) {
      shown += sequence;
    } else {
      for (const char byte : sequence) shown += escaped(static_cast<unsigned char>(byte));
    }
    text.remove_prefix(sequence.size());
  }
  return shown;
}

Output::Output(bool json)
    : json_(json),
      colour_(!json && isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr) {}

std::string Output::painted(const char* code, const std::string& text) const {
  return colour_ ? std::string("\033[") + code + "m" + text + "\033[0m" : text;
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
  if (json_) std::cout << value.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void Output::note(const std::string& text) { std::cerr << printable(text) << '\n'; }

void Output::finish() {
  std::cout.flush();
  if (!std::cout)
    throw core::Error(core::Reason::kNotPermitted,
                      "standard output: not all of the answer could be written: is the disk full?");
}

}  // namespace hwid::tool
