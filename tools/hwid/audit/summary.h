// What an audit trail tells, in constant memory.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/audit/capped.h"
#include "tools/hwid/audit/histogram.h"
#include "tools/hwid/audit/record.h"
#include "tools/hwid/output.h"

namespace hwid::tool::audit {

struct Program {
  std::string exe;
  std::uint64_t uid = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): of the 0 within
  auto operator<=>(const Program&) const = default;
};

// A program and a key, or, for logins, a token.
struct User {
  Program program;
  std::string token;
  std::string object;
  // NOLINTNEXTLINE(modernize-use-nullptr): of the 0 within
  auto operator<=>(const User&) const = default;
};

struct Count {
  std::uint64_t all = 0;
  std::uint64_t failed = 0;
};

struct Use : Count {
  Capped<std::string, Count, 8> operations;
  Time last{};
};

struct Logins : Count {
  Time last_failed{};
  std::string last_result;
};

struct Failure {
  std::string operation;
  std::string result;
  // NOLINTNEXTLINE(modernize-use-nullptr): of the 0 within
  auto operator<=>(const Failure&) const = default;
};

struct Operation : Count {
  Histogram durations;  // microseconds
};

class Summary {
 public:
  void add(const Record& record);

  std::uint64_t events() const noexcept { return count_.all; }
  void print(Output& out) const;
  Json json() const;

 private:
  Count count_;
  std::optional<Time> first_;
  std::optional<Time> last_;
  Capped<User, Use, 1000> uses_;
  Capped<User, Logins, 1000> logins_;
  Capped<Failure, std::uint64_t, 200> failures_;
  Capped<std::string, Operation, 16> operations_;
  std::vector<Record> slowest_;  // the slowest first
};

}  // namespace hwid::tool::audit
