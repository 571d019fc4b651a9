#include "provider/pkcs11/configured_modules.h"

#include <p11-kit/p11-kit.h>

#include <cstdlib>

#include "provider/core/libcrypto.h"

namespace hwid::pkcs11 {
namespace {

using P11String = std::unique_ptr<char, core::FreeWith<std::free>>;
using Lists = std::unique_ptr<CK_FUNCTION_LIST*, core::FreeWith<std::free>>;
using Modules = std::vector<std::shared_ptr<Module>>;

bool is_trust(const std::string& path) { return path.find("p11-kit-trust") != std::string::npos; }

Lists load(int flags, const core::Log& log) {
  Lists lists(p11_kit_modules_load(nullptr, flags));
  if (lists == nullptr) {
    const char* const why = p11_kit_message();
    HWID_LOG(log, kWarn, std::string("p11_kit_modules_load: ") + (why ? why : "failed"));
  }
  return lists;
}

ModuleSetup setup_of(CK_FUNCTION_LIST* list, const ModuleSetup& like) {
  ModuleSetup setup = like;
  const P11String reserved(p11_kit_config_option(list, "x-init-reserved"));
  if (reserved != nullptr && setup.init_args.empty()) setup.init_args = reserved.get();
  return setup;
}

void add_files(const ModuleSetup& like, Modules& modules, const core::Log& log) {
  const Lists lists = load(P11_KIT_MODULE_UNMANAGED, log);
  for (CK_FUNCTION_LIST** list = lists.get(); list != nullptr && *list != nullptr; ++list) {
    const P11String file(p11_kit_module_get_filename(*list));
    if (file == nullptr || is_trust(file.get())) {
      p11_kit_module_release(*list);
      continue;
    }
    ModuleSetup setup = setup_of(*list, like);
    setup.path = file.get();
    std::shared_ptr<Module> module = Module::get(setup);
    // The list is only released where our own dlopen keeps the library.
    if (module->keep_loaded()) p11_kit_module_release(*list);
    modules.push_back(std::move(module));
  }
}

// Modules in another process (`remote:`) have no file, and p11-kit gives them out as managed only.
void add_remotes(const ModuleSetup& like, Modules& modules, const core::Log& log) {
  const Lists lists = load(0, log);
  for (CK_FUNCTION_LIST** list = lists.get(); list != nullptr && *list != nullptr; ++list) {
    const P11String file(p11_kit_module_get_filename(*list));
    const P11String remote(p11_kit_config_option(*list, "remote"));
    if (file != nullptr || remote == nullptr) {
      p11_kit_module_release(*list);
      continue;
    }
    const P11String name(p11_kit_module_get_name(*list));
    ModuleSetup setup = setup_of(*list, like);
    setup.path = name != nullptr ? name.get() : remote.get();
    setup.functions = *list;
    modules.push_back(Module::get(setup));
  }
}

}  // namespace

std::vector<std::shared_ptr<Module>> configured_modules(const ModuleSetup& like,
                                                        const core::Log& log) {
  Modules modules;
  add_files(like, modules, log);
  add_remotes(like, modules, log);
  return modules;
}

}  // namespace hwid::pkcs11
