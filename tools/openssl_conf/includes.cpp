#include "tools/openssl_conf/includes.h"

#include <algorithm>

#include "tools/openssl_conf/conf.h"

namespace hwid::openssl_conf {

std::string included_by(std::string_view line, const std::string& path) {
  constexpr std::string_view kInclude = ".include";
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with(kInclude)) return "";
  line.remove_prefix(kInclude.size());
  line.remove_prefix(std::min(line.find_first_not_of(" \t="), line.size()));
  const Conf conf = load_text("file = " + std::string(line), path);
  return text_of(conf.get(), nullptr, "file");
}

}  // namespace hwid::openssl_conf
