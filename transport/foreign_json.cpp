#include "transport/foreign_json.h"

namespace hwid::transport {

namespace {

using nlohmann::json;

struct TooDeep {};

// Of the parser, which itself needs no stack for depth. `depth` is of what an array or object is
// in.
bool require_shallow(int depth, json::parse_event_t event, json&) {
  using Event = json::parse_event_t;
  const bool begins = event == Event::object_start || event == Event::array_start;
  if (begins && depth >= kDeepestForeignJson) throw TooDeep();
  return true;
}

}  // namespace

json parse_foreign_json(std::string_view text, std::size_t most) {
  if (text.size() > most) return json::value_t::discarded;
  try {
    return json::parse(text, require_shallow, false);
  } catch (const TooDeep&) {
    return json::value_t::discarded;
  }
}

}  // namespace hwid::transport
