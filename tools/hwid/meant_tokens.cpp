#include "tools/hwid/meant_tokens.h"

#include <p11-kit/uri.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "provider/core/error.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Reason;
using core::TokenInfo;

template <std::size_t N>
void put(unsigned char (&field)[N], const std::string& text) {
  std::memset(field, ' ', N);
  std::memcpy(field, text.data(), std::min(N, text.size()));
}

bool is_slot(const KeyUri& uri, const TokenInfo& token) {
  CK_TOKEN_INFO info{};
  put(info.label, token.label);
  put(info.manufacturerID, token.manufacturer);
  put(info.model, token.model);
  put(info.serialNumber, token.serial);
  const CK_SLOT_ID slot = p11_kit_uri_get_slot_id(uri.pkcs11());
  const bool right_slot = slot == static_cast<CK_SLOT_ID>(-1) || token.slot_id == slot;
  return right_slot && (!uri.module_path() || *uri.module_path() == token.module) &&
         p11_kit_uri_match_token_info(uri.pkcs11(), &info) == 1;
}

bool means(const KeyUri& uri, const TokenInfo& token) {
  if (!token.present) return false;
  if (uri.scheme() == KeyUri::Scheme::kTpm2) return token.kind == "tpm2";
  if (token.kind == "pkcs11") return is_slot(uri, token);
  return uri.token() && !token.label.empty() && *uri.token() == token.label;
}

std::string list_text(const std::vector<TokenInfo>& tokens) {
  std::string text;
  for (const TokenInfo& token : tokens) {
    if (!token.present && !token.configured) continue;
    text.append(text.empty() ? "" : ", ");
    text += token.present ? token.uri : token.backend + " (" + token.problem + ")";
  }
  return text.empty() ? "no token at all" : text;
}

bool is_uri(const std::string& text) {
  return text.starts_with("pkcs11:") || text.starts_with("tpm2:") || text.starts_with("handle:");
}

}  // namespace

KeyUri followed(Invocation& invocation, const std::string& text) {
  KeyUri uri = invocation.parse(text);
  if (uri.scheme() != KeyUri::Scheme::kName) return uri;
  const std::string target = invocation.config().resolve(uri.name()).value_or("");
  if (target.empty())
    throw Error(Reason::kNoObject,
                uri.text() + ": the name is unknown; `hwid list` shows those that are there");
  if (!is_uri(target))
    throw Error(Reason::kUnsupported, uri.text() + ": it leads to " + target +
                                          ", which is no URI; name the token instead: "
                                          "pkcs11:token=LABEL");
  return invocation.parse(target);
}

std::vector<TokenInfo> tokens_meant(const std::vector<TokenInfo>& all, const KeyUri& uri) {
  std::vector<TokenInfo> meant;
  std::ranges::copy_if(all, std::back_inserter(meant),
                       [&](const TokenInfo& token) { return means(uri, token); });
  return meant;
}

std::vector<TokenInfo> tokens_meant(Invocation& invocation, const KeyUri& uri) {
  const std::vector<TokenInfo> all = invocation.router().inventory();
  std::vector<TokenInfo> meant = tokens_meant(all, uri);
  if (meant.empty())
    throw Error(Reason::kNoToken, uri.text() + ": no token matches; there are: " + list_text(all) +
                                      "; correct the URI, or connect the token");
  return meant;
}

TokenInfo token_meant(Invocation& invocation, const KeyUri& uri) {
  const std::vector<TokenInfo> meant = tokens_meant(invocation, uri);
  if (meant.size() > 1)
    throw Error(Reason::kNoToken,
                uri.text() + ": several tokens match: " + list_text(meant) + "; name one");
  return meant.front();
}

}  // namespace hwid::tool
