#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

namespace hwid::transport {

// No answer of a cloud is as long, or nested as deep.
constexpr std::size_t kMostForeignJson = 1024 * 1024UL;  // bytes
constexpr int kDeepestForeignJson = 64;

// JSON that somebody else wrote: a cloud, a broker, another device. Discarded (is_discarded(), and
// so no object) where it is none, is longer than `most` bytes, or is nested deeper than
// kDeepestForeignJson: a copy, a comparison or a print of that would take the stack. Never throws
// but std::bad_alloc. Threads: any.
nlohmann::json parse_foreign_json(std::string_view text, std::size_t most = kMostForeignJson);

}  // namespace hwid::transport
