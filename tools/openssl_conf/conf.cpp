#include "tools/openssl_conf/conf.h"

#include <openssl/err.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "provider/core/error.h"

namespace hwid::openssl_conf {
namespace {

Conf new_conf() {
  Conf conf(NCONF_new(nullptr));
  if (!conf) throw std::bad_alloc();
  ERR_clear_error();
  return conf;
}

[[noreturn]] void fail(const std::string& path, long line) {
  const std::string where = line > 0 ? path + ":" + std::to_string(line) : path;
  const std::string why = core::last_libcrypto_error();
  ERR_clear_error();
  throw core::Error(core::Reason::kBadConfiguration,
                    "openssl.cnf: " + where + ": " + why +
                        "; mend the file, or name another with --openssl-conf");
}

}  // namespace

Conf load_file(const std::string& path) {
  Conf conf = new_conf();
  long line = 0;
  if (NCONF_load(conf.get(), path.c_str(), &line) != 1) fail(path, line);
  return conf;
}

Conf load_text(std::string_view text, const std::string& path) {
  Conf conf = new_conf();
  const core::Bio memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!memory) throw std::bad_alloc();
  long line = 0;
  if (NCONF_load_bio(conf.get(), memory.get(), &line) != 1) fail(path, line);
  return conf;
}

std::string text_of(const CONF* conf, const char* section, const char* key) {
  const core::ErrorMark mark;
  const char* const value = NCONF_get_string(conf, section, key);
  return value == nullptr ? "" : value;
}

const STACK_OF(CONF_VALUE) * section_of(const CONF* conf, const std::string& name) {
  const core::ErrorMark mark;
  return NCONF_get_section(conf, name.c_str());
}

std::vector<std::string> section_names(const CONF* conf) {
  std::vector<std::string> names;
  STACK_OF(OPENSSL_CSTRING)* const all = NCONF_get_section_names(conf);
  names.reserve(static_cast<std::size_t>(std::max(sk_OPENSSL_CSTRING_num(all), 0)));
  for (int at = 0; at < sk_OPENSSL_CSTRING_num(all); ++at)
    names.emplace_back(sk_OPENSSL_CSTRING_value(all, at));
  sk_OPENSSL_CSTRING_free(all);
  return names;
}

std::string without_prefix(const std::string& name) {
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

bool is_our_module(const std::string& name, const std::string& module) {
  const std::filesystem::path path(module.empty() ? name : module);
  if (path.stem() == "hwid") return true;
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return !error && target.stem() == "hwid";
}

std::string own_text(const CONF* conf, const std::string& section, const std::string& key) {
  std::string found;
  for_each(section_of(conf, section), [&](const std::string& name, const std::string& value) {
    if (name == key) found = value;
  });
  return found;
}

// OpenSSL 3.0 takes any value of `activate` for yes, later versions only some.
bool is_active(const CONF* conf, const std::string& section) {
  bool active = false;
  for_each(section_of(conf, section), [&](const std::string& name, const std::string& value) {
    if (without_prefix(name) == "activate")
      active = value != "0" && value != "no" && value != "false" && value != "off";
  });
  return active;
}

std::optional<OurSection> our_section(const CONF* conf, const std::string& providers) {
  std::optional<OurSection> ours;
  for_each(section_of(conf, providers), [&](const std::string& key, const std::string& section) {
    const std::string name = without_prefix(key);
    if (!is_our_module(name, own_text(conf, section, "module"))) return;
    const bool active = is_active(conf, section);
    if (!ours || (active && !ours->active)) ours = OurSection{name, section, active};
  });
  return ours;
}

}  // namespace hwid::openssl_conf
