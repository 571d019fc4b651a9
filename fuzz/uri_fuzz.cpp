// Key URIs: the input is one. A PIN of ours is put behind each "pin-value=".
#include <p11-kit/uri.h>

#include <array>
#include <string>

#include "fuzz/property.h"
#include "provider/core/uri.h"

namespace {

using namespace hwid;
using core::KeyUri;
using fuzz::require;

bool begins_attribute(std::string_view text, std::size_t at) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos || at <= colon) return false;
  // object:FILE and handle:HEX have attributes in their query alone.
  const bool value_first = colon == 6 && text[0] != 'p' && text[0] != 'P';
  if (value_first && text.substr(0, at).find('?') == text.npos) return false;
  const char before = text[at - 1];
  const bool first = at == colon + 1 || (at == colon + 3 && text.substr(colon, 3) == "://");
  return before == ';' || before == '&' || before == '?' || first;
}

std::string with_pin(std::string_view text) {
  constexpr std::string_view kName = "pin-value=";
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (!text.substr(at).starts_with(kName)) {
      out += text[at++];
      continue;
    }
    out += kName;
    const bool is_pin = begins_attribute(text, at);
    at += kName.size();
    if (!is_pin) continue;
    out += fuzz::kPin;
    // A PIN with a separator in it, as no attribute begins with a digit.
    if (at + 1 < text.size() && text[at] == ';' && text[at + 1] >= '0' && text[at + 1] <= '9') {
      out.append(";").append(fuzz::kPin);
      ++at;
    }
  }
  return out;
}

template <std::size_t N>
std::string padded(const std::optional<std::string>& value, const unsigned char (&field)[N]) {
  if (!value || value->empty()) return {};
  std::string text(field, field + N);
  text.resize(std::max(text.find_last_not_of(' ') + 1, value->size()));
  return text;
}

// p11-kit matches tokens by what it decoded itself: that must be what we read.
void check_p11_kit(const KeyUri& uri) {
  require(uri.pkcs11() != nullptr, "p11-kit has the URI", uri.text());
  require(p11_kit_uri_any_unrecognized(uri.pkcs11()) == 0, "p11-kit knows all of it", uri.text());
  require(p11_kit_uri_get_pin_value(uri.pkcs11()) == nullptr &&
              p11_kit_uri_get_pin_source(uri.pkcs11()) == nullptr,
          "p11-kit got no PIN", uri.text());
  const CK_TOKEN_INFO* const info = p11_kit_uri_get_token_info(uri.pkcs11());
  require(!uri.token() || info->label[0] != 0, "p11-kit looks for that token only", uri.text());
  require(!uri.token() || padded(uri.token(), info->label) == *uri.token(),
          "p11-kit reads the same token", uri.text());
  const CK_ATTRIBUTE* const label = p11_kit_uri_get_attribute(uri.pkcs11(), CKA_LABEL);
  const CK_ATTRIBUTE* const id = p11_kit_uri_get_attribute(uri.pkcs11(), CKA_ID);
  const auto bytes = [](const CK_ATTRIBUTE* attribute) {
    const auto* const value = static_cast<const std::uint8_t*>(attribute->pValue);
    return core::Bytes(value, value + attribute->ulValueLen);
  };
  const auto as_text = [&](const CK_ATTRIBUTE* attribute) {
    const core::Bytes value = bytes(attribute);
    return std::string(value.begin(), value.end());
  };
  require((label != nullptr) == uri.object().has_value() &&
              (label == nullptr || as_text(label) == *uri.object()),
          "p11-kit reads the same object", uri.text());
  require((id != nullptr) == uri.id().has_value() && (id == nullptr || bytes(id) == *uri.id()),
          "p11-kit reads the same id", uri.text());
}

void check_parsed(const KeyUri& uri) {
  require(!fuzz::shows_pin(uri.text()), "the normal form has no PIN", uri.text());
  require(
      uri.names_object() == (uri.object() || uri.id() || uri.handle() || uri.nv() || uri.file()),
      "an object is named or not");
  if (uri.scheme() == KeyUri::Scheme::kPkcs11) check_p11_kit(uri);

  const KeyUri again = KeyUri::parse(uri.text());
  require(again.text() == uri.text(), "the normal form is one", uri.text() + "\n" + again.text());
  require(again.scheme() == uri.scheme() && again.name() == uri.name() &&
              again.token() == uri.token() && again.object() == uri.object() &&
              again.id() == uri.id() && again.type() == uri.type() &&
              again.module_path() == uri.module_path() &&
              again.module_name() == uri.module_name() && again.handle() == uri.handle() &&
              again.nv() == uri.nv() && again.file() == uri.file() &&
              again.policy() == uri.policy() && again.asks_pin() == uri.asks_pin(),
          "the normal form means the same", uri.text());
  require(!again.pin_value() && !again.pin_source() && !again.parent_pin_source(),
          "the normal form has no PIN", uri.text());
  if (uri.scheme() == KeyUri::Scheme::kPkcs11)
    require(p11_kit_uri_match_token_info(again.pkcs11(),
                                         p11_kit_uri_get_token_info(uri.pkcs11())) == 1 ||
                !uri.token() || uri.token()->empty(),
            "the normal form means the same token", uri.text());
}

}  // namespace

int LLVMFuzzerInitialize(int*, char***) { return 0; }

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view written(reinterpret_cast<const char*>(data), size);
  if (fuzz::shows_pin(written)) return 0;
  const std::string text = with_pin(written);
  std::optional<KeyUri> uri;
  try {
    uri = KeyUri::parse(text);
  } catch (const core::Error& error) {
    fuzz::require_good_error(error);
    require(error.reason == core::Reason::kBadUri, "a URI is bad, and nothing else", error.what());
  }
  if (uri) check_parsed(*uri);
  return 0;
}
