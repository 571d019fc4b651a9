// What can be wrong with certificates, the network, TLS and MQTT.
#include "tools/hwid/doctor/network_causes.h"

#include <algorithm>

#include "tools/hwid/doctor/cause_rows.h"

namespace hwid::tool::doctor {
namespace {

constexpr Probes kNothing;
constexpr Probes kFromCertificate = Probes::from(Probe::kCertificate);
// What needs a good certificate, or a good CA: not each other, nor what AWS lets the device do.
constexpr Probes kWithCertificate = {Probe::kCertificate, Probe::kNetwork, Probe::kTls,
                                     Probe::kMqtt};
constexpr Probes kWithTrust = {Probe::kTrust, Probe::kNetwork, Probe::kTls, Probe::kMqtt};
constexpr Probes kFromNetwork = Probes::from(Probe::kNetwork);
constexpr Probes kFromTls = Probes::from(Probe::kTls);
constexpr Probes kFromMqtt = Probes::from(Probe::kMqtt);
constexpr auto kBroken = Weight::kBroken;

constexpr char kSeen[] = "{endpoint}: {evidence}";

constexpr Cause kRows[] = {
    {"certificate-unusable", Probe::kCertificate, kBroken, "The certificate cannot be used",
     "{certificate}: {evidence}",
     "write the device's certificate there, as PEM; `hwid csr` and the CA make one",
     kWithCertificate},
    {"certificate-of-other-key", Probe::kCertificate, kBroken,
     "The certificate is one of another key", "{certificate}: {evidence}; the key is {key}",
     "name the key that it was made for, or have one issued for this key: `hwid csr`",
     kWithCertificate},
    {"certificate-not-first", Probe::kCertificate, kBroken,
     "The key's certificate is not the first in its file", "{certificate}: {evidence}",
     "put the device's own certificate first, then the one that issued it, and so on",
     kWithCertificate},
    {"clock-wrong", Probe::kCertificate, kBroken, "The clock of this machine is wrong",
     "{evidence}",
     "set it: `date -s`, and start time synchronization (systemd-timesyncd, chrony); a battery "
     "keeps "
     "it without power",
     kFromCertificate},
    {"certificate-not-yet-valid", Probe::kCertificate, kBroken,
     "The certificate is not valid yet, or the clock of this machine is wrong",
     "{certificate}: {subject}, {evidence}",
     "set the clock, and start time synchronization (systemd-timesyncd, chrony); or wait",
     kWithCertificate},
    {"certificate-expired", Probe::kCertificate, kBroken, "The certificate has ended",
     "{certificate}: {subject}, {evidence}",
     "have a new one issued for the same key: `hwid csr`; where the clock is wrong, set it",
     kWithCertificate},
    {"certificate-not-for-clients", Probe::kCertificate, kBroken,
     "The certificate is not one for TLS clients", "{certificate}: {evidence}",
     "have one issued with clientAuth: `hwid csr --usage client`, `hwid ca sign --profile client`",
     kWithCertificate},
    {"certificate-weak", Probe::kCertificate, kBroken,
     "The certificate is too weak for OpenSSL's security level", "{certificate}: {evidence}",
     "have one issued for a stronger key (RSA 2048, EC P-256) and with SHA-256", kWithCertificate},

    {"ca-unusable", Probe::kTrust, kBroken, "The file of the server's CA cannot be used",
     "{authority}: {evidence}",
     "write the certificate of the server's CA there, as PEM (ca-file; AWS: AmazonRootCA1.pem)",
     kWithTrust},
    {"ca-is-none", Probe::kTrust, kBroken, "The file of the server's CA holds no CA",
     "{authority}: {evidence}",
     "write the certificate of the CA that issued the server's there, not the server's or device's "
     "own",
     kWithTrust},
    {"ca-expired", Probe::kTrust, kBroken, "The server's CA has ended, or is not valid yet",
     "{authority}: {evidence}", "get the CA's new certificate; where the clock is wrong, set it",
     kWithTrust},

    {"endpoint-wrong", Probe::kNetwork, kBroken, "The endpoint cannot be used so", "{evidence}",
     "do as the message says; hwid-device.conf(5) has all settings", kFromNetwork},
    {"name-not-resolved", Probe::kNetwork, kBroken, "The server's name does not resolve", kSeen,
     "correct the endpoint's name; see that there is a network and DNS: `getent hosts NAME`",
     kFromNetwork},
    {"no-tcp", Probe::kNetwork, kBroken, "Nothing answers at the server's port", kSeen,
     "correct host and port (8883: MQTT over TLS; 443: web sockets, HTTPS); see that the server "
     "runs and the firewall lets you out; where a proxy is needed, write `proxy`",
     kFromNetwork},
    {"proxy-refused", Probe::kNetwork, kBroken, "The proxy makes no tunnel", kSeen,
     "correct `proxy`: http://USER:PASSWORD@HOST:PORT; the proxy must allow CONNECT to this host "
     "and "
     "port",
     kFromNetwork},

    {"not-tls", Probe::kTls, kBroken, "What answers does not speak TLS", kSeen,
     "take the port of TLS: 8883, where 1883 is MQTT without", kFromTls},
    {"no-answer", Probe::kTls, kBroken, "The server takes the connection and says nothing", kSeen,
     "see that the port speaks TLS, that the server is well, and that no firewall is between",
     kFromTls},
    {"own-settings", Probe::kTls, kBroken, "libssl does not take the settings", kSeen, "{next}",
     kFromTls},
    {"own-key-unusable", Probe::kTls, kBroken, "The key cannot be used for TLS", kSeen, "{next}",
     kFromTls},
    {"key-cannot-pss", Probe::kTls, kBroken, "The key cannot sign as TLS 1.3 wants it (RSA-PSS)",
     kSeen,
     "let TLS 1.2 do: `MaxProtocol = TLSv1.2` in the ssl_conf section of openssl.cnf; or use a key "
     "of EC P-256",
     kFromTls},
    {"server-unknown-ca", Probe::kTls, kBroken, "The server's certificate is of another CA", kSeen,
     "write the certificate of the server's CA into {authority} (ca-file); see that the endpoint "
     "is "
     "the right server",
     kFromTls},
    {"server-chain-incomplete", Probe::kTls, kBroken,
     "The server sends its certificate without the one that issued it", kSeen,
     "have the server send its chain; or add the intermediate certificate to {authority} (ca-file)",
     kFromTls},
    {"server-certificate-expired", Probe::kTls, kBroken, "The server's certificate has ended",
     kSeen, "set the clock if it is wrong; else whoever runs the server must renew it", kFromTls},
    {"server-certificate-not-yet-valid", Probe::kTls, kBroken,
     "The server's certificate is not valid yet by this machine's clock", kSeen,
     "set the clock, and start time synchronization (systemd-timesyncd, chrony)", kFromTls},
    {"server-certificate-revoked", Probe::kTls, kBroken, "The server's certificate was revoked",
     kSeen, "do not connect; tell whoever runs the server", kFromTls},
    {"server-certificate-bad", Probe::kTls, kBroken, "The server's certificate does not verify",
     kSeen, "tell whoever runs the server", kFromTls},
    {"server-name-mismatch", Probe::kTls, kBroken,
     "The server's certificate is not for the name in the endpoint", kSeen,
     "write a name that it has into `endpoint`", kFromTls},
    {"server-revocation-unknown", Probe::kTls, kBroken,
     "Nobody says whether the server's certificate was revoked", kSeen, "{next}", kFromTls},
    {"certificate-self-signed", Probe::kTls, kBroken,
     "The server does not take a certificate that is signed by its own key", kSeen,
     "have one issued by a CA that the server knows: `hwid csr`; or register this one there",
     kFromTls},
    {"certificate-alone", Probe::kTls, kBroken,
     "The server does not know who issued the certificate, and it comes alone", kSeen,
     "where an intermediate CA issued it: append that CA's certificate to {certificate}; else give "
     "the server the CA",
     kFromTls},
    {"certificate-alone-on-token", Probe::kTls, kBroken,
     "The server does not know who issued the certificate, and it comes alone from its token",
     kSeen,
     "where an intermediate CA issued it: write it into a file (`hwid export URI --out FILE`), "
     "that "
     "CA's certificate behind it, and name the file: `cert = FILE`; else give the server the CA",
     kFromTls},
    {"client-unknown-ca", Probe::kTls, kBroken, "The server does not know the certificate's CA",
     kSeen, "give the server this CA, or have a certificate issued by one that it knows", kFromTls},
    {"client-certificate-required", Probe::kTls, kBroken,
     "The server wants a certificate, and got none", kSeen, "write `cert` and `key`", kFromTls},
    {"client-certificate-expired", Probe::kTls, kBroken,
     "The server says that the certificate has ended", kSeen,
     "renew it; if it is good by this clock, compare the server's", kFromTls},
    {"client-certificate-revoked", Probe::kTls, kBroken,
     "The server says that the certificate was revoked", kSeen,
     "find out why; then have a new one issued: `hwid csr`", kFromTls},
    {"client-certificate-bad", Probe::kTls, kBroken, "The server refuses the certificate", kSeen,
     "{next}", kFromTls},
    {"client-not-accepted", Probe::kTls, kBroken,
     "The server closes after it has seen the certificate", kSeen,
     "register the certificate there, and activate it (AWS: the certificate is ACTIVE, and has a "
     "policy with iot:Connect; Azure: the device is enabled)",
     kFromTls},
    {"protocol-version", Probe::kTls, kBroken, "The server has no TLS version in common with us",
     kSeen,
     "compare MinProtocol and MaxProtocol in the ssl_conf section of openssl.cnf, and min-tls, "
     "with "
     "the server's; one that has nothing from TLS 1.2 on must be brought up to date",
     kFromTls},
    {"cipher-mismatch", Probe::kTls, kBroken, "The server has no cipher in common with us", kSeen,
     "compare `ciphers`, and Ciphersuites and Groups in openssl.cnf, with the server's", kFromTls},
    {"alpn-mismatch", Probe::kTls, kBroken, "The server takes none of the ALPN names", kSeen,
     "correct `alpn`: AWS on port 443 wants x-amzn-mqtt-ca; others mostly none", kFromTls},
    {"name-unknown-to-server", Probe::kTls, kBroken,
     "The server does not know the name that it is asked for (SNI)", kSeen,
     "write the server's own name into `endpoint`, not an address or alias", kFromTls},
    {"closed", Probe::kTls, kBroken, "The server closes the connection without a reason", kSeen,
     "look into the server's log", kFromTls},
    {"tls-fails", Probe::kTls, kBroken, "The TLS handshake fails", kSeen, "{next}", kFromTls},

    {"mqtt-closed", Probe::kMqtt, kBroken,
     "The broker closes the connection instead of letting the device in", kSeen,
     "the certificate may not connect as {client}: correct client-id; AWS: the policy must have "
     "iot:Connect on client/{client}, and the certificate must be ACTIVE",
     kFromMqtt},
    {"mqtt-no-answer", Probe::kMqtt, kBroken, "The broker does not answer", kSeen,
     "see that the port speaks MQTT (443: web sockets, wss://), and that the broker is well",
     kFromMqtt},
    {"mqtt-version", Probe::kMqtt, kBroken, "The broker does not speak this version of MQTT", kSeen,
     "write mqtt-version = 3.1.1", kFromMqtt},
    {"mqtt-client-id", Probe::kMqtt, kBroken, "The broker does not take the client id", kSeen,
     "correct client-id, which is {client}", kFromMqtt},
    {"mqtt-unavailable", Probe::kMqtt, kBroken, "The broker is not available now", kSeen,
     "try again later; look into the broker's log, and at its quotas", kFromMqtt},
    {"mqtt-password", Probe::kMqtt, kBroken, "The broker wants another user name or password",
     kSeen,
     "have the broker take the certificate instead (mosquitto: use_identity_as_username); Azure: "
     "write profile = azure",
     kFromMqtt},
    {"mqtt-not-authorized", Probe::kMqtt, kBroken, "The broker does not let the device in", kSeen,
     "allow client {client} with this certificate; AWS: iot:Connect on client/{client}", kFromMqtt},
    {"mqtt-refused", Probe::kMqtt, kBroken, "The broker refuses the connection", kSeen,
     "look into the broker's log", kFromMqtt},
    {"mqtt-client-id-taken", Probe::kMqtt, kBroken, "Another connection uses the client id", kSeen,
     "give each device a client-id of its own; where it is this device's own program, stop that "
     "first",
     kFromMqtt},
    {"mqtt-subscribe-refused", Probe::kMqtt, kBroken,
     "The broker does not let the device subscribe to its topic", kSeen,
     "allow it to read {filter}; AWS: iot:Subscribe on topicfilter/{filter} (not topic/), and "
     "iot:Receive on topic/{filter}, without which messages never come",
     kFromMqtt},

    {"doctor-stops", Probe::kDoctor, kBroken, "The doctor itself crashes or hangs",
     "{step}, in a process of its own: {error}",
     "tell us, with the last lines that HWID_LOG=debug:stderr shows; what was found before it is "
     "true",
     kNothing}};

struct Named {
  transport::Cause cause;
  const char* id;
};
// All others have the name of the cause, with hyphens.
constexpr Named kNamed[] = {
    {transport::Cause::own_certificate_unusable, "certificate-unusable"},
    {transport::Cause::own_certificate_expired, "certificate-expired"},
    {transport::Cause::own_certificate_not_yet_valid, "certificate-not-yet-valid"},
    {transport::Cause::own_key_mismatch, "certificate-of-other-key"},
    {transport::Cause::name_unknown, "name-unknown-to-server"},
    {transport::Cause::other, "tls-fails"}};

bool is_name_of(const char* id, const char* name) noexcept {
  for (; *id != '\0' && *name != '\0'; ++id, ++name) {
    if (*id != (*name == '_' ? '-' : *name)) return false;
  }
  return *id == *name;
}

}  // namespace

std::span<const Cause> network_causes() noexcept { return kRows; }

const char* id_of_diagnosis(transport::Cause cause) noexcept {
  const auto* const named = std::ranges::find(kNamed, cause, &Named::cause);
  if (named != std::end(kNamed)) return named->id;
  const char* const name = transport::name_of(cause);
  const auto* const row =
      std::ranges::find_if(kRows, [name](const Cause& row) { return is_name_of(row.id, name); });
  return row != std::end(kRows) ? row->id : "tls-fails";
}

const char* id_of_fault(MqttFault fault) noexcept {
  switch (fault) {
    case MqttFault::kClosed:
      return "mqtt-closed";
    case MqttFault::kVersion:
      return "mqtt-version";
    case MqttFault::kClientId:
      return "mqtt-client-id";
    case MqttFault::kUnavailable:
      return "mqtt-unavailable";
    case MqttFault::kPassword:
      return "mqtt-password";
    case MqttFault::kNotAuthorized:
      return "mqtt-not-authorized";
    case MqttFault::kTaken:
      return "mqtt-client-id-taken";
    case MqttFault::kSubscribeRefused:
      return "mqtt-subscribe-refused";
    case MqttFault::kNoAnswer:
      return "mqtt-no-answer";
    case MqttFault::kNone:
    case MqttFault::kRefused:
      break;
  }
  return "mqtt-refused";
}

}  // namespace hwid::tool::doctor
