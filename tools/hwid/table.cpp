#include "tools/hwid/table.h"

#include <algorithm>

namespace hwid::tool {
namespace {

constexpr std::size_t kWidest = 60;

// Of UTF-8, a code point a column.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char byte) { return (byte & 0xc0) != 0x80; }));
}

std::string cut(const std::string& text) {
  std::size_t points = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if ((text[at] & 0xc0) != 0x80 && ++points == kWidest)
      return text.substr(0, at) + "\xe2\x80\xa6";
  }
  return text;
}

std::string shown(const std::vector<std::string>& cells, std::size_t column) {
  const std::string text = printable(cells[column]);
  const bool too_wide = column + 1 < cells.size() && width_of(text) > kWidest;
  return too_wide ? cut(text) : text;
}

}  // namespace

void print_table(Output& out, const std::vector<TableRow>& rows) {
  std::vector<std::size_t> widths;
  for (const TableRow& row : rows) {
    widths.resize(std::max(widths.size(), row.cells.size()));
    for (std::size_t column = 0; column < row.cells.size(); ++column)
      widths[column] = std::max(widths[column], width_of(shown(row.cells, column)));
  }
  for (const TableRow& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.cells.size(); ++column) {
      const std::string text = shown(row.cells, column);
      line += "  ";
      line += column == 0 ? out.coloured(row.colour, text) : text;
      if (column + 1 < row.cells.size()) line.append(widths[column] - width_of(text), ' ');
    }
    out.line(line);
  }
}

}  // namespace hwid::tool
