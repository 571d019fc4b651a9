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

// `uri` up to an attribute that it has. Values have no ';': it is escaped.
std::string_view up_to(const std::string& uri, std::string_view attribute) {
  return std::string_view(uri).substr(0, uri.find(attribute));
}

bool is_unique(const std::vector<std::string>& uris, std::string_view attribute,
               const std::string& uri) {
  return std::ranges::count(uris, up_to(uri, attribute),
                            [&](const std::string& other) { return up_to(other, attribute); }) == 1;
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
  for (const TokenInfo& token : all) uris.push_back(token.uri);
  for (TokenInfo& token : all) {
    for (const std::string_view attribute : {";serial=", ";slot-id="}) {
      if (!is_unique(uris, attribute, token.uri)) continue;
      token.uri.resize(up_to(token.uri, attribute).size());
      break;
    }
  }
  return all;
}

}  // namespace hwid::core
