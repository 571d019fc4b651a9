#include "tools/openssl_conf/provider_section.h"

#include <openssl/err.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"

namespace hwid::openssl_conf {
namespace {

using Conf = std::unique_ptr<CONF, core::FreeWith<NCONF_free>>;

constexpr int kDeepest = 8;  // sections in sections: a circle ends here

std::string text_of(const CONF* conf, const char* section, const char* key) {
  const core::ErrorMark mark;
  const char* const value = NCONF_get_string(conf, section, key);
  return value == nullptr ? "" : value;
}

// A section's keys and values; a null pointer where the file has no such section.
const STACK_OF(CONF_VALUE) * section_of(const CONF* conf, const std::string& name) {
  const core::ErrorMark mark;
  return NCONF_get_section(conf, name.c_str());
}

template <typename Use>
void for_each(const STACK_OF(CONF_VALUE) * values, Use use) {
  for (int at = 0; at < sk_CONF_VALUE_num(values); ++at) {
    const CONF_VALUE* const entry = sk_CONF_VALUE_value(values, at);
    use(std::string(entry->name), std::string(entry->value != nullptr ? entry->value : ""));
  }
}

// OpenSSL's names may have a part before a dot, for more than one of a kind (config(5)).
std::string without_prefix(const std::string& name) {
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

// The module itself, or a link to it: `tpm2.so` for who loads it by that name.
bool is_our_module(const std::string& name, const std::string& module) {
  const std::filesystem::path path(module.empty() ? name : module);
  if (path.stem() == "hwid") return true;
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return !error && target.stem() == "hwid";
}

bool is_on(const std::string& value) {
  return value == "1" || value == "yes" || value == "true" || value == "on";
}

Conf load(const std::string& path) {
  Conf conf(NCONF_new(nullptr));
  if (!conf) throw std::bad_alloc();
  long line = 0;
  ERR_clear_error();
  if (NCONF_load(conf.get(), path.c_str(), &line) == 1) return conf;
  const std::string where = line > 0 ? path + ":" + std::to_string(line) : path;
  const std::string why = core::last_libcrypto_error();
  ERR_clear_error();
  throw core::Error(core::Reason::kBadConfiguration,
                    "openssl.cnf: " + where + ": " + why +
                        "; mend the file, or name another with --openssl-conf");
}

}  // namespace

ProviderSection ProviderSection::read(const std::string& path) {
  ProviderSection found;
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) return found;
  const Conf conf = load(path);
  const std::string init = text_of(conf.get(), nullptr, "openssl_conf");
  const std::string providers = text_of(conf.get(), init.c_str(), "providers");
  if (init.empty() || providers.empty()) return found;
  for_each(
      section_of(conf.get(), providers), [&](const std::string& key, const std::string& value) {
        const std::string name = without_prefix(key);
        if (found.is_there() || !is_our_module(name, text_of(conf.get(), value.c_str(), "module")))
          return;
        found.name_ = name;
        found.section_ = value;
        found.activated_ = is_on(text_of(conf.get(), value.c_str(), "activate"));
      });
  if (found.is_there()) found.add(conf.get(), "", found.section_, 0);
  return found;
}

void ProviderSection::add(const CONF* conf, const std::string& prefix, const std::string& section,
                          int depth) {
  const STACK_OF(CONF_VALUE)* const entries = section_of(conf, section);
  for_each(entries, [&](const std::string& key, const std::string& value) {
    const std::string name = prefix + key;
    if (depth < kDeepest && section_of(conf, value) != nullptr)
      add(conf, name + ".", value, depth + 1);
    else
      values_.emplace(name, value);
  });
}

std::optional<std::string> ProviderSection::get(const std::string& key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? std::nullopt : std::optional<std::string>(at->second);
}

std::vector<std::string> ProviderSection::below(const std::string& prefix) const {
  std::vector<std::string> names;
  const std::string begin = prefix + ".";
  for (const auto& [key, value] : values_) {
    if (key.starts_with(begin)) names.push_back(key.substr(begin.size()));
  }
  return names;
}

core::ConfigLookup ProviderSection::lookup() const {
  return [this](const std::string& name) { return get(name); };
}

}  // namespace hwid::openssl_conf
