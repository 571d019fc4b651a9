// Whether each backend's PKCS#11 module can be loaded and started, and its TPM reached.
#include <dlfcn.h>
#include <sys/stat.h>

#include <cstring>

#include "provider/core/error.h"
#include "provider/pkcs11/module.h"
#include "provider/tpm2/tcti.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/doctor/elf_file.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/module_files.h"
#include "tools/hwid/doctor/probes.h"

namespace hwid::tool::doctor {
namespace {

using core::BackendConfig;
using core::Error;
using core::Reason;

constexpr std::chrono::seconds kDeadline{60};  // a card reader may take its time

// Where the module was named.
std::string place_of(const BackendConfig& backend) {
  if (backend.name == "environment") return "PKCS11_PROVIDER_MODULE";
  if (backend.name == kGreengrassBackend) return "config.yaml";
  return "the section of " + backend.name;
}

// What the library is where it is no PKCS#11 module; empty: it is one, or cannot be loaded.
std::string kind_of_library(const std::string& path) {
  const ChildResult result = run_forked(
      [&] {
        void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return;  // who loads it says why
        // First: one that links p11-kit has a C_GetFunctionList by that.
        if (::dlsym(library, "OSSL_provider_init") != nullptr)
          throw std::runtime_error("an OpenSSL provider");
        if (::dlsym(library, "C_GetFunctionList") != nullptr) return;
        if (::dlsym(library, "bind_engine") != nullptr)
          throw std::runtime_error("an OpenSSL engine");
        throw std::runtime_error("a library without C_GetFunctionList");
      },
      {"HWID_LOG=off"}, kDeadline);
  return result.problem == "exit code 1" ? result.output : "";
}

class ModuleCheck {
 public:
  ModuleCheck(Examination& examination, const BackendConfig& backend)
      : examination_(examination),
        backend_(backend),
        module_(
            pkcs11::Module::get({backend.module, backend.init_args, backend.environment, nullptr})),
        values_{
            {"module", module_->path()}, {"place", place_of(backend)}, {"backend", backend.name}} {}

  void run() {
    if (!check_file() || !check_in_child()) return;
    try {
      (void)module_->use();
    } catch (const Error& error) {
      report(error);
    }
  }

 private:
  void add(const char* id) { examination_.add(id, values_, backend_.name); }

  bool check_file() {
    const std::string& path = module_->path();
    if (path.find('/') == std::string::npos) return true;  // the dynamic linker looks for it
    if (const int error = read_error(path); error != 0) {
      values_["error"] = std::strerror(error);
      values_["owner"] = owner_text(path);
      values_["user"] = user_text();
      const bool is_yaml = backend_.name == kGreengrassBackend;
      values_["next"] = where_module_is(path, is_yaml ? "library: " : "module = ");
      add(error == EACCES ? "module-closed" : "module-not-there");
      return false;
    }
    values_["kind"] = foreign_library(path);
    if (!values_["kind"].empty()) {
      add("module-architecture");
      return false;
    }
    values_["kind"] = kind_of_library(path);
    if (!values_["kind"].empty()) {
      add("module-is-none");
      return false;
    }
    return true;
  }

  // What crashes or hangs there does not do it here.
  bool check_in_child() {
    const ChildResult result = run_forked(
        [this] {
          try {
            (void)pkcs11::slots_with_token(module_->use(), {{}, {}, module_->path()});
          } catch (const Error&) {  // the parent sees it, too
          }
        },
        {}, kDeadline);
    if (result.problem.empty()) return true;
    values_["error"] = result.problem;
    examination_.add("module-crashes", values_);  // for all: who lists tokens asks each module
    return false;
  }

  void report(const Error& error) {
    values_["error"] = error.what();
    if (error.reason == Reason::kModuleNotLoadable)
      add("module-unloadable");
    else if (error.reason == Reason::kNotAModule)
      add("module-is-none");
    else
      report_start();
  }

  void report_start() {
    const std::string variable = variable_of_module(module_->path());
    if (const auto fault = fault_of_module_files(module_->path())) {
      Values values = values_;
      for (const auto& [name, value] : fault->values) values[name] = value;
      examination_.add(fault->id, std::move(values), backend_.name);
    } else if (module_->path().find("softokn") != std::string::npos) {
      add("nss-arguments");
    } else {
      add("module-does-not-start");
    }
  }

  Examination& examination_;
  const BackendConfig& backend_;
  const std::shared_ptr<pkcs11::Module> module_;
  Values values_;
};

std::string device_of(const std::string& tcti) {
  const std::size_t at = tcti.find("device:");
  if (at == std::string::npos) return tcti.empty() || tcti == "device" ? "/dev/tpmrm0" : "";
  return tcti.substr(at + std::strlen("device:"));
}

std::string group_of(const std::string& device) {
  const std::string owner = owner_text(device);
  const std::size_t begin = owner.find("group ");
  if (begin == std::string::npos) return "tss";
  const std::string name = owner.substr(begin + 6);
  return name.substr(0, name.find_first_of(" ,"));
}

void check_tpm(Examination& examination, const BackendConfig& backend) {
  Values values = {{"tcti", tpm2::tcti_text(backend.tcti)}, {"backend", backend.name}};
  const std::string device = device_of(backend.tcti);
  try {
    (void)tpm2::open_tcti(backend.tcti);
  } catch (const Error& error) {
    values["error"] = error.what();
    values["user"] = user_text();
    values["group"] = group_of(device);
    const char* id = "tpm-not-reached";
    if (error.reason == Reason::kBadConfiguration) id = "tcti-wrong";
    if (error.reason == Reason::kNotPermitted) id = "tpm-closed";
    if (error.reason == Reason::kNoToken && !device.empty()) id = "tpm-device-missing";
    examination.add(id, std::move(values), backend.name);
  }
}

}  // namespace

void probe_modules(Examination& examination) {
  for (const BackendConfig& backend : examination.config().backends) {
    if (!examination.concerns(backend) || examination.is_silenced(Probe::kModule, backend.name))
      continue;
    if (backend.type == "tpm2")
      check_tpm(examination, backend);
    else if (!backend.module.empty())
      ModuleCheck(examination, backend).run();
  }
}

}  // namespace hwid::tool::doctor
