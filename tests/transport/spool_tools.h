// A spool without a broker.
#pragma once

#include <string>
#include <vector>

#include "pki.h"
#include "transport/journal.h"
#include "transport/mqtt/outbox.h"

namespace hwid::test {

using Records = std::vector<std::string>;

// What a journal holds.
inline Records records_of(const std::filesystem::path& directory) {
  Records records;
  const transport::Journal journal(directory,
                                   [&](std::string_view record) { records.emplace_back(record); });
  return records;
}

inline transport::DeviceConfig config_in(const TemporaryDirectory& directory) {
  transport::DeviceConfig config;
  config.client_id = "device";
  config.spool_dir = directory.path().string();
  return config;
}

}  // namespace hwid::test
