#include "tools/attest/strict_json.h"

#include <set>
#include <utility>
#include <vector>

namespace hwid::attest {

namespace {

constexpr std::size_t kShown = 64;  // of a name that somebody else chose

struct Refused {
  std::string why;
};

// Of the parser, which itself needs no stack for depth, and takes the last of two members.
class Watch {
 public:
  // `depth`: of what an array or object is in.
  void see(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    const bool begins = event == Event::object_start || event == Event::array_start;
    if (begins && depth >= kDeepestJson)
      throw Refused{"it is nested deeper than " + std::to_string(kDeepestJson)};
    if (event == Event::object_start) names_.emplace_back();
    if (event == Event::object_end) names_.pop_back();
    if (event != Event::key) return;
    const auto& name = parsed.get_ref<const Json::string_t&>();
    if (!names_.back().insert(name).second)
      throw Refused{"the member \"" + name.substr(0, kShown) +
                    "\" is there twice, and could mean one or the other"};
  }

 private:
  std::vector<std::set<std::string>> names_;  // of the objects that are open
};

}  // namespace

StrictJson parse_strict_json(std::string_view text) {
  if (text.size() > kMostJson)
    return {Json::value_t::discarded, "it is longer than " + std::to_string(kMostJson) + " bytes"};
  Watch watch;
  try {
    Json value = Json::parse(
        text,
        [&](int depth, Json::parse_event_t event, const Json& parsed) {
          watch.see(depth, event, parsed);
          return true;
        },
        false);
    if (value.is_discarded()) return {std::move(value), "it is no JSON"};
    return {std::move(value), {}};
  } catch (const Refused& refused) {
    return {Json::value_t::discarded, refused.why};
  }
}

}  // namespace hwid::attest
