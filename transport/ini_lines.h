#pragma once

#include <istream>
#include <map>
#include <string>

namespace hwid::transport {

// What Boost's INI parser cannot do: it ends a value at any `#` (topic filters end in one), and
// forgets line numbers.
struct IniText {
  std::string text;                  // for the parser, with every `#` of a value replaced
  std::map<std::string, int> lines;  // full key -> the line of its first use
  int bad_line = 0;                  // the first that is neither a section nor KEY = VALUE; 0: none
  std::string bad_text;              // what stands there
};

// Cuts comments: `#` or `;` at the start of a line, `#` after white space.
IniText prepare_ini(std::istream& in);

// Puts the `#` back into a value that the parser returned.
std::string restore_ini_value(std::string value);

}  // namespace hwid::transport
