// UTF-8 that others wrote: labels, names, paths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hwid::core {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t size = 0;  // bytes; 0: the text does not begin with one
};

// Of a text that is not empty. RFC 3629, 4: no overlong form, no surrogate, nothing above U+10FFFF.
CodePoint first_code_point(std::string_view text) noexcept;

// Of C0 and C1, line and paragraph separators, and what turns the direction of text: they would
// play with the terminal that shows it.
bool is_control(std::uint32_t code_point) noexcept;

}  // namespace hwid::core
