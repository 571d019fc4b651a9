// Which settings a section of the provider may have.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hwid::openssl_conf {

// The provider's own section, and those of its backends by their `type`.
enum class SectionKind { kProvider, kPkcs11, kTpm2 };

// What hwid-provider(7) and OpenSSL itself (config(5)) know there. Static data.
std::span<const std::string_view> known_keys(SectionKind kind) noexcept;

// The value of that setting is the name of a section, or OpenSSL takes it as it is.
bool names_section(std::string_view key) noexcept;

// The one of `known` that `written` was probably meant to be: another case, other separators, or a
// few letters wrong. nullopt where none is near, or it is there as it is.
std::optional<std::string> nearest(std::string_view written,
                                   std::span<const std::string_view> known);
std::optional<std::string> nearest(std::string_view written, const std::vector<std::string>& known);

}  // namespace hwid::openssl_conf
