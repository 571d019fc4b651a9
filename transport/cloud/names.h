#pragma once

#include <algorithm>
#include <cctype>
#include <string>

namespace hwid::transport::cloud {

// A name of 1 to `most` ASCII letters, digits, and characters of `more`.
inline bool is_name(const std::string& text, std::size_t most, const std::string& more) {
  return !text.empty() && text.size() <= most &&
         std::all_of(text.begin(), text.end(), [&](unsigned char c) {
           return (c < 128 && std::isalnum(c) != 0) ||
                  more.find(static_cast<char>(c)) != std::string::npos;
         });
}

}  // namespace hwid::transport::cloud
