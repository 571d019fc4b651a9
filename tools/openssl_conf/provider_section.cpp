#include "tools/openssl_conf/provider_section.h"

#include <filesystem>
#include <system_error>

#include "tools/openssl_conf/conf.h"

namespace hwid::openssl_conf {
namespace {

constexpr int kDeepest = 8;  // sections in sections: a circle ends here

}  // namespace

ProviderSection ProviderSection::read(const std::string& path) {
  ProviderSection found;
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) return found;
  const Conf conf = load_file(path);
  const std::string init = text_of(conf.get(), nullptr, "openssl_conf");
  const std::string providers = own_text(conf.get(), init, "providers");
  if (init.empty() || providers.empty()) return found;
  const std::optional<OurSection> ours = our_section(conf.get(), providers);
  if (!ours) return found;
  found.name_ = ours->name;
  found.section_ = ours->section;
  found.activated_ = ours->active;
  found.add(conf.get(), "", found.section_, 0);
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
