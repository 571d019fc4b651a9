#include "provider/core/audit_line.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <climits>

#include "provider/core/time_stamp.h"
#include "provider/core/utf8.h"

namespace hwid::core {
namespace {

namespace field = audit_field;

// What each text may take up, escaped.
constexpr std::size_t kMostExe = 1000;
constexpr std::size_t kMostToken = 800;
constexpr std::size_t kMostObject = 1200;
constexpr std::size_t kMostResult = 200;
constexpr std::size_t kMostWord = 100;  // backend, operation, mechanism
constexpr std::size_t kRest = 400;      // names, numbers, the time
static_assert(kMostExe + kMostToken + kMostObject + kMostResult + 3 * kMostWord + kRest <
              field::kLineLimit);

constexpr std::string_view kReplacement = "\\ufffd";
constexpr std::string_view kCutShort = "\xe2\x80\xa6";  // U+2026

}  // namespace

std::string executable_path() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  return {path.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

// The first byte is a newline: file_text.
AuditLine::AuditLine(const AuditEvent& event, std::string_view exe,
                     std::uint64_t dropped) noexcept {
  put("\n{");
  string(field::kTime, time_stamp(std::chrono::system_clock::now()).data(), kMostWord);
  number(field::kPid, static_cast<std::uint64_t>(getpid()));
  number(field::kUid, getuid());
  string(field::kExe, exe, kMostExe);
  string(field::kBackend, event.backend, kMostWord);
  string(field::kToken, event.token, kMostToken);
  string(field::kObject, event.object, kMostObject);
  string(field::kOperation, event.operation, kMostWord);
  string(field::kMechanism, event.mechanism, kMostWord);
  string(field::kResult, event.result, kMostResult);
  number(field::kDuration, static_cast<std::uint64_t>(event.duration.count()));
  number(field::kDropped, dropped);
  put("}");
  buffer_[size_] = '\n';
}

void AuditLine::put(std::string_view text) noexcept {
  size_ += text.copy(buffer_.data() + size_, buffer_.size() - 1 - size_);
}

void AuditLine::name(std::string_view field) noexcept {
  put(buffer_[size_ - 1] == '{' ? "\"" : ",\"");
  put(field);
  put("\":");
}

void AuditLine::number(std::string_view field, std::uint64_t value) noexcept {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  name(field);
  put({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

void AuditLine::string(std::string_view field, std::string_view value, std::size_t most) noexcept {
  name(field);
  put("\"");
  const std::size_t end = size_ + most - kCutShort.size();
  while (!value.empty()) {
    const CodePoint point = first_code_point(value);
    std::array<char, 6> escaped = {'\\', 'u'};
    std::string_view shown = value.substr(0, point.size);
    if (point.size == 0) {
      shown = kReplacement;
    } else if (point.value == '"' || point.value == '\\') {
      escaped[1] = value[0];
      shown = {escaped.data(), 2};
    } else if (is_control(point.value)) {
      for (std::size_t i = 0; i < 4; ++i)
        escaped[i + 2] = "0123456789abcdef"[point.value >> (12 - 4 * i) & 0xf];
      shown = {escaped.data(), escaped.size()};
    }
    if (size_ + shown.size() > end) {
      put(kCutShort);
      break;
    }
    put(shown);
    value.remove_prefix(std::max<std::size_t>(point.size, 1));
  }
  put("\"");
}

}  // namespace hwid::core
