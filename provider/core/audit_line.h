// One line of the audit trail, and what the ways to write it have in common.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "provider/core/audit.h"
#include "provider/core/audit_fields.h"

namespace hwid::core {

// The path of the running program; empty where /proc is not there.
std::string executable_path();

// A JSON object: audit_fields.h. Valid UTF-8 in one line whatever the event holds: a byte that is
// not UTF-8 becomes U+FFFD; control characters, and those that turn the direction of text, are
// escaped; a text that is too long ends in U+2026. Allocates nothing.
class AuditLine {
 public:
  // Of the calling process, now.
  AuditLine(const AuditEvent& event, std::string_view exe, std::uint64_t dropped) noexcept;

  // Without a line's end.
  std::string_view text() const noexcept { return {buffer_.data() + 1, size_ - 1}; }
  // As a file has it; `parted`: with a newline before, too.
  std::string_view file_text(bool parted) const noexcept {
    return {buffer_.data() + (parted ? 0 : 1), size_ + (parted ? 1 : 0)};
  }

 private:
  void put(std::string_view text) noexcept;
  void name(std::string_view field) noexcept;
  void number(std::string_view field, std::uint64_t value) noexcept;
  void string(std::string_view field, std::string_view value, std::size_t most) noexcept;

  std::array<char, audit_field::kLineLimit> buffer_;
  std::size_t size_ = 0;
};

// What one process lost of its lines. Thread-safe, without a lock.
class AuditDrops {
 public:
  // For the line that is written next, which tells of them.
  std::uint64_t take() noexcept { return count_.exchange(0); }
  // That line, with what it told of, was lost. True the first time in this process, when the log
  // is to be told why.
  bool lost(std::uint64_t told) noexcept {
    count_.fetch_add(told + 1);
    return !said_.exchange(true);
  }

 private:
  std::atomic<std::uint64_t> count_{0};
  std::atomic<bool> said_{false};
};

}  // namespace hwid::core
