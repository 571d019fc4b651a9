#include "provider/pkcs11/configured_modules.h"

#include <p11-kit/p11-kit.h>

#include <cstdlib>

#include "provider/core/libcrypto.h"

namespace hwid::pkcs11 {
namespace {

using P11String = std::unique_ptr<char, core::FreeWith<std::free>>;

bool is_trust(const std::string& path) { return path.find("p11-kit-trust") != std::string::npos; }

}  // namespace

std::vector<std::shared_ptr<Module>> configured_modules(const ModuleSetup& like,
                                                        const core::Log& log) {
  std::vector<std::shared_ptr<Module>> modules;
  CK_FUNCTION_LIST** const lists = p11_kit_modules_load(nullptr, P11_KIT_MODULE_UNMANAGED);
  if (lists == nullptr) {
    const char* const why = p11_kit_message();
    HWID_LOG(log, kWarn, std::string("p11_kit_modules_load: ") + (why ? why : "failed"));
    return modules;
  }
  for (CK_FUNCTION_LIST** list = lists; *list != nullptr; ++list) {
    const P11String file(p11_kit_module_get_filename(*list));
    const P11String name(p11_kit_module_get_name(*list));
    ModuleSetup setup = like;
    if (file != nullptr) {
      setup.path = file.get();
    } else {
      setup.path = name != nullptr ? name.get() : "unnamed";
      setup.functions = *list;
    }
    if (is_trust(setup.path)) {
      p11_kit_module_release(*list);
      continue;
    }
    std::shared_ptr<Module> module = Module::get(setup);
    // The list is only released where our own dlopen keeps the library.
    if (file != nullptr && module->keep_loaded()) p11_kit_module_release(*list);
    modules.push_back(std::move(module));
  }
  std::free(static_cast<void*>(lists));
  return modules;
}

}  // namespace hwid::pkcs11
