// Whether openssl.cnf leads OpenSSL to hwid: its first lines, the list of providers, activation.
#include <algorithm>
#include <cstdlib>

#include "tools/hwid/doctor/probes.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

using openssl_conf::for_each;
using openssl_conf::own_text;
using openssl_conf::section_of;
using openssl_conf::without_prefix;

constexpr char kDefaultSection[] = "default";  // what stands before the first [section]

std::vector<std::string> keys_of(const CONF* conf, const std::string& section) {
  std::vector<std::string> keys;
  for_each(section_of(conf, section),
           [&](const std::string& key, const std::string&) { keys.push_back(key); });
  return keys;
}

// The key in `section` that was probably meant to be `wanted`.
std::optional<std::string> misspelt(const CONF* conf, const std::string& section,
                                    const std::string& wanted) {
  std::optional<std::string> found = openssl_conf::nearest(wanted, keys_of(conf, section));
  // Another setting that OpenSSL knows is no mistake.
  for (const char* const other : {"openssl_conf", "nodejs_conf", "provider_conf"}) {
    if (found == other && wanted != other) return std::nullopt;
  }
  return found;
}

bool looks_like_ours(const CONF* conf, const std::string& section) {
  if (openssl_conf::is_our_module("", own_text(conf, section, "module"))) return true;
  return !own_text(conf, section, "backends").empty() && !own_text(conf, section, "module").empty();
}

// A section with hwid's settings, wherever it is; empty: there is none.
std::string settings_of_ours(const CONF* conf) {
  for (const std::string& section : openssl_conf::section_names(conf)) {
    const bool has_backends = !own_text(conf, section, "backends").empty();
    if (has_backends || looks_like_ours(conf, section)) return section;
  }
  return "";
}

class Layout {
 public:
  explicit Layout(Examination& examination)
      : examination_(examination), conf_(examination.conf()) {}

  // True if a section of providers was reached.
  bool find_providers() {
    if (!find_key(kDefaultSection, "openssl_conf", init_)) return false;
    if (!has_section(init_, kDefaultSection, "openssl_conf")) return false;
    if (!find_key(init_, "providers", providers_)) return false;
    return has_section(providers_, init_, "providers");
  }

  void look_at_providers() {
    const auto ours = openssl_conf::our_section(conf_, providers_);
    if (!ours) {
      report_unlisted();
      return;
    }
    if (!has_section(ours->section, providers_, ours->name)) return;
    if (!ours->active) {
      report_inactive(*ours);
      return;
    }
    require_base(*ours);
    look_at_node();
  }

  void report_nothing() {
    if (examination_.findings().empty()) examination_.add("hwid-not-set-up", values());
  }

 private:
  Values values(Values more = {}) const {
    Values all = examination_.conf_values();
    all.merge(more);
    return all;
  }
  void add(const char* id, Values more) { examination_.add(id, values(std::move(more))); }

  bool find_key(const std::string& section, const std::string& key, std::string& value) {
    value = own_text(conf_, section, key);
    if (!value.empty()) return true;
    if (const auto near = misspelt(conf_, section, key)) {
      add("conf-line-misspelt", {{"section", section},
                                 {"key", *near},
                                 {"value", own_text(conf_, section, *near)},
                                 {"meant", key}});
    } else if (section == kDefaultSection) {
      report_misplaced(key);
    } else if (const std::string lost = settings_of_ours(conf_); !lost.empty()) {
      add("providers-not-named", {{"section", section}, {"ours", lost}});
    }
    return false;
  }

  // A line that was appended to a file ends up in its last section.
  void report_misplaced(const std::string& key) {
    for (const std::string& section : openssl_conf::section_names(conf_)) {
      const std::string value = own_text(conf_, section, key);
      if (section == kDefaultSection || value.empty()) continue;
      add("conf-init-in-section", {{"section", section}, {"key", key}, {"value", value}});
      return;
    }
    if (const std::string lost = settings_of_ours(conf_); !lost.empty())
      add("conf-init-missing", {{"ours", lost}});
  }

  bool has_section(const std::string& name, const std::string& from, const std::string& key) {
    if (section_of(conf_, name) != nullptr) return true;
    const auto near = openssl_conf::nearest(name, openssl_conf::section_names(conf_));
    add("conf-section-missing",
        {{"section", name},
         {"from", from},
         {"key", key},
         {"next", near ? "write `" + key + " = " + *near + "`: there is a section [" + *near + "]"
                       : "write a section [" + name + "], or correct the name"}});
    return false;
  }

  void report_unlisted() {
    for (const std::string& key : keys_of(conf_, providers_)) {
      const std::string section = own_text(conf_, providers_, key);
      const std::vector<std::string> ours = {"hwid"};
      const bool is_near = openssl_conf::nearest(without_prefix(key), ours).has_value();
      const bool has_settings = !own_text(conf_, section, "backends").empty();
      const std::string module = own_text(conf_, section, "module");
      if (!is_near && !has_settings && without_prefix(key) != "hwid") continue;
      if (module.empty())
        add("provider-name-wrong",
            {{"name", key}, {"section", section}, {"providers", providers_}});
      else
        add("provider-module-not-hwid", {{"name", key}, {"section", section}, {"module", module}});
      return;
    }
    if (const std::string lost = settings_of_ours(conf_); !lost.empty())
      add("provider-not-listed", {{"section", lost}, {"providers", providers_}});
  }

  void report_inactive(const openssl_conf::OurSection& ours) {
    std::string what = "no line `activate`";
    if (const auto near = misspelt(conf_, ours.section, "activate"))
      what = "`" + *near + "` where `activate` is meant";
    for (const std::string& key : keys_of(conf_, ours.section)) {
      if (without_prefix(key) == "activate")
        what = "`activate = " + own_text(conf_, ours.section, key) + "`";
    }
    add("provider-not-activated", {{"section", ours.section}, {"what", what}});
  }

  // Of the providers that have digests and ciphers: default and fips.
  void require_base(const openssl_conf::OurSection& ours) {
    bool named = false;
    bool active = false;
    for_each(section_of(conf_, providers_),
             [&](const std::string& key, const std::string& section) {
               const std::string name = without_prefix(key);
               if (name != "default" && name != "fips") return;
               named = named || name == "default";
               active = active || openssl_conf::is_active(conf_, section);
             });
    if (active) return;
    add("default-provider-missing",
        {{"providers", providers_},
         {"ours", ours.section},
         {"what", named ? "names the default provider, whose section has no `activate = 1`"
                        : "does not name the default provider"}});
  }

  // Node.js reads another first line.
  void look_at_node() {
    const std::string node = own_text(conf_, kDefaultSection, "nodejs_conf");
    if (node.empty() || node == init_) return;
    const std::string providers = own_text(conf_, node, "providers");
    if (!providers.empty() && openssl_conf::our_section(conf_, providers)) return;
    add("nodejs-conf-elsewhere", {{"section", node}, {"init", init_}});
  }

  Examination& examination_;
  const CONF* conf_;
  std::string init_;
  std::string providers_;
};

bool is_set_up_by_environment() {
  for (const char* const name : {"PKCS11_PROVIDER_MODULE", "PKCS11_MODULE_PATH"}) {
    const char* const value = secure_getenv(name);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

}  // namespace

void probe_conf_layout(Examination& examination) {
  Layout layout(examination);
  if (layout.find_providers()) layout.look_at_providers();
  const bool is_there = examination.invocation().section().is_there();
  if (!is_there && !is_set_up_by_environment()) layout.report_nothing();
}

}  // namespace hwid::tool::doctor
