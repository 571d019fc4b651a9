// The settings of hwid's sections: known ones, values that make sense, URIs that are not shadowed.

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "provider/core/config.h"
#include "provider/core/error.h"
#include "provider/core/log.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

using openssl_conf::for_each;
using openssl_conf::own_text;
using openssl_conf::section_of;
using openssl_conf::SectionKind;

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::ranges::find(all, one) != all.end();
}

class Settings {
 public:
  explicit Settings(Examination& examination)
      : examination_(examination),
        conf_(examination.conf()),
        ours_(examination.invocation().section().section()),
        backends_(words(own_text(conf_, ours_, "backends"))) {}

  void check_keys() {
    std::vector<std::string> extra = backends_;
    // A backend's section that `backends` forgot is told of as that.
    for (const std::string& name : backend_like()) extra.push_back(name);
    check_section(ours_, SectionKind::kProvider, extra, "");
    for (const std::string& name : backends_) {
      const std::string section = own_text(conf_, ours_, name);
      if (section_of(conf_, section) == nullptr) continue;
      const SectionKind kind =
          own_text(conf_, section, "type") == "tpm2" ? SectionKind::kTpm2 : SectionKind::kPkcs11;
      check_section(section, kind, {}, name);
    }
    if (!backends_are_misspelt_) check_backends();
  }

 private:
  // Keys that lead to a section with a `type`, and that `backends` does not name.
  std::vector<std::string> backend_like() const {
    std::vector<std::string> names;
    for_each(section_of(conf_, ours_), [&](const std::string& key, const std::string& value) {
      if (contains(backends_, key) || key == "keys") return;
      if (!own_text(conf_, value, "type").empty()) names.push_back(key);
    });
    return names;
  }

  void check_section(const std::string& section, SectionKind kind,
                     const std::vector<std::string>& extra, const std::string& scope) {
    for_each(section_of(conf_, section), [&](const std::string& written, const std::string& value) {
      const auto known = openssl_conf::known_keys(kind);
      const std::string key = openssl_conf::without_prefix(written);
      if (std::ranges::find(known, key) != known.end()) check_value(section, key, value, scope);
      if (std::ranges::find(known, key) != known.end() || contains(extra, written)) return;
      auto meant = openssl_conf::nearest(key, known);
      if (meant && !own_text(conf_, section, *meant).empty()) meant.reset();
      report(section, written, meant, scope);
    });
  }

  // OpenSSL hands over the section of that name in the value's place (crypto/provider_conf.c). Of a
  // PIN it is told as its absence, since no PIN is shown.
  void check_value(const std::string& section, const std::string& key, const std::string& value,
                   const std::string& scope) {
    if (value.empty() || section_of(conf_, value) == nullptr || openssl_conf::names_section(key) ||
        key == "pin" || key.ends_with("-pin"))
      return;
    Values values = examination_.conf_values();
    values.insert({{"section", section}, {"key", key}, {"value", value}});
    examination_.add("conf-value-is-section", std::move(values), scope);
  }

  // Without the value: what is misspelt may be a PIN's name.
  void report(const std::string& section, const std::string& key,
              const std::optional<std::string>& meant, const std::string& scope) {
    Values values = examination_.conf_values();
    values.insert({{"section", section}, {"key", key}});
    if (meant) values["meant"] = *meant;
    backends_are_misspelt_ = backends_are_misspelt_ || meant == "backends";
    examination_.add(meant ? "conf-key-misspelt" : "conf-key-unknown", std::move(values), scope);
  }

  void check_backends() {
    const std::vector<std::string> forgotten = backend_like();
    if (forgotten.empty()) return;
    std::string names;
    for (const std::string& name : backends_) names.append(names.empty() ? "" : " ").append(name);
    std::string all = names;
    std::string missing;
    for (const std::string& name : forgotten) {
      all.append(all.empty() ? "" : " ").append(name);
      missing.append(missing.empty() ? "" : ", ").append(name);
    }
    Values values = examination_.conf_values();
    values.insert({{"section", ours_}, {"missing", missing}, {"all", all}, {"names", names}});
    examination_.add(backends_.empty() ? "backends-not-named" : "backend-not-searched",
                     std::move(values));
  }

  Examination& examination_;
  const CONF* conf_;
  const std::string ours_;
  const std::vector<std::string> backends_;
  bool backends_are_misspelt_ = false;
};

// "openssl.cnf has no section [X]": the one that was meant.
std::string next_for(const CONF* conf, const std::string& error) {
  const std::size_t begin = error.find("no section [");
  if (begin != std::string::npos) {
    const std::size_t name = begin + std::string_view("no section [").size();
    const std::string written = error.substr(name, error.find(']', name) - name);
    if (const auto near = openssl_conf::nearest(written, openssl_conf::section_names(conf)))
      return "write [" + *near + "], which is there, where it says " + written;
  }
  return "correct that line as the message says";
}

void add_value(Examination& examination, const std::string& error) {
  Values values = examination.conf_values();
  values["error"] = error;
  values["next"] = next_for(examination.conf(), error);
  examination.add("conf-value-wrong", std::move(values));
}

}  // namespace

void probe_conf_keys(Examination& examination) {
  if (examination.invocation().section().is_there()) Settings(examination).check_keys();
}

void probe_conf_values(Examination& examination) {
  const auto& section = examination.invocation().section();
  try {
    (void)core::Config::read(section.lookup());
    if (const auto log = section.get("log")) (void)core::Log(*log);
  } catch (const core::Error& error) {
    add_value(examination, error.what());
    return;
  }
  try {
    if (const char* const variable = secure_getenv("HWID_LOG")) (void)core::Log(variable);
  } catch (const core::Error& error) {
    examination.add("log-variable-wrong", {{"error", error.what()}});
  }
}

}  // namespace hwid::tool::doctor
