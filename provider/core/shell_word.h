// Text in commands that people are told to paste.
#pragma once

#include <string>

namespace hwid::core {

// `text` as one word of a shell.
inline std::string shell_word(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

}  // namespace hwid::core
