#include "tools/openssl_conf/known_keys.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace hwid::openssl_conf {
namespace {

constexpr std::string_view kProvider[] = {
    "activate", "identity", "module", "soft_load",  // OpenSSL's own
    "backends", "keys", "key-names", "state-dir", "log", "audit", "keygen", "rand", "environment",
    "allow-uri-module-path", "allow-pin-source",
    // pkcs11-provider's
    "pkcs11-module-path", "pkcs11-module-token-pin", "pkcs11-module-init-args",
    "pkcs11-module-login-behavior", "pkcs11-module-cache-keys", "pkcs11-module-default-slot-id",
    "pkcs11-module-encode-provider-uri-to-pem", "pkcs11-module-assume-fips", "pkcs11-module-quirks",
    "pkcs11-module-cache-sessions", "pkcs11-module-cache-pins", "pkcs11-module-load-behavior",
    "pkcs11-module-allow-export", "pkcs11-module-block-operations",
    // libp11's and tpm2-openssl's
    "pkcs11_module", "pin", "force_login", "init_args", "debug_level", "tcti"};

constexpr std::string_view kPkcs11[] = {
    "type",      "module",         "token",     "pin-source", "pin",         "max-sessions",
    "init-args", "login-behavior", "cache-pin", "cache-keys", "environment", "allow-final-try"};

constexpr std::string_view kTpm2[] = {
    "type",   "tcti",        "token",     "objects",           "pin",    "pin-source", "session",
    "parent", "parent-name", "exclusive", "verify-signatures", "policy", "policies"};

constexpr std::string_view kOfSections[] = {"keys", "policy", "policies"};
constexpr std::string_view kOfOpenssl[] = {"activate", "identity", "soft_load"};

// Case and separators are what people get wrong first.
std::string folded(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (c == '_' || c == ' ' || c == '.')
      plain += '-';
    else
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

// Letters put in, left out, changed, or two of them exchanged (optimal string alignment).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before;
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::vector<std::size_t> next(b.size() + 1, i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      next[j] =
          std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        next[j] = std::min(next[j], before[j - 2] + 1);
    }
    before = std::move(row);
    row = std::move(next);
  }
  return row.back();
}

// A third of the word may be wrong, and at least one letter must be right.
std::size_t tolerance(std::size_t size) noexcept {
  return size < 3 ? 0 : std::max<std::size_t>(1, size / 4);
}

}  // namespace

std::span<const std::string_view> known_keys(SectionKind kind) noexcept {
  switch (kind) {
    case SectionKind::kPkcs11:
      return kPkcs11;
    case SectionKind::kTpm2:
      return kTpm2;
    case SectionKind::kProvider:
      break;
  }
  return kProvider;
}

bool names_section(std::string_view key) noexcept {
  return std::ranges::find(kOfSections, key) != std::end(kOfSections) ||
         std::ranges::find(kOfOpenssl, key) != std::end(kOfOpenssl);
}

std::optional<std::string> nearest(std::string_view written,
                                   std::span<const std::string_view> known) {
  const std::string plain = folded(written);
  std::optional<std::string> best;
  std::size_t least = 0;
  for (const std::string_view candidate : known) {
    if (candidate == written) return std::nullopt;
    const std::size_t found = distance(plain, folded(candidate));
    const std::size_t most = tolerance(std::max(plain.size(), candidate.size()));
    if (found > most || (best && found >= least)) continue;
    best = candidate;
    least = found;
  }
  return best;
}

std::optional<std::string> nearest(std::string_view written,
                                   const std::vector<std::string>& known) {
  const std::vector<std::string_view> views(known.begin(), known.end());
  return nearest(written, views);
}

}  // namespace hwid::openssl_conf
