#include <string>
#include <string_view>

#include "tools/hwid/status/report.h"

namespace hwid::tool::status {
namespace {

struct Family {
  std::string_view name;
  std::string_view help;  // no backslash, no newline
};
constexpr Family kFamilies[] = {
    {"hwid_certificate_not_after_timestamp_seconds", "When the certificate ends."},
    {"hwid_crl_next_update_timestamp_seconds", "When the next CRL comes at the latest."},
    {"hwid_renewal_due_timestamp_seconds", "When the certificate is renewed."},
    {"hwid_renewal_failures", "Renewals that failed since the last one that succeeded."},
    {"hwid_renewal_hook_failed",
     "Whether a hook has failed or was interrupted, so that a program may use an old certificate."},
    {"hwid_certificates_to_deactivate", "Certificates of AWS that nothing uses any more."},
    {"hwid_token_pin_state",
     "Tries that the user PIN has left: 0 all, 1 it was wrong since it was last right, 2 one, 3 "
     "none (locked)."},
    {"hwid_pin_age_seconds", "Since when the user PIN is the same."},
    {"hwid_tpm_lockout_failures", "Failures that count against the TPM's lockout."},
    {"hwid_tpm_lockout_max", "Failures at which the TPM takes no auth value any more."},
    {"hwid_clock_synchronized", "Whether the kernel's clock is synchronized."},
    {"hwid_check_state", "What hwid status says: 0 ok, 1 warning, 2 critical."},
    {"hwid_status_timestamp_seconds", "When hwid status wrote this."}};

int number_of(State state) {
  return state == State::kCritical ? 2 : state == State::kWarning ? 1 : 0;
}

// The format's three escapes; what else a label must not hold (bytes that are no UTF-8), and what
// would play with a terminal, are escaped as everywhere.
std::string escaped(const std::string& value) {
  std::string text;
  for (const char character : printable(value)) {
    if (character == '\\' || character == '"') text += '\\';
    text += character;
  }
  return text;
}

std::string line_of(const Sample& sample) {
  std::string line = sample.metric;
  const char* separator = "{";
  for (const auto& [name, value] : sample.labels) {
    line.append(separator).append(name).append("=\"").append(escaped(value)).append("\"");
    separator = ",";
  }
  if (!sample.labels.empty()) line += "}";
  return line + " " + std::to_string(sample.value) + "\n";
}

}  // namespace

std::string prometheus_text(const Report& report, std::time_t now) {
  std::vector<Sample> samples = report.samples();
  for (const Check& check : report.checks()) {
    if (check.state != State::kUnknown)
      samples.push_back({"hwid_check_state",
                         {{"check", check.check}, {"subject", check.subject}},
                         number_of(check.state)});
  }
  samples.push_back({"hwid_status_timestamp_seconds", {}, static_cast<std::int64_t>(now)});
  std::string text;
  for (const Family& family : kFamilies) {
    std::string lines;
    for (const Sample& sample : samples) {
      if (sample.metric == family.name) lines += line_of(sample);
    }
    if (lines.empty()) continue;
    text.append("# HELP ").append(family.name).append(" ").append(family.help);
    text.append("\n# TYPE ").append(family.name).append(" gauge\n").append(lines);
  }
  return text;
}

}  // namespace hwid::tool::status
