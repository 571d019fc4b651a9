// Whether OpenSSL can load hwid.so, as a program that reads this openssl.cnf does.
#include <dlfcn.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "provider/core/error.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/doctor/elf_file.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/openssl_conf/module.h"

namespace hwid::tool::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kDeadline{30};

const Environment kQuiet = {"HWID_LOG=off"};

// What it said, where it failed; else how it ended. Empty: it went well.
std::string problem_of(const ChildResult& result) {
  return result.problem.empty() || result.output.empty() ? result.problem : result.output;
}

struct Wanted {
  std::string path;  // that OpenSSL opens
  std::string rule;  // why that one
};

// As OpenSSL finds it: `module`, or the provider's name; below OPENSSL_MODULES or its own directory
// unless that is an absolute path (crypto/provider_core.c).
Wanted wanted_module(Examination& examination) {
  const auto& section = examination.invocation().section();
  std::string file = section.get("module").value_or("");
  std::string rule = "`module` in [" + section.section() + "]";
  if (file.empty()) {
    file = (section.is_there() ? section.name() : "hwid") + ".so";
    rule = "the provider's name: there is no `module`";
  }
  if (file.starts_with('/')) return {file, rule};
  const char* const variable = secure_getenv("OPENSSL_MODULES");
  const char* const standard = OPENSSL_info(OPENSSL_INFO_MODULES_DIR);
  const std::string directory = variable != nullptr   ? variable
                                : standard != nullptr ? standard
                                                      : "";
  return {(fs::path(directory) / file).string(),
          rule + ", in " + (variable != nullptr ? "OPENSSL_MODULES" : "OpenSSL's own directory")};
}

std::string where_it_is() {
  try {
    const openssl_conf::Module module = openssl_conf::find_module();
    return "write `module = " + module.path + "`: there it is";
  } catch (const core::Error&) {
    return "install hwid, or name the file in `module`";
  }
}

// Loads it in a process of its own: what it says, or how it ends. Empty: it is a provider.
std::string dlopen_problem(const std::string& path) {
  const ChildResult result = run_forked(
      [&] {
        void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) throw std::runtime_error(::dlerror());
        if (::dlsym(library, "OSSL_provider_init") == nullptr)
          throw std::runtime_error("it has no OSSL_provider_init");
      },
      kQuiet, kDeadline);
  return problem_of(result);
}

// What OpenSSL says of it, with the settings of this openssl.cnf.
std::string load_problem(Examination& examination) {
  const std::string file = examination.conf_file();
  const std::string name = examination.invocation().section().name();
  const ChildResult result = run_forked(
      [&] {
        OSSL_LIB_CTX* const context = OSSL_LIB_CTX_new();
        ERR_clear_error();
        if (OSSL_LIB_CTX_load_config(context, file.c_str()) != 1 ||
            OSSL_PROVIDER_available(context, name.c_str()) != 1)
          throw std::runtime_error(take_crypto_errors());
      },
      kQuiet, kDeadline);
  return problem_of(result);
}

bool is_of_other_openssl(const std::string& problem) {
  return problem.find("OPENSSL_") != std::string::npos ||
         problem.find("libcrypto.so") != std::string::npos ||
         problem.find("libssl.so") != std::string::npos;
}

const char* id_of(const std::string& problem) {
  if (problem.find("OSSL_provider_init") != std::string::npos) return "provider-module-is-none";
  return is_of_other_openssl(problem) ? "provider-module-other-openssl"
                                      : "provider-module-unloadable";
}

}  // namespace

void probe_provider_module(Examination& examination) {
  const Wanted wanted = wanted_module(examination);
  Values values = {{"module", wanted.path}, {"rule", wanted.rule}};
  values["file"] = examination.conf_file();
  values["openssl"] = OpenSSL_version(OPENSSL_VERSION);
  if (const int error = read_error(wanted.path); error != 0) {
    values["error"] = std::strerror(error);
    values["next"] = error == EACCES ? "let everybody read it: chmod a+r, and a+x on what is above"
                                     : where_it_is();
    examination.add("provider-module-missing", std::move(values));
    return;
  }
  if (const std::string kind = foreign_library(wanted.path); !kind.empty()) {
    values["kind"] = kind;
    examination.add("provider-module-architecture", std::move(values));
    return;
  }
  values["error"] = dlopen_problem(wanted.path);
  if (!values["error"].empty()) {
    const char* const id = id_of(values["error"]);
    examination.add(id, std::move(values));
    return;
  }
  if (!examination.invocation().section().is_there()) return;
  values["error"] = load_problem(examination);
  if (!values["error"].empty()) examination.add("provider-refuses", std::move(values));
}

}  // namespace hwid::tool::doctor
