#include "tools/hwid/default_context.h"

#include <openssl/conf.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>

#include <filesystem>

#include "provider/core/error.h"
#include "tools/openssl_conf/module.h"

namespace hwid::tool {

bool prepare_default_context(Invocation& invocation) {
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  const core::ErrorMark mark;
  const auto& section = invocation.section();
  if (section.is_there())
    return OSSL_LIB_CTX_load_config(nullptr, invocation.location().path.c_str()) == 1;
  const std::filesystem::path module = openssl_conf::find_module().path;
  OSSL_PROVIDER_set_default_search_path(nullptr, module.parent_path().c_str());
  return OSSL_PROVIDER_load(nullptr, "default") != nullptr &&
         OSSL_PROVIDER_load(nullptr, "hwid") != nullptr;
}

}  // namespace hwid::tool
