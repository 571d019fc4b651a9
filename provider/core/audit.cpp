#include "provider/core/audit.h"

#include <sys/un.h>

#include <algorithm>

#include "provider/core/audit_file.h"
#include "provider/core/audit_syslog.h"

namespace hwid::core {

AuditSetting AuditSetting::parse(std::string_view text) {
  constexpr std::string_view kSyslog = "syslog";
  constexpr std::string_view kFile = "file:";
  const std::string_view after = text.substr(std::min(text.size(), kSyslog.size()));
  if (text.empty() || text == "off") return {};
  if (text == kSyslog) return {Sink::kSyslog, kSyslogSocket};
  if (text.starts_with(kFile) && text.substr(kFile.size()).starts_with('/'))
    return {Sink::kFile, std::string(text.substr(kFile.size()))};
  if (text.starts_with(kSyslog) && after.starts_with(":/") &&
      after.size() <= sizeof(sockaddr_un::sun_path))
    return {Sink::kSyslog, std::string(after.substr(1))};
  throw Error(Reason::kBadConfiguration,
              "openssl.cnf: audit = " + std::string(text) +
                  ": not an audit trail, and no key is used without the one that was meant; write "
                  "off, syslog, syslog:/PATH (of a socket) or file:/PATH");
}

std::unique_ptr<AuditSink> make_audit_sink(const AuditSetting& setting, const Log& log) {
  switch (setting.sink) {
    case AuditSetting::Sink::kSyslog:
      return std::make_unique<AuditSyslog>(setting.path, log);
    case AuditSetting::Sink::kFile:
      return std::make_unique<AuditFile>(setting.path, log);
    default:
      return nullptr;
  }
}

std::string_view audit_result(const Error& error) noexcept {
  return error.code.empty() ? std::string_view(reason_text(error.reason)) : error.code;
}

}  // namespace hwid::core
