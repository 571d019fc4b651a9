// Rows in aligned columns, for people.
#pragma once

#include <string>
#include <vector>

#include "tools/hwid/output.h"

namespace hwid::tool {

struct TableRow {
  std::vector<std::string> cells;
  Colour colour = Colour::kNone;  // of the first cell
};

// Prints them, each by two blanks to the right; cells come in printable form. Each column is as
// wide as its widest cell; what is longer than a sane column ends in U+2026, but for the last one.
void print_table(Output& out, const std::vector<TableRow>& rows);

}  // namespace hwid::tool
