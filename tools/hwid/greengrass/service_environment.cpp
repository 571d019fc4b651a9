#include "tools/hwid/greengrass/service_environment.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "provider/core/config.h"

namespace hwid::tool::greengrass {
namespace {

constexpr std::string_view kOfAService[] = {
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "CREDENTIALS_DIRECTORY"};
constexpr std::string_view kOfNoSetting[] = {"HWID_LOG", "TSS2_LOG", "TMPDIR"};
constexpr std::string_view kPrefixes[] = {"LC_", "LD_", "ASAN_", "LSAN_", "UBSAN_", "TSAN_"};

bool is_kept(const std::string& name, const std::vector<std::string>& kept) {
  const auto starts_name = [&](std::string_view prefix) { return name.starts_with(prefix); };
  return std::ranges::find(kOfAService, name) != std::end(kOfAService) ||
         std::ranges::find(kOfNoSetting, name) != std::end(kOfNoSetting) ||
         std::ranges::any_of(kPrefixes, starts_name) || std::ranges::find(kept, name) != kept.end();
}

std::string name_of(const std::string& entry) { return entry.substr(0, entry.find('=')); }

void set(const std::string& entry) {
  const std::string name = name_of(entry);
  if (name.size() < entry.size()) ::setenv(name.c_str(), entry.c_str() + name.size() + 1, 1);
}

}  // namespace

ServiceEnvironment::ServiceEnvironment(const std::vector<std::string>& kept,
                                       const std::vector<std::string>& assignments) {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
    before_.emplace_back(*entry);
  ::clearenv();
  for (const std::string& entry : before_) {
    if (is_kept(name_of(entry), kept)) set(entry);
  }
  core::set_environment(assignments);
}

ServiceEnvironment::~ServiceEnvironment() {
  ::clearenv();
  for (std::string& entry : before_) {
    set(entry);
    OPENSSL_cleanse(entry.data(), entry.size());  // it may be a PIN's
  }
}

}  // namespace hwid::tool::greengrass
