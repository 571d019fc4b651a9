#include "tools/hwid/greengrass/plugin.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include "provider/core/error.h"

namespace hwid::tool::greengrass {
namespace {

using core::Error;
using core::Reason;

bool is_ascii(unsigned char c) { return c >= 0x20 && c < 0x7f; }

// What SunPKCS11 reads as part of a word (sun.security.pkcs11.Config), and blanks between words.
bool is_of_library(unsigned char c) {
  return std::isalnum(c) != 0 ||
         std::string_view(" :./\\_-${}*+~").find(static_cast<char>(c)) != std::string_view::npos;
}

}  // namespace

core::ConfigLookup plugin_settings(const std::string& backend, const std::string& library,
                                   const core::Secret& pin) {
  return [pin = std::make_shared<core::Secret>(pin.clone()), backend,
          library](const std::string& name) -> std::optional<std::string> {
    if (name == "backends") return backend;
    if (name == backend + ".type") return "pkcs11";
    if (name == backend + ".module") return library;
    if (name != backend + ".pin") return std::nullopt;
    const core::ByteView bytes = pin->reveal();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
}

void require_java_label(const std::string& label) {
  std::string why;
  if (label.empty())
    why = "it has none";
  else if (!std::ranges::all_of(label, is_ascii) || label.find(';') != std::string::npos)
    why = "it has a semicolon, or a character beyond ASCII";
  else if (label.front() == ' ' || label.back() == ' ')
    why = "it begins or ends with a blank";
  if (why.empty()) return;
  throw Error(Reason::kUnsupported,
              "CKA_LABEL: object=" + label +
                  ": Greengrass's plugin finds a key by its label, and not by this one: " + why +
                  "; give it another one: `pkcs11-tool --set-label`, or make a key with `hwid "
                  "generate`");
}

void require_java_pin(const core::Secret& pin, const std::string& token) {
  if (std::ranges::all_of(pin.reveal(), is_ascii)) return;
  throw Error(Reason::kUnsupported,
              token +
                  ": Java sends a PIN with characters beyond ASCII in other bytes, and is refused; "
                  "set another one: `hwid pin change`");
}

void require_java_library(const std::string& path) {
  if (path.starts_with('/') && std::ranges::all_of(path, is_of_library)) return;
  throw Error(Reason::kUnsupported,
              "module=" + path + ": Java takes " +
                  (path.starts_with('/') ? "only letters, digits, blanks and :./\\_-${}*+~ in"
                                         : "nothing but") +
                  " a library's absolute path; name it so, by a link where need be");
}

void require_java_slot(std::uint64_t slot) {
  if (slot <= std::numeric_limits<std::int32_t>::max()) return;
  throw Error(Reason::kUnsupported, "slot-id=" + std::to_string(slot) +
                                        ": Greengrass's plugin takes numbers up to 2147483647; use "
                                        "a token in another slot");
}

}  // namespace hwid::tool::greengrass
