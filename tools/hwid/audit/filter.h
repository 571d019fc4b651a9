// Which events the user asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tools/hwid/audit/record.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::audit {

void add_filter_options(po::options_description& options);

struct Filter {
  std::optional<Time> since;  // inclusive
  std::optional<Time> until;  // exclusive
  std::string operation;      // empty texts admit all
  std::string key;
  std::string token;
  std::string result;  // "ok", "failed", or a name
  std::string exe;     // a path, or a program's name
  std::optional<std::uint64_t> pid;
  std::optional<std::uint64_t> uid;

  // Throws UsageError.
  static Filter read(const Invocation& invocation);

  bool admits_time(const Record& record) const noexcept;
  // REQUIRES: admits_time.
  bool admits(const Record& record) const noexcept;
};

}  // namespace hwid::tool::audit
