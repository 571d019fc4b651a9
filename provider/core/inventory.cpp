#include "provider/core/inventory.h"

#include <algorithm>
#include <string_view>

namespace hwid::core {

const char* pin_state_text(PinState state) noexcept {
  switch (state) {
    case PinState::kUnknown:
      return "unknown";
    case PinState::kOk:
      return "ok";
    case PinState::kLow:
      return "low";
    case PinState::kLastTry:
      return "last-try";
    case PinState::kLocked:
      return "locked";
    case PinState::kNotSet:
      return "not-set";
  }
  return "unknown";
}

namespace {

bool same_slot(const TokenInfo& a, const TokenInfo& b) {
  return a.kind == b.kind && a.module == b.module && a.slot_id && a.slot_id == b.slot_id;
}

// True if `part`, the beginning of a URI, leads to one token. (Values have no ';': it is escaped.)
bool is_enough(const std::vector<std::string>& uris, std::string_view part) {
  return std::ranges::count_if(uris, [&](const std::string& uri) {
           return uri == part || uri.starts_with(std::string(part) + ';');
         }) == 1;
}

}  // namespace

std::vector<TokenInfo> merged(std::vector<TokenInfo> tokens) {
  std::vector<TokenInfo> all;
  for (TokenInfo& token : tokens) {
    const auto twin =
        std::ranges::find_if(all, [&](const TokenInfo& other) { return same_slot(token, other); });
    if (twin == all.end())
      all.push_back(std::move(token));
    else if (token.served && !twin->served)
      *twin = std::move(token);
  }
  std::vector<std::string> uris;
  uris.reserve(all.size());
  for (const TokenInfo& token : all) uris.push_back(token.uri);
  for (TokenInfo& token : all) {
    for (std::size_t end = token.uri.find(';'); end != std::string::npos;
         end = token.uri.find(';', end + 1)) {
      if (!is_enough(uris, std::string_view(token.uri).substr(0, end))) continue;
      token.uri.resize(end);
      break;
    }
  }
  return all;
}

}  // namespace hwid::core
