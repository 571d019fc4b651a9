// Whether each backend's PKCS#11 module can be loaded and started, and its TPM reached.
#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
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

// Where the module was named.
std::string place_of(const BackendConfig& backend) {
  if (backend.name == "environment") return "PKCS11_PROVIDER_MODULE";
  if (backend.name == kGreengrassBackend) return "config.yaml";
  return "the section of " + backend.name;
}

// What the library is where it is no PKCS#11 module; empty: it is one, or cannot be loaded.
std::string kind_of_library(const std::string& path, std::chrono::seconds deadline) {
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
      {"HWID_LOG=off"}, deadline);
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
    examination_.begins_at_device("starting " + module_->path(), backend_.name);
    try {
      (void)module_->use();
      report_missing_database();
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
      report_absence(error == EACCES ? "module-closed" : "module-not-there");
      return false;
    }
    values_["kind"] = foreign_library(path);
    if (!values_["kind"].empty()) {
      add("module-architecture");
      return false;
    }
    examination_.begins_in_child("loading " + path, backend_.name);
    values_["kind"] = kind_of_library(path, examination_.patience);
    if (!values_["kind"].empty()) {
      add("module-is-none");
      return false;
    }
    return true;
  }

  // What crashes or hangs there does not do it here.
  bool check_in_child() {
    examination_.begins_in_child("starting " + module_->path(), backend_.name);
    const ChildResult result = run_forked(
        [this] {
          try {
            (void)pkcs11::slots_with_token(module_->use(), {{}, {}, module_->path()});
          } catch (const Error&) {  // the parent sees it, too
          }
        },
        {}, examination_.patience);
    if (result.problem.empty()) return true;
    values_["error"] = result.problem;
    examination_.add("module-crashes", values_);  // for all: who lists tokens asks each module
    return false;
  }

  void report(const Error& error) {
    values_["error"] = error.what();
    if (error.reason == Reason::kModuleNotLoadable && is_nowhere(error.what()))
      report_nowhere();
    else if (error.reason == Reason::kModuleNotLoadable)
      add("module-unloadable");
    else if (error.reason == Reason::kNotAModule)
      add("module-is-none");
    else
      report_start();
  }

  // A newer NSS starts without arguments, too, and has only what vanishes with the process.
  void report_missing_database() {
    std::string arguments = backend_.init_args;
    std::ranges::transform(arguments, arguments.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!is_nss() || arguments.find("configdir") != std::string::npos) return;
    values_["error"] = module_->path() + " was started without configDir=, and has no database";
    add("nss-arguments");
  }

  bool is_nss() const { return module_->path().find("softokn") != std::string::npos; }

  // A bare name that the dynamic linker does not find itself, not a library that it needs.
  bool is_nowhere(const std::string& message) const {
    return module_->path().find('/') == std::string::npos &&
           message.find(module_->path() + ": cannot open shared object file: No such file") !=
               std::string::npos;
  }

  void report_nowhere() {
    values_["error"] = "the dynamic linker finds it in none of its directories";
    report_absence("module-not-there");
  }

  void report_absence(const char* id) {
    const bool is_yaml = backend_.name == kGreengrassBackend;
    values_["next"] = where_module_is(module_->path(), is_yaml ? "library: " : "module = ");
    add(id);
  }

  void report_start() {
    const std::string variable = variable_of_module(module_->path());
    if (const auto fault = fault_of_module_files(module_->path())) {
      Values values = values_;
      for (const auto& [name, value] : fault->values) values[name] = value;
      examination_.add(fault->id, std::move(values), backend_.name);
    } else if (is_nss()) {
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

// What lets a user in: the device's group where that may use it and is not root's own.
std::string way_in(const std::string& device) {
  const std::string group = group_of(device);
  if (group.empty())
    return "there is none; make one as the package tpm-udev does (/dev/tpmrm0: group tss, mode "
           "0660); "
           "then `usermod -aG tss USER`, and log in anew";
  return "`usermod -aG " + group +
         " USER`, and log in anew (of a service: SupplementaryGroups=" + group + ")";
}

// How it ends to ask the TPM what the later probes ask it; empty: it answers, or says why not. What
// takes a connection and says nothing would be waited for without end.
std::string silence_of(Examination& examination, const BackendConfig& backend) {
  const ChildResult result = run_forked(
      [&] {
        try {
          (void)tpm2::open_tcti(backend.tcti);
          (void)examination.tokens_of(backend.name);
        } catch (const Error&) {  // the parent sees it, too
        }
      },
      {}, examination.patience);
  return result.problem;
}

void check_tpm(Examination& examination, const BackendConfig& backend) {
  Values values = {{"tcti", tpm2::tcti_text(backend.tcti)}, {"backend", backend.name}};
  examination.begins_in_child("asking " + values["tcti"], backend.name);
  values["error"] = silence_of(examination, backend);
  if (!values["error"].empty()) {
    examination.add("tpm-hangs", std::move(values));  // for all: who lists tokens asks it
    return;
  }
  const std::string device = device_of(backend.tcti);
  examination.begins_at_device("asking " + values["tcti"], backend.name);
  try {
    (void)tpm2::open_tcti(backend.tcti);
  } catch (const Error& error) {
    values["error"] = error.what();
    values["user"] = user_text();
    values["next"] = way_in(device);
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
