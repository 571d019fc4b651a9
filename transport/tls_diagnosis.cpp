#include "transport/tls_diagnosis.h"

#include <hwid/transport_error.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "transport/certificate_text.h"
#include "transport/credentials.h"
#include "transport/ocsp_staple.h"
#include "transport/tls_verdict.h"

namespace hwid::transport {

namespace {

using Clock = std::chrono::steady_clock;

struct CauseFacts {
  const char* name;
  Cause cause;
  Side side;
};

constexpr CauseFacts kCauses[] = {
    {"none", Cause::none, Side::nobody},
    {"name_not_resolved", Cause::name_not_resolved, Side::network},
    {"no_tcp", Cause::no_tcp, Side::network},
    {"proxy_refused", Cause::proxy_refused, Side::network},
    {"not_tls", Cause::not_tls, Side::server},
    {"no_answer", Cause::no_answer, Side::server},
    {"own_settings", Cause::own_settings, Side::we},
    {"own_certificate_unusable", Cause::own_certificate_unusable, Side::we},
    {"own_certificate_expired", Cause::own_certificate_expired, Side::we},
    {"own_certificate_not_yet_valid", Cause::own_certificate_not_yet_valid, Side::we},
    {"own_key_unusable", Cause::own_key_unusable, Side::we},
    {"own_key_mismatch", Cause::own_key_mismatch, Side::we},
    {"server_unknown_ca", Cause::server_unknown_ca, Side::we},
    {"server_chain_incomplete", Cause::server_chain_incomplete, Side::we},
    {"server_certificate_expired", Cause::server_certificate_expired, Side::we},
    {"server_certificate_not_yet_valid", Cause::server_certificate_not_yet_valid, Side::we},
    {"server_certificate_revoked", Cause::server_certificate_revoked, Side::we},
    {"server_certificate_bad", Cause::server_certificate_bad, Side::we},
    {"server_name_mismatch", Cause::server_name_mismatch, Side::we},
    {"server_revocation_unknown", Cause::server_revocation_unknown, Side::we},
    {"client_unknown_ca", Cause::client_unknown_ca, Side::server},
    {"client_certificate_required", Cause::client_certificate_required, Side::server},
    {"client_certificate_expired", Cause::client_certificate_expired, Side::server},
    {"client_certificate_revoked", Cause::client_certificate_revoked, Side::server},
    {"client_certificate_bad", Cause::client_certificate_bad, Side::server},
    {"client_not_accepted", Cause::client_not_accepted, Side::server},
    {"protocol_version", Cause::protocol_version, Side::server},
    {"cipher_mismatch", Cause::cipher_mismatch, Side::server},
    {"alpn_mismatch", Cause::alpn_mismatch, Side::server},
    {"name_unknown", Cause::name_unknown, Side::server},
    {"closed", Cause::closed, Side::server},
    {"other", Cause::other, Side::server},
};

const CauseFacts& facts_of(Cause cause) {
  for (const auto& facts : kCauses)
    if (facts.cause == cause) return facts;
  return kCauses[0];
}

Diagnosis tcp_verdict(const TcpConnection& connection, const Proxy& proxy) {
  const std::string who = connection.reached_for;
  switch (connection.result) {
    case TcpResult::connected:
      return {};
    case TcpResult::name_not_resolved:
      return {Cause::name_not_resolved, "the name of " + who + " does not resolve", connection.why,
              std::string("check the spelling of ") + (proxy.used() ? "proxy" : "the endpoint") +
                  ", and the DNS"};
    case TcpResult::no_connection:
      return {Cause::no_tcp, "no TCP connection to " + who, connection.why,
              proxy.used() ? "check proxy, and that the proxy runs"
                           : "check host, port and firewall, and that the broker runs"};
    case TcpResult::proxy_refused:
      break;
  }
  // tinyproxy answers 401 to a wrong password, where RFC 9110 has 407.
  const bool password = connection.why.find(" 407") != std::string::npos ||
                        connection.why.find(" 401") != std::string::npos;
  const char* const give = proxy.user_info.empty()
                               ? "give user and password: proxy = http://USER:PASSWORD@HOST:PORT"
                               : "check user and password in proxy";
  return {Cause::proxy_refused, who + " opens no tunnel", connection.why,
          password ? give : "check that the proxy allows CONNECT to this host and port"};
}

Diagnosis handshake_verdict(const TlsSettings& settings, TlsClient& client,
                            TlsClient::Result result, bool after_handshake) {
  const TlsEvents& events = client.events();
  const int level = client.ssl() != nullptr ? SSL_get_security_level(client.ssl()) : 0;
  if (Diagnosis version = version_verdict(events, level); !version.good()) return version;
  if (events.verify_error != 0) return verify_verdict(settings, events);
  if (events.alert_received > 0) return alert_verdict(settings, events);
  if (result == TlsClient::Result::no_time)
    return {Cause::no_answer,
            events.server_spoke ? "no end of the TLS handshake in time"
                                : "the server accepts the connection, but does not answer",
            "", "check that this port speaks TLS, that the server is well, and the firewall"};
  return failure_verdict(settings, events, after_handshake);
}

Diagnosis staple_verdict(const TlsSettings& settings, const TlsClient& client) {
  const StapleVerdict verdict = judge_staple(client, settings.ocsp);
  if (verdict.kind == StapleVerdict::good) return {};
  const X509Ptr certificate(SSL_get1_peer_certificate(client.ssl()));
  const std::string evidence = "the server's certificate " + subject_of(certificate.get()) +
                               ", serial " + serial_of(certificate.get());
  if (verdict.kind == StapleVerdict::revoked)
    return {Cause::server_certificate_revoked,
            "the server's certificate is revoked: " + verdict.why, evidence,
            "do not connect; tell whoever runs the server"};
  return {Cause::server_revocation_unknown,
          "nobody says that the server's certificate is not revoked: " + verdict.why, evidence,
          "check the clock, and the OCSP stapling of the server; ocsp = no goes without"};
}

}  // namespace

const char* name_of(Cause cause) { return facts_of(cause).name; }

Side side_of(Cause cause) { return facts_of(cause).side; }

Diagnosis diagnose(const TlsSettings& settings, const DiagnosisOptions& options) {
  const auto deadline = Clock::now() + options.timeout;
  if (Diagnosis own = own_certificate_verdict(settings); !own.good()) return own;
  TlsClient client(settings);
  if (client.failed_at() != TlsClient::Step::ready)
    return set_up_verdict(settings, client.failed_at());

  const TcpConnection connection =
      connect_tcp(settings.endpoint, settings.proxy, deadline, settings.addresses);
  if (connection.result != TcpResult::connected) return tcp_verdict(connection, settings.proxy);

  const auto connected = client.handshake(connection.socket, deadline);
  if (connected != TlsClient::Result::done)
    return handshake_verdict(settings, client, connected, false);
  if (Diagnosis staple = staple_verdict(settings, client); !staple.good()) return staple;
  if (options.listen.count() == 0) return {};
  const auto read = client.read(std::min(deadline, Clock::now() + options.listen));
  return read == TlsClient::Result::failed ? handshake_verdict(settings, client, read, true)
                                           : Diagnosis{};
}

Diagnosis diagnose_tcp(const Endpoint& endpoint, const Proxy& proxy, Addresses addresses,
                       const DiagnosisOptions& options) {
  const auto deadline = Clock::now() + options.timeout;
  return tcp_verdict(connect_tcp(endpoint, proxy, deadline, addresses), proxy);
}

Diagnosis diagnose_key_pair(const TlsSettings& settings) {
  const auto step = TlsClient::try_credentials(settings);
  return step == TlsClient::Step::ready ? Diagnosis{} : set_up_verdict(settings, step);
}

Diagnosis diagnose_credentials(const DeviceConfig& config) {
  const auto unusable = [](Cause cause, const Error& error) {
    return Diagnosis{cause, error.what(), "", ""};
  };
  try {
    DeviceConfig only_certificate = config;
    only_certificate.key.clear();
    Credentials::load(only_certificate);
  } catch (const Error& error) {
    return unusable(Cause::own_certificate_unusable, error);
  }
  try {
    const Credentials credentials = Credentials::load(config);
    TlsSettings settings;
    settings.cert_path = credentials.cert_path();
    settings.cert_name = printable_uri(config.cert);
    settings.key_path = credentials.key_path();
    settings.key_name = printable_uri(config.key);
    Diagnosis own = own_certificate_verdict(settings);
    if (!own.good()) return own;
    return diagnose_key_pair(settings);
  } catch (const Error& error) {
    return unusable(Cause::own_key_unusable, error);
  }
}

}  // namespace hwid::transport
