// device.conf, and the names of keys in it and in the options.
#include <hwid/transport_error.h>

#include <cstring>
#include <filesystem>

#include "provider/core/error.h"
#include "provider/core/uri.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/key_target.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

// Nothing of it was read.
std::string file_fault(const std::string& file) {
  if (const int error = read_error(file); error != 0)
    return "open " + file + ": " + std::strerror(error) + "; this is " + user_text();
  const std::string kind = no_file(file);
  return kind.empty() ? "" : "open " + file + ": " + kind;
}

// "PLACE: the key 'KEY' is not known": the one that was meant.
std::string next_for(const std::string& error) {
  const std::size_t end = error.find("' is not known");
  if (end == std::string::npos) return "correct that line as the message says";
  const std::size_t begin = error.rfind('\'', end - 1) + 1;
  const std::string written = error.substr(begin, end - begin);
  const auto near = openssl_conf::nearest(written, transport::DeviceConfig::keys());
  return near ? "write `" + *near + "`"
              : "correct its spelling, or remove it; hwid-device.conf(5) has all";
}

void take(std::string& target, const std::string& value) {
  if (target.empty()) target = value;
}

void read_device_conf(Examination& examination, const std::string& file) {
  if (const std::string fault = file_fault(file); !fault.empty()) {
    examination.add("device-conf-unreadable", {{"error", fault}});
    return;
  }
  try {
    examination.device = transport::DeviceConfig::read(file);
  } catch (const transport::Error& error) {
    examination.add("device-conf-wrong",
                    {{"device", file}, {"error", error.what()}, {"next", next_for(error.what())}});
    return;
  }
  take(examination.key, examination.device->key);
  take(examination.certificate, examination.device->cert);
  take(examination.authority, examination.device->ca_file);
  take(examination.endpoint, examination.device->endpoint);
}

void check_uri(Examination& examination, const std::string& uri) {
  std::string shown;
  try {
    shown = core::KeyUri::parse(uri).text();
  } catch (const core::Error& error) {
    examination.add("uri-wrong", {{"error", error.what()}});
    return;
  }
  if (unshadowed(uri) == uri || !file_exists(uri)) return;
  std::error_code none;
  examination.add("uri-shadowed", {{"uri", shown},
                                   {"better", unshadowed(shown)},
                                   {"directory", std::filesystem::current_path(none).string()}});
}

}  // namespace

void probe_uris(Examination& examination) {
  const std::string file = examination.invocation().text("config");
  if (!file.empty() && examination.greengrass_file.empty()) read_device_conf(examination, file);
  for (const std::string* const uri : {&examination.key, &examination.certificate}) {
    if (!uri->empty() && is_key_uri(*uri)) check_uri(examination, *uri);
  }
  if (!examination.is_silenced(Probe::kKey)) follow_key(examination);
}

}  // namespace hwid::tool::doctor
