#include "transport/ini_lines.h"

#include <algorithm>
#include <tuple>

namespace hwid::transport {

namespace {

constexpr char kHashStandIn = '\x1f';  // ASCII unit separator: in no sensible value

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string without_comment(const std::string& line) {
  if (line.empty() || line.front() == '#' || line.front() == ';') return {};
  for (auto hash = line.find('#'); hash != std::string::npos; hash = line.find('#', hash + 1))
    if (line[hash - 1] == ' ' || line[hash - 1] == '\t') return trim(line.substr(0, hash));
  return line;
}

}  // namespace

IniText prepare_ini(std::istream& in) {
  IniText result;
  std::string section;
  std::string raw;
  for (int number = 1; std::getline(in, raw); ++number) {
    std::string line = without_comment(trim(raw));
    if (line.size() > 2 && line.front() == '[' && line.back() == ']')
      section = trim(line.substr(1, line.size() - 2)) + ".";
    else if (const auto equals = line.find('='); equals != std::string::npos)
      result.lines.emplace(section + trim(line.substr(0, equals)), number);
    else if (!line.empty() && line != "[]" && result.bad_line == 0)
      std::tie(result.bad_line, result.bad_text) = std::tie(number, line);
    std::replace(line.begin(), line.end(), '#', kHashStandIn);
    result.text += line + "\n";
  }
  return result;
}

std::string restore_ini_value(std::string value) {
  std::replace(value.begin(), value.end(), kHashStandIn, '#');
  return value;
}

}  // namespace hwid::transport
