// hwid status: what will fail soon, for people, monitoring and cron.
#include <hwid/device_config.h>
#include <hwid/transport_error.h>

#include <ctime>
#include <iostream>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/status/certificates.h"
#include "tools/hwid/status/clock.h"
#include "tools/hwid/status/credentials.h"
#include "tools/hwid/status/report.h"
#include "tools/hwid/status/tokens.h"
#include "tools/hwid/time_words.h"

namespace hwid::tool {
namespace {

using status::Report;
using status::State;
using Texts = std::vector<std::string>;

constexpr std::uint32_t kWarnDays = 30;
constexpr std::uint32_t kCriticalDays = 7;
constexpr std::uint32_t kMostDays = 36500;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"),
      "a device.conf: its cert, ca-file and crl-file, and what is kept in its state-dir, are "
      "looked "
      "at");
  add("cert", po::value<Texts>()->value_name("FILE|URI")->composing(),
      "a certificate more; may be given several times");
  add("crl", po::value<Texts>()->value_name("FILE")->composing(),
      "a CRL more; may be given several times");
  add("warn-days", po::value<std::uint32_t>()->value_name("N"),
      "before a certificate ends (default: 30, or a quarter of its life if that is less)");
  add("critical-days", po::value<std::uint32_t>()->value_name("N"),
      "before a certificate ends (default: 7, or an eighth of its life if that is less)");
  add("pin-max-age", po::value<std::string>()->value_name("TIME"),
      "warn of older PINs: 90d (default: their age is told only)");
  add("fail-on", po::value<std::string>()->value_name("STATE"),
      "exit with 1 from that state on: warning or critical (default: warning)");
  add("prometheus", po::value<std::string>()->value_name("FILE"),
      "write metrics for node_exporter's textfile collector (its directory wants FILE to end in "
      ".prom); - prints them instead of the answer");
}

struct Settings {
  status::Limits limits;
  std::optional<std::chrono::seconds> pin_max_age;
  State fail_on = State::kWarning;
  std::string prometheus;
};

std::uint32_t days_option(const Invocation& invocation, const char* option, std::uint32_t usual) {
  const std::uint32_t days = invocation.value<std::uint32_t>(option).value_or(usual);
  if (days > kMostDays)
    throw UsageError(std::string("--") + option + ": at most " + std::to_string(kMostDays));
  return days;
}

Settings read_settings(const Invocation& invocation) {
  if (invocation.has("pin-source"))
    throw UsageError("--pin-source: status logs in nowhere; leave it out");
  const auto warning = days_option(invocation, "warn-days", kWarnDays);
  const auto critical = invocation.has("critical-days") || warning > kCriticalDays
                            ? days_option(invocation, "critical-days", kCriticalDays)
                            : warning;
  if (critical > warning) throw UsageError("--critical-days: more than --warn-days");
  Settings settings;
  settings.limits = {std::chrono::hours(24) * warning, std::chrono::hours(24) * critical,
                     invocation.has("warn-days"), invocation.has("critical-days")};
  if (invocation.has("pin-max-age"))
    settings.pin_max_age = parse_duration("pin-max-age", invocation.text("pin-max-age"));
  const std::string fail_on = invocation.text("fail-on");
  if (fail_on == "critical")
    settings.fail_on = State::kCritical;
  else if (!fail_on.empty() && fail_on != "warning")
    throw UsageError("--fail-on: warning or critical is expected");
  settings.prometheus = invocation.text("prometheus");
  if (settings.prometheus == "-" && invocation.flag("json"))
    throw UsageError("--prometheus -, --json: one of them has the standard output");
  if (!settings.prometheus.empty() && settings.prometheus != "-")
    require_writable(settings.prometheus, Existing::kReplace);
  return settings;
}

// What device.conf and the options name.
struct Named {
  Texts certificates;
  Texts crls;
  transport::DeviceConfig device;
};

Named named(const Invocation& invocation) {
  Named all;
  if (invocation.has("config")) {
    const auto config = transport::DeviceConfig::read(invocation.text("config"));
    for (const std::string& place : {config.cert, config.ca_file}) {
      if (!place.empty()) all.certificates.push_back(place);
    }
    if (!config.crl_file.empty()) all.crls.push_back(config.crl_file);
    all.device = config;
  }
  for (const std::string& place : invocation.value<Texts>("cert").value_or(Texts()))
    all.certificates.push_back(place);
  for (const std::string& file : invocation.value<Texts>("crl").value_or(Texts()))
    all.crls.push_back(file);
  return all;
}

// An openssl.cnf that cannot be used hides nothing else.
void check_tokens(Invocation& invocation, const Settings& settings, std::time_t now,
                  status::Certificates& certificates, Report& report) {
  try {
    const std::string& file = invocation.location().path;
    if (!invocation.section().is_there()) {
      const bool no_file = !file.empty() && !file_exists(file);
      report.add({"configuration", file, file, State::kUnknown, nullptr,
                  std::string(no_file ? "it is not there" : "it does not load hwid") +
                      ", so no token is looked at",
                  no_file ? "name one that is there: OPENSSL_CONF, --openssl-conf"
                          : "`hwid enable` adds it"});
      return;
    }
    const auto inventory = invocation.router_without_login().inventory();
    const core::Config& config = invocation.config();
    status::check_presence(inventory, config, report);
    for (const core::TokenInfo& token : status::usable(inventory)) {
      status::check_pin(token, report);
      status::check_pin_age(token, config, settings.pin_max_age, now, report);
      certificates.look_at(token);
    }
  } catch (const core::Error& error) {
    const std::string& file = invocation.location().path;
    report.add({"configuration", file, file, State::kCritical, nullptr, error.what(), ""});
  }
}

Exit run(Invocation& invocation) {
  const Settings settings = read_settings(invocation);
  const Named all = named(invocation);
  const std::time_t now = std::time(nullptr);
  Report report;
  status::Certificates certificates(invocation, report, settings.limits, now);
  for (const std::string& place : all.certificates) certificates.look_at(place);
  for (const std::string& file : all.crls) certificates.look_at_crls(file);
  status::check_credentials(all.device, now, report);
  check_tokens(invocation, settings, now, certificates, report);
  status::check_clock(now, certificates.newest_begin(), report);

  Output& out = invocation.out();
  const std::string metrics = status::prometheus_text(report, now);
  if (settings.prometheus == "-") {
    std::cout << metrics;
  } else {
    if (!settings.prometheus.empty())
      write_file(settings.prometheus, metrics, 0644, Existing::kReplace);
    if (!out.json()) report.print(out);
    out.document(report.json());
  }
  return report.worst() >= settings.fail_on ? kAnswerIsNo : kGood;
}

}  // namespace

const Command kStatus = {
    "status",
    "[--config FILE] [--cert FILE|URI]... [--crl FILE]...",
    "what ends or fails soon: certificates, CRLs, PINs, TPM, clock",
    "Looks at the certificates and CRLs that device.conf and the options name, at the tokens of\n"
    "openssl.cnf and their certificates, and at the clock. Logs in nowhere, asks nothing and "
    "spends\n"
    "no try of a PIN, so it is fit for cron. States are ok, warning, critical, and unknown where "
    "a\n"
    "device does not tell. A CRL is due soon when a quarter of its time is left.",
    "  hwid status --config /etc/hwid/device.conf\n"
    "  hwid status --cert /etc/nginx/server.pem --warn-days 14 --fail-on critical\n"
    "  hwid status --pin-max-age 90d --json\n"
    "  hwid status --prometheus /var/lib/node_exporter/textfile/hwid.prom > /dev/null\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
