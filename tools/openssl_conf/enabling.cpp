#include "tools/openssl_conf/enabling.h"

#include <algorithm>
#include <sstream>
#include <string_view>

#include "provider/core/error.h"
#include "tools/openssl_conf/conf.h"
#include "tools/openssl_conf/writer.h"

namespace hwid::openssl_conf {

using core::Error;
using core::Reason;

namespace {

constexpr std::string_view kBegin = "# hwid: begin; `hwid disable` takes these lines away";
constexpr std::string_view kBeginAfterEnd = ", and the line end before them";
constexpr std::string_view kEnd = "# hwid: end";
constexpr std::string_view kTitle = "Written by `hwid enable`, removed by `hwid disable`:";
constexpr char kProviders[] = "hwid_providers";
constexpr char kDefault[] = "hwid_default";
constexpr char kNode[] = "hwid_nodejs";

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::ranges::find(all, one) != all.end();
}

Layout layout_of(const CONF* conf) {
  Layout layout;
  layout.sections = section_names(conf);
  layout.init = text_of(conf, nullptr, "openssl_conf");
  layout.has_nodejs_conf = !text_of(conf, nullptr, "nodejs_conf").empty();
  if (!layout.init.empty()) layout.providers = own_text(conf, layout.init, "providers");
  if (layout.providers.empty()) return layout;
  if (const std::optional<OurSection> ours = our_section(conf, layout.providers)) {
    layout.ours = ours->section;
    layout.ours_active = ours->active;
  }
  for_each(section_of(conf, layout.providers),
           [&](const std::string& key, const std::string& section) {
             const std::string name = without_prefix(key);
             if (name == "default") {
               layout.default_section = section;
               layout.default_active = is_active(conf, section);
             } else if (!is_our_module(name, own_text(conf, section, "module")) &&
                        is_active(conf, section)) {
               layout.others.push_back(name);
             }
           });
  return layout;
}

[[noreturn]] void reject(const std::string& path, const std::string& why) {
  throw Error(Reason::kBadConfiguration, "openssl.cnf: " + path + ": " + why);
}

bool is_literal_pin(const std::string& key, const std::string& value) {
  return key == "pin" || (key == "pkcs11-module-token-pin" && !value.starts_with("file:"));
}

// Sections that a value names belong to the one that names them: the provider sees them so.
void copy_section(const CONF* conf, const std::string& section, const std::string& path,
                  std::vector<std::string>& done, Writer& out) {
  done.push_back(section);
  out.section(section);
  std::vector<std::string> below;
  for_each(section_of(conf, section), [&](const std::string& key, const std::string& value) {
    if (is_literal_pin(key, value))
      reject(path, "[" + section + "] " + key +
                       " is a PIN, which every program's openssl.cnf must not hold; write it to a "
                       "file and name that with pin-source = file:PATH");
    out.set(key, value);
    if (section_of(conf, value) != nullptr && !contains(done, value)) below.push_back(value);
  });
  for (const std::string& name : below) {
    if (!contains(done, name)) copy_section(conf, name, path, done, out);
  }
}

std::string line_end_of(const std::string& text) {
  const std::size_t first = text.find('\n');
  return first != std::string::npos && first > 0 && text[first - 1] == '\r' ? "\r\n" : "\n";
}

// The section in which a line at the end of the text would stand, includes aside.
std::string last_section(std::string_view text) {
  std::string last = "default";
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const std::size_t close = line.find(']');
    if (!line.starts_with('[') || close == std::string_view::npos) continue;
    line = line.substr(1, close - 1);
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    last = line.substr(begin, line.find_last_not_of(" \t") - begin + 1);
  }
  return last;
}

void remove_line_end(std::string& text) {
  if (!text.ends_with('\n')) return;
  text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
}

bool ends_in_blank_line(std::string text) {
  if (!text.ends_with('\n')) return false;
  remove_line_end(text);
  return text.empty() || text.ends_with('\n');
}

// A backslash at its end makes the next line a part of the last one.
bool goes_on(std::string text) {
  remove_line_end(text);
  return text.ends_with('\\');
}

}  // namespace

Layout read_layout(const std::string& text, const std::string& path) {
  return layout_of(load_text(text, path).get());
}

Ours settings_from(const std::string& path) {
  const Conf conf = load_file(path);
  const Layout layout = layout_of(conf.get());
  Ours ours;
  if (!layout.init.empty()) {
    if (layout.ours.empty())
      reject(path, "it has no section that loads hwid.so; name a file that has one");
    Writer out;
    std::vector<std::string> done;
    copy_section(conf.get(), layout.ours, path, done, out);
    ours.section = layout.ours;
    ours.settings = out.text();
    return ours;
  }
  ours.include = path;
  if (contains(layout.sections, ours.section)) return ours;
  std::vector<std::string> with_backends;
  for (const std::string& section : layout.sections) {
    if (!own_text(conf.get(), section, "backends").empty()) with_backends.push_back(section);
  }
  if (with_backends.size() != 1)
    reject(path, "it has no section [hwid_sect]; call the section with `backends` so");
  if (with_backends.front() != "default") ours.section = with_backends.front();
  return ours;
}

std::string enabling_fragment(const Layout& layout, const Ours& ours, const std::string& path) {
  Writer out;
  out.comment(std::string(kTitle) + " " + path).comment("includes this file.").blank();
  const std::string init = layout.init.empty() ? "hwid_init" : layout.init;
  const std::string providers = layout.providers.empty() ? kProviders : layout.providers;
  if (layout.init.empty() || !layout.has_nodejs_conf) out.section("default");
  if (layout.init.empty()) out.set("openssl_conf", init);
  if (!layout.has_nodejs_conf) out.set("nodejs_conf", kNode);
  if (layout.providers.empty()) out.section(init).set("providers", providers);
  if (!layout.has_nodejs_conf) out.section(kNode).set("providers", providers);
  // Whoever comes first makes the keys of TLS connections (keygen), so it is not hwid.
  const bool named = !layout.default_section.empty();
  const std::string section = named ? layout.default_section : kDefault;
  out.section(providers);
  if (layout.default_was_implicit() && !named) out.set("default", section);
  out.set("hwid", ours.section);
  if (layout.default_was_implicit()) {
    out.blank().comment("OpenSSL activates it by itself only as long as no other is activated.");
    out.section(section).set("activate", "1");
  }
  // A module that is gone, or a fragment that one may not read, must not stop any program.
  out.section(ours.section).set("activate", "1").set("soft_load", "1");
  if (!ours.module.empty()) out.set("module", ours.module);
  if (!ours.include.empty()) out.include(ours.include);
  std::string text = out.text() + (ours.settings.empty() ? "" : "\n" + ours.settings);
  for (const std::string& section : section_names(load_text(text, path).get())) {
    const bool meant = section == "default" || section == init || section == providers ||
                       section == layout.default_section;
    if (!meant && contains(layout.sections, section))
      reject(path, "it has a section [" + section +
                       "] as what is to be enabled has; give that one another name there");
  }
  return text;
}

std::string whole_file(const Ours& ours, const std::string& name) {
  Writer out;
  out.comment(
      "Where keys are, for programs with OPENSSL_CONF=this file. hwid-provider(7) has all.");
  out.blank().set("openssl_conf", "init").set("nodejs_conf", "init");
  out.section("init").set("providers", "provider_sect");
  out.section("provider_sect").set("default", "default_sect").set(name, ours.section);
  out.section("default_sect").set("activate", "1");
  out.section(ours.section).set("activate", "1");
  if (!ours.module.empty()) out.set("module", ours.module);
  if (!ours.include.empty()) out.include(ours.include);
  out.section("req").set("distinguished_name", "req_name");  // `openssl req` wants it
  out.section("req_name");
  return out.text() + (ours.settings.empty() ? "" : "\n" + ours.settings);
}

bool is_enabling_fragment(const std::string& text) {
  return text.starts_with("# " + std::string(kTitle));
}

bool has_settings(const std::string& fragment) {
  const std::size_t last =
      fragment.find("\nsoft_load = ");  // that every fragment has, and `module`
  if (last == std::string::npos) return false;
  std::istringstream lines(fragment.substr(last + 1));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    if (!line.empty() && !line.starts_with("module = ")) return true;
  }
  return false;
}

std::string with_include(const std::string& text, const std::string& fragment) {
  const std::string end = line_end_of(text);
  const bool ends = text.empty() || text.ends_with('\n');
  std::string added = ends ? "" : end;
  added += end;  // a line that goes on behind a backslash ends here
  added.append(kBegin).append(ends ? "" : kBeginAfterEnd).append(end);
  added.append(".include ").append(in_quotes(fragment)).append(end);
  added.append("[").append(last_section(text)).append("]").append(end);
  added.append(kEnd).append(end);
  return text + added;
}

std::optional<std::string> without_include(const std::string& text) {
  const std::size_t begin = text.find(kBegin);
  if (begin == std::string::npos) return std::nullopt;
  const std::size_t end = text.find(kEnd, begin);
  if (end == std::string::npos)
    throw Error(Reason::kBadConfiguration, "openssl.cnf: the line \"" + std::string(kBegin) +
                                               "\" is there, and \"" + std::string(kEnd) +
                                               "\" is not; take our lines away by hand");
  const bool after_end = text.substr(begin + kBegin.size()).starts_with(kBeginAfterEnd);
  const std::size_t next = text.find('\n', end);
  const std::string after = next == std::string::npos ? "" : text.substr(next + 1);
  std::string before = text.substr(0, begin);
  // An editor may have taken the blank line away; the line end before it is then another's.
  if (ends_in_blank_line(before)) remove_line_end(before);
  if (after.empty()) {
    if (after_end) remove_line_end(before);
    return before;
  }
  // What was appended since must not become a part of the line before.
  if (goes_on(before)) before += line_end_of(text);
  return before + after;
}

}  // namespace hwid::openssl_conf
