// hwid enroll: a first certificate for a key that stays where it is.
#include <openssl/crypto.h>

#include "provider/core/pin.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/renewal/renewal.h"
#include "tools/hwid/renewal/report.h"
#include "tools/hwid/x509/alt_names.h"
#include "tools/hwid/x509/name.h"
#include "transport/cloud/est_anchors.h"

namespace hwid::tool {
namespace {

void add_options(po::options_description& options) {
  renewal::add_common_options(options);
  auto add = options.add_options();
  add("subject", po::value<std::string>()->value_name("NAME")->required(),
      "\"/O=Example/CN=device-7\", or \"CN=device-7,O=Example\"; UTF-8");
  add("san", po::value<std::vector<std::string>>()->value_name("LIST"),
      "alternative names: DNS:host,IP:address,URI:uri,email:mailbox; may be given again");
  add("user", po::value<std::string>()->value_name("USER"), "the name for HTTP Basic");
  add("password-source", po::value<std::string>()->value_name("SOURCE"),
      "where its password is, as --pin-source");
  add("fingerprint", po::value<std::string>()->value_name("HEX"),
      "SHA-256 of the CA's certificate, from its operator: then nothing else is believed of the "
      "server");
  add("ca-file", po::value<std::string>()->value_name("FILE"),
      "the CA of the server's certificate (default: ca-file of device.conf, else the system's)");
}

renewal::Applicant applicant_of(Invocation& invocation, const transport::DeviceConfig& config) {
  renewal::Applicant applicant;
  applicant.subject = x509::parse_subject(invocation.text("subject"));
  const x509::AltNames names = x509::parse_alt_names(
      invocation.value<std::vector<std::string>>("san").value_or(std::vector<std::string>{}));
  applicant.extensions.add_alt_names(names.get(), false);
  applicant.user = invocation.text("user");
  applicant.cert = config.claim_cert;
  applicant.key = config.claim_key;
  if (invocation.has("password-source") == applicant.user.empty())
    throw UsageError("--user and --password-source belong together");
  if (applicant.user.find(':') != std::string::npos)
    throw UsageError("--user: HTTP Basic takes no colon in a name");
  return applicant;
}

std::string key_of(const Invocation& invocation, const transport::DeviceConfig& config) {
  std::string key = invocation.arguments().empty() ? config.key : invocation.arguments()[0];
  if (key.empty())
    throw UsageError("the key's URI is expected, here or as `key` of " + config.source);
  return key;
}

Exit run(Invocation& invocation) {
  renewal::Orders orders;
  orders.hooks = renewal::hooks_of(invocation);
  const auto config = enrol::read_device_conf(invocation);
  const std::string key = key_of(invocation, config);
  renewal::Applicant applicant = applicant_of(invocation, config);
  renewal::Trust trust;
  trust.ca_file = invocation.text("ca-file");
  if (invocation.has("fingerprint"))
    trust.fingerprint = transport::est::parse_fingerprint(invocation.text("fingerprint"));
  if (!trust.fingerprint.empty() && !trust.ca_file.empty())
    throw UsageError("--fingerprint, --ca-file: the server is proved by one of them");
  if (!applicant.user.empty()) {
    const core::Secret password =
        core::read_pin_source(invocation.text("password-source"), invocation.log());
    applicant.password = transport::SecretText(
        reinterpret_cast<const char*>(password.reveal().data()), password.size());
  }
  renewal::Renewal renewal(invocation, config, renewal::place_of(invocation, config), orders);
  return renewal::print(invocation.out(), renewal.enroll(key, std::move(applicant), trust));
}

Exit run_group(Invocation&) { throw UsageError("est is expected"); }

}  // namespace

const Command kEnroll = {
    "enroll",
    "est [URI] [OPTION...]",
    "a certificate for a key that stays where it is: by EST",
    "What AWS and Azure want instead is `hwid provision`.",
    "  hwid enroll est hwid://device --config /etc/hwid/device.conf --subject /CN=device-7\n",
    0,
    2,
    nullptr,
    run_group};

const Command kEnrollEst = {
    "enroll est",
    "[URI] --config FILE --subject NAME [OPTION...]",
    "a certificate by EST (RFC 7030) for a key that stays where it is",
    "Asks the server of `est-url` in device.conf for a certificate for the key that URI (or `key` "
    "of\n"
    "device.conf) names. Who asks is shown by a password (--user), by the manufacturer's "
    "certificate\n"
    "(claim-cert and claim-key of device.conf), or both. The server is proved by the fingerprint "
    "of\n"
    "its CA, by --ca-file, by ca-file of device.conf, or by the system's CAs; what it then says of "
    "its\n"
    "CA is kept for renewals. Key reference and certificate come to lie in "
    "STATE-DIR/NAME/current,\n"
    "and learned.conf says so. Where there is a pair already, the new one is tried at `endpoint` "
    "first,\n"
    "or at the EST server where there is none. Where the CA wants time to decide, the same "
    "command\n"
    "asks again.",
    "  hwid enroll est hwid://device --config /etc/hwid/device.conf --subject /CN=device-7 \\\n"
    "      --user device-7 --password-source file:/run/password \\\n"
    "      --fingerprint 5F:0B:...:C2\n"
    "  hwid enroll est --config /etc/hwid/device.conf --subject CN=device-7,O=Example \\\n"
    "      --ca-file /etc/hwid/est-ca.pem\n",
    0,
    1,
    add_options,
    run};

}  // namespace hwid::tool
