// JSON that somebody else wrote, where each member has to mean one thing.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hwid::attest {

using Json = nlohmann::ordered_json;

// No file of an attestation is as long, or nested as deep. (The transport's bounds for clouds are
// in transport/foreign_json.h, which a verifier does not know.)
constexpr std::size_t kMostJson = 1024 * 1024UL;  // bytes
constexpr int kDeepestJson = 32;                  // objects and arrays within each other

struct StrictJson {
  Json value;         // discarded where there is a fault
  std::string fault;  // why it is not read; empty: it is
};
// Refused are: no JSON, what is beyond these bounds, and an object with two members of one name,
// where one reader takes the first and another the last. Threads: any.
StrictJson parse_strict_json(std::string_view text);

}  // namespace hwid::attest
