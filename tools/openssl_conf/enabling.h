// How hwid gets into an openssl.cnf that others wrote: pure functions on texts.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hwid::openssl_conf {

// What an openssl.cnf says of providers, with its .include lines followed.
struct Layout {
  std::string init;       // what `openssl_conf` names; empty: no such line
  std::string providers;  // what `providers` in that section names; empty: none
  // The default provider's section; empty: not named there.
  std::string default_section;
  bool default_active = false;
  std::vector<std::string> others;  // other providers that are activated
  std::string ours;                 // section of hwid.so, if the file loads it by itself
  bool ours_active = false;
  bool has_nodejs_conf = false;
  std::vector<std::string> sections;  // all

  // Once a file activates any provider, OpenSSL stops activating the default one by itself. Where
  // others are active and it is not, somebody wanted that (FIPS).
  bool default_was_implicit() const noexcept { return !default_active && others.empty(); }
};
// Throws kBadConfiguration, naming `path` and the line.
Layout read_layout(const std::string& text, const std::string& path);

// What is to be loaded.
struct Ours {
  std::string section = "hwid_sect";
  std::string module;    // path; empty: OpenSSL finds it
  std::string include;   // a fragment with the settings; empty: none
  std::string settings;  // or they themselves, sections as text
};
// Settings in `path`, which is a whole openssl.cnf (its sections for hwid are copied) or a fragment
// (is included). Throws kBadConfiguration if it has no section for us, or a literal PIN would be
// copied.
Ours settings_from(const std::string& path);

// The fragment that makes a file with that layout load ours. Throws kBadConfiguration where both
// have a section of the same name.
std::string enabling_fragment(const Layout& layout, const Ours& ours, const std::string& path);
// A whole openssl.cnf that loads ours beside the default provider. Another `name` than ours needs
// ours.module.
std::string whole_file(const Ours& ours, const std::string& name = "hwid");
// True if the text is one that enabling_fragment wrote.
bool is_enabling_fragment(const std::string& text);
// True if such a fragment includes or copies settings: Ours had some.
bool has_settings(const std::string& fragment);

// `text` with lines at its end that include `fragment`, in the text's own kind of line ends. What
// others append later stands in the same section as without these lines.
std::string with_include(const std::string& text, const std::string& fragment);
// `text` without them: byte for byte what with_include was given, if nobody changed it since. What
// others appended means what it meant: it never becomes a part of the line before.
// nullopt if it has none. Throws kBadConfiguration where only half of them is there.
std::optional<std::string> without_include(const std::string& text);

}  // namespace hwid::openssl_conf
