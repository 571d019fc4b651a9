#include "tools/hwid/audit/record.h"

#include <algorithm>
#include <charconv>

#include "provider/core/time_stamp.h"
#include "tools/hwid/output.h"
#include "tools/hwid/time_words.h"

namespace hwid::tool::audit {
namespace {

namespace field = core::audit_field;

constexpr std::string_view kTag = "hwid-audit[";

bool is_digit(char character) { return character >= '0' && character <= '9'; }

// What follows the tag. The first ": " of such a line ends its tag, so a program that logs our
// tag in a message of its own is not taken for us.
std::string_view behind_tag(std::string_view line) {
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return {};
  const std::string_view head = line.substr(0, colon);
  const std::size_t tag = head.rfind(kTag);
  if (tag == std::string_view::npos || (tag != 0 && head[tag - 1] != ' ' && head[tag - 1] != '>'))
    return {};
  const std::string_view pid = head.substr(tag + kTag.size());
  const bool is_tag =
      pid.size() > 1 && pid.back() == ']' && std::all_of(pid.begin(), pid.end() - 1, is_digit);
  return is_tag ? line.substr(colon + 2) : std::string_view();
}

bool read(const Json& json, std::string_view name, std::string& value) {
  const auto at = json.find(name);
  if (at == json.end() || !at->is_string()) return false;
  value = at->get_ref<const std::string&>();
  return true;
}

bool read(const Json& json, std::string_view name, std::uint64_t& value) {
  const auto at = json.find(name);
  if (at == json.end() || !at->is_number_unsigned()) return false;
  value = at->get<std::uint64_t>();
  return true;
}

// U+007F to U+009F, separators of lines, and what turns the direction of text: dump() leaves them.
std::size_t control_length(std::string_view text, std::uint32_t& point) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  if (byte(0) < 0x80) {
    point = byte(0);
    return point == 0x7f ? 1 : 0;
  }
  if (byte(0) < 0xe0) {
    point = (byte(0) & 0x1fU) << 6 | (byte(1) & 0x3fU);
    return point < 0xa0 || point == 0x61c ? 2 : 0;
  }
  if (byte(0) != 0xe2) return 0;
  point = 0x2000U | (byte(1) & 0x3fU) << 6 | (byte(2) & 0x3fU);
  const bool is_control = point == 0x200e || point == 0x200f ||
                          (point >= 0x2028 && point <= 0x202e) ||
                          (point >= 0x2066 && point <= 0x2069);
  return is_control ? 3 : 0;
}

std::string without_controls(std::string_view json) {
  std::string text;
  while (!json.empty()) {
    std::uint32_t point = 0;
    const std::size_t length = control_length(json, point);
    if (length == 0) {
      text += json[0];
    } else {
      text += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4)
        text += "0123456789abcdef"[point >> static_cast<unsigned>(shift) & 0xf];
    }
    json.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return text;
}

}  // namespace

std::optional<Time> parse_stamp(std::string_view text) {
  constexpr std::size_t kSeconds = 19;  // "2026-11-24T17:00:00"
  constexpr std::size_t kMicros = 6;
  if (text.size() != kSeconds + kMicros + 2 || text[kSeconds] != '.' || text.back() != 'Z')
    return std::nullopt;
  const auto second = parse_date_time(text.substr(0, kSeconds));
  const std::string_view digits = text.substr(kSeconds + 1, kMicros);
  if (!second || !std::all_of(digits.begin(), digits.end(), is_digit)) return std::nullopt;
  int micros = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), micros);
  return Time(*second) + std::chrono::microseconds(micros);
}

std::optional<Record> parse_record(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  if (line.empty() || line.size() > kLongestLine) return std::nullopt;
  if (line[0] != '{') line = behind_tag(line);
  if (line.empty() || line[0] != '{' || line.size() >= field::kLineLimit) return std::nullopt;
  // The parser takes a NUL for the end, whatever follows.
  const auto is_control = [](unsigned char byte) { return byte < ' '; };
  if (std::any_of(line.begin(), line.end(), is_control)) return std::nullopt;
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  Record record;
  std::string time;
  const bool whole = read(json, field::kTime, time) && read(json, field::kPid, record.pid) &&
                     read(json, field::kUid, record.uid) && read(json, field::kExe, record.exe) &&
                     read(json, field::kBackend, record.backend) &&
                     read(json, field::kToken, record.token) &&
                     read(json, field::kObject, record.object) &&
                     read(json, field::kOperation, record.operation) &&
                     read(json, field::kMechanism, record.mechanism) &&
                     read(json, field::kResult, record.result) &&
                     read(json, field::kDuration, record.duration_us) &&
                     read(json, field::kDropped, record.dropped);
  const std::optional<Time> stamp = parse_stamp(time);
  if (!whole || !stamp || record.operation.empty() || record.result.empty()) return std::nullopt;
  record.time = *stamp;
  return record;
}

std::string canonical(const Record& record) {
  Json json;
  json[std::string(field::kTime)] = core::time_stamp(record.time).data();
  json[std::string(field::kPid)] = record.pid;
  json[std::string(field::kUid)] = record.uid;
  json[std::string(field::kExe)] = record.exe;
  json[std::string(field::kBackend)] = record.backend;
  json[std::string(field::kToken)] = record.token;
  json[std::string(field::kObject)] = record.object;
  json[std::string(field::kOperation)] = record.operation;
  json[std::string(field::kMechanism)] = record.mechanism;
  json[std::string(field::kResult)] = record.result;
  json[std::string(field::kDuration)] = record.duration_us;
  json[std::string(field::kDropped)] = record.dropped;
  return without_controls(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace hwid::tool::audit
