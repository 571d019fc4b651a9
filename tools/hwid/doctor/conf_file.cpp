// Whether openssl.cnf is there, can be read and parsed, and what it includes with it.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "provider/core/error.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/lost_variable.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/files.h"
#include "tools/openssl_conf/includes.h"

namespace hwid::tool::doctor {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 16;  // files that include files: a circle ends here

// What `.include NAME` reads: the file, or of a directory its files *.cnf and *.conf (config(5)).
std::vector<std::string> files_of(const std::string& name) {
  std::error_code error;
  if (!fs::is_directory(name, error)) return {name};
  std::vector<std::string> files;
  fs::directory_iterator entries(name, error);
  if (error) return {name};
  for (const fs::directory_entry& entry : entries) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".cnf" || extension == ".conf") files.push_back(entry.path().string());
  }
  std::ranges::sort(files);
  return files;
}

// Empty as well where that line alone does not tell: its variables stand before it.
std::string name_in(std::string_view line, const std::string& file) {
  try {
    return openssl_conf::included_by(line, file);
  } catch (const core::Error&) {
    return "";
  }
}

// What OpenSSL leaves out without a word.
std::string why_left_out(const std::string& file) {
  const int error = read_error(file);
  return error != 0 ? std::strerror(error) : "";
}

// Where every program waits for somebody who writes.
std::string why_endless(const std::string& file) {
  std::error_code error;
  return read_error(file) == 0 && !fs::is_directory(file, error) ? no_file(file) : "";
}

// The first file that is included and has that problem, in words; empty: it has none.
std::optional<Values> bad_include(const std::string& file,
                                  std::string (*problem_of)(const std::string&), int depth = 0) {
  const std::string text = read_file(file);
  int line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++line;
    const std::string name = name_in(std::string_view(text).substr(at, end - at), file);
    at = end + 1;
    if (name.empty()) continue;
    for (const std::string& each : files_of(name)) {
      const std::string problem = problem_of(each);
      if (!problem.empty())
        return Values{
            {"included", each}, {"file", file}, {"line", std::to_string(line)}, {"error", problem}};
      if (depth == kDeepest || read_error(each) != 0 || !no_file(each).empty()) continue;
      if (auto below = bad_include(each, problem_of, depth + 1)) return below;
    }
  }
  return std::nullopt;
}

// What the file includes by a variable or a pragma is not seen: a process of its own tries it.
bool report_endless(Examination& examination, const std::string& file) {
  auto endless = bad_include(file, why_endless);
  if (!endless) {
    const ChildResult result =
        run_forked([&] { (void)openssl_conf::load_file(file); }, {}, examination.patience);
    if (!result.problem.starts_with("no end")) return false;  // the parent sees what else there is
    endless = Values{{"where", file}, {"error", "reading it has " + result.problem}};
  } else {
    (*endless)["where"] =
        (*endless)["file"] + ":" + (*endless)["line"] + ": .include " + (*endless)["included"];
  }
  examination.add("include-hangs", std::move(*endless));
  return true;
}

bool add_lost_environment(Examination& examination) {
  for (const char* const name : {"OPENSSL_CONF", "PKCS11_PROVIDER_MODULE"}) {
    const char* const value = std::getenv(name);
    if (value != nullptr && *value != '\0' && ::secure_getenv(name) == nullptr) {
      examination.add("environment-ignored", {{"variable", name}, {"value", value}});
      return true;
    }
    const auto lost = lost_variable(name);
    if (!lost) continue;
    examination.add("environment-lost", {{"variable", name},
                                         {"value", lost->value},
                                         {"process", lost->process},
                                         {"way", lost->way}});
    return true;
  }
  return false;
}

// The other way out than to mend the name.
std::string another_conf(Examination& examination) {
  if (examination.invocation().has("openssl-conf")) return "leave --openssl-conf out";
  return "unset OPENSSL_CONF: then " + openssl_conf::system_default().path + " is read";
}

// Nobody is told that the system's file is not there: then nothing is configured.
void report_absence(Examination& examination, int error) {
  const std::string& file = examination.conf_file();
  const std::string system = openssl_conf::system_default().path;
  if (add_lost_environment(examination)) return;
  if (file == system || file.empty()) return;
  Values values = examination.conf_values();
  values["error"] = std::strerror(error);
  values["next"] = another_conf(examination);
  examination.add("conf-not-there", std::move(values));
}

}  // namespace

void probe_conf_file(Examination& examination) {
  const std::string& file = examination.conf_file();
  Values values = examination.conf_values();
  const int error = file.empty() ? ENOENT : read_error(file);
  if (error == ENOENT || error == ENOTDIR) {
    report_absence(examination, error);
    examination.set_conf(openssl_conf::load_text("", file));
    return;
  }
  values["error"] = error == 0 ? no_file(file) : "";
  // A directory OpenSSL takes for an empty file; for a FIFO it waits.
  if (!values["error"].empty()) {
    values["next"] = another_conf(examination);
    examination.add("conf-not-there", std::move(values));
    return;
  }
  if (error != 0) {
    values["error"] = std::strerror(error);
    values["user"] = user_text();
    values["owner"] = owner_text(file);
    examination.add("conf-unreadable", std::move(values));
    return;
  }
  if (report_endless(examination, file)) return;
  try {
    examination.set_conf(openssl_conf::load_file(file));
  } catch (const core::Error& failure) {
    values["error"] = failure.what();
    examination.add("conf-syntax", std::move(values));
    return;
  }
  const bool leads_to_us = examination.invocation().section().is_there();
  if (auto left_out = bad_include(file, why_left_out))
    examination.add(leads_to_us ? "include-left-out" : "include-not-there", std::move(*left_out));
  else if (!leads_to_us)
    add_lost_environment(examination);
}

}  // namespace hwid::tool::doctor
