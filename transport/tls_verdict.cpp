#include "transport/tls_verdict.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "transport/certificate_text.h"
#include "transport/tls_versions.h"

namespace hwid::transport {

namespace {

constexpr std::size_t kMostShown = 4;

std::string our_certificate(const TlsSettings& settings) {
  const auto chain = read_certificates(settings.cert_path);
  if (chain.empty()) return "our certificate " + settings.cert_name;
  return "our certificate " + subject_of(chain.front().get()) + ", serial " +
         serial_of(chain.front().get()) + ", issued by " + issuer_of(chain.front().get()) + ", " +
         dates_of(chain.front().get());
}

std::string whom_we_trust(const TlsSettings& settings) {
  std::string text;
  if (!settings.ca_file.empty()) {
    const auto trusted = read_certificates(settings.ca_file);
    for (std::size_t i = 0; i < trusted.size() && i < kMostShown; ++i)
      text += (i == 0 ? "" : " and ") + subject_of(trusted[i].get());
    if (trusted.size() > kMostShown) text += " and more";
    text = settings.ca_file + " has " + (text.empty() ? "none" : text);
  }
  if (!settings.ca_path.empty()) text += (text.empty() ? "" : ", and ") + settings.ca_path;
  return text.empty() ? "we trust the system's CA certificates" : "we trust whom " + text;
}

// Whether the server seems to keep an intermediate to itself: it sent its own certificate only, and
// the CA that signed it looks like one below a CA that we trust. By the certificate alone this
// cannot be told from a CA that is a stranger to us.
bool looks_incomplete(const TlsSettings& settings, const TlsEvents& events) {
  if (events.sent.size() != 1 || settings.ca_file.empty()) return false;
  X509* const own = events.sent.front().get();
  const X509_NAME* const issuer = X509_get_issuer_name(own);
  if (X509_NAME_cmp(X509_get_subject_name(own), issuer) == 0) return false;
  const GENERAL_NAMES* const above = X509_get0_authority_issuer(own);
  const std::string organization = name_part(issuer, NID_organizationName);
  for (const auto& trusted : read_certificates(settings.ca_file)) {
    const X509_NAME* const subject = X509_get_subject_name(trusted.get());
    if (X509_NAME_cmp(subject, issuer) == 0) return false;  // the same name, another key
    for (int i = 0; i < sk_GENERAL_NAME_num(above); ++i) {
      const GENERAL_NAME* const name = sk_GENERAL_NAME_value(above, i);
      if (name->type == GEN_DIRNAME && X509_NAME_cmp(name->d.directoryName, subject) == 0)
        return true;
    }
    if (!organization.empty() && organization == name_part(subject, NID_organizationName))
      return true;
  }
  return false;
}

Diagnosis untrusted(const TlsSettings& settings, const TlsEvents& events,
                    const std::string& reason) {
  std::string evidence = reason;
  for (std::size_t i = 0; i < events.sent.size() && i < kMostShown; ++i)
    evidence += (i == 0 ? "; the server sent " : ", and ") + subject_of(events.sent[i].get()) +
                " issued by " + issuer_of(events.sent[i].get());
  evidence += "; " + whom_we_trust(settings);
  if (looks_incomplete(settings, events))
    return {Cause::server_chain_incomplete,
            "the server sends its certificate without the intermediate that signed it", evidence,
            "have the server send its chain, or add the intermediate to ca-file"};
  return {Cause::server_unknown_ca, "we do not know the CA of the server's certificate", evidence,
          "check that ca-file has the CA of this server, and that the server sends its chain"};
}

struct AlertMeaning {
  int alert;
  Cause cause;
  const char* why;
  const char* next_step;
};

constexpr const char* kRegister =
    "check that this certificate is registered with the server, active, and has a policy";

constexpr AlertMeaning kAlerts[] = {
    {SSL3_AD_BAD_CERTIFICATE, Cause::client_certificate_bad,
     "the server refuses our certificate as bad",
     "compare the server's clock with the dates; else look into its log"},
    {SSL3_AD_UNSUPPORTED_CERTIFICATE, Cause::client_certificate_bad,
     "the server refuses the kind of our certificate",
     "give it the key usage digitalSignature and the extended key usage clientAuth"},
    {SSL3_AD_CERTIFICATE_REVOKED, Cause::client_certificate_revoked,
     "the server says that our certificate is revoked", "enrol the device for a new certificate"},
    {SSL3_AD_CERTIFICATE_EXPIRED, Cause::client_certificate_expired,
     "the server says that our certificate is expired",
     "renew the certificate; if it is valid by our clock, compare the server's"},
    {SSL3_AD_CERTIFICATE_UNKNOWN, Cause::client_not_accepted,
     "the server does not accept our certificate", kRegister},
    {TLS1_AD_ACCESS_DENIED, Cause::client_not_accepted, "the server does not let us in", kRegister},
    {TLS1_AD_UNKNOWN_CA, Cause::client_unknown_ca,
     "the server does not know the CA of our certificate",
     "give the server this CA, and send the chain: cert = our certificate, then intermediates"},
    {TLS1_AD_DECRYPT_ERROR, Cause::client_certificate_bad,
     "the server could not verify our signature",
     "check that key and certificate belong together, and the key's token"},
    {TLS13_AD_CERTIFICATE_REQUIRED, Cause::client_certificate_required,
     "the server wants a client certificate", "give cert and key"},
    {TLS1_AD_PROTOCOL_VERSION, Cause::protocol_version,
     "the server has no TLS version in common with us",
     "check MinProtocol and MaxProtocol in openssl.cnf, min-tls, and the server's versions"},
    {TLS1_AD_INSUFFICIENT_SECURITY, Cause::cipher_mismatch,
     "our ciphers are too weak for the server", "check ciphers, and openssl.cnf"},
    {TLS1_AD_NO_APPLICATION_PROTOCOL, Cause::alpn_mismatch,
     "the server takes none of our ALPN names", "check alpn, profile and port"},
    {TLS1_AD_UNRECOGNIZED_NAME, Cause::name_unknown,
     "the server does not know the name that we ask for", "check the host of the endpoint"},
};

std::string alert_text(int alert) {
  // OpenSSL 3.0 does not know the names of these.
  const char* const name = alert == TLS13_AD_CERTIFICATE_REQUIRED ? "certificate required"
                           : alert == TLS1_AD_NO_APPLICATION_PROTOCOL
                               ? "no application protocol"
                               : SSL_alert_desc_string_long(alert);
  return "TLS alert " + std::to_string(alert) + ", " + name;
}

Diagnosis no_common_cipher(const TlsSettings& settings, const std::string& evidence) {
  return {Cause::cipher_mismatch, "the server has no cipher, group or signature in common with us",
          evidence + (settings.ciphers.empty() ? "" : ", ciphers = " + settings.ciphers),
          "check ciphers, and Ciphersuites and Groups in openssl.cnf, against the server's"};
}

Diagnosis certificate_required(const std::string& evidence) {
  return {Cause::client_certificate_required, "the server wants a client certificate", evidence,
          "give cert and key"};
}

Diagnosis not_accepted(const TlsSettings& settings, const std::string& seen) {
  return {Cause::client_not_accepted,
          "the server closed the connection after our certificate: probably it is not registered "
          "there, or not active",
          seen + our_certificate(settings), kRegister};
}

bool one_of(int reason, std::initializer_list<int> reasons) {
  return std::find(reasons.begin(), reasons.end(), reason) != reasons.end();
}

// libssl's own reasons for giving up.
Diagnosis reason_verdict(const TlsSettings& settings, const TlsEvents& events) {
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  const std::string evidence = take_openssl_errors();
  if (one_of(reason, {SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_WRONG_SSL_VERSION, SSL_R_VERSION_TOO_LOW,
                      SSL_R_VERSION_TOO_HIGH, SSL_R_NO_PROTOCOLS_AVAILABLE}))
    return {Cause::protocol_version, "the server has no TLS version in common with us", evidence,
            "check MinProtocol and MaxProtocol in openssl.cnf, min-tls, and the server's versions"};
  if (one_of(reason, {SSL_R_WRONG_CIPHER_RETURNED, SSL_R_UNKNOWN_CIPHER_RETURNED,
                      SSL_R_DH_KEY_TOO_SMALL, SSL_R_BAD_DH_VALUE, SSL_R_NO_CIPHERS_AVAILABLE,
                      SSL_R_WRONG_SIGNATURE_TYPE, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,
                      SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_WRONG_CURVE}))
    return no_common_cipher(settings, evidence);
  if (!events.server_spoke)
    return {Cause::not_tls, "what answers on this port does not speak TLS", evidence,
            "check the port: 8883 is MQTT over TLS, 1883 is MQTT without, 443 is HTTPS"};
  // Nothing but our own signature makes libssl send this alert behind our certificate.
  if (events.certificate_sent && events.alert_sent == SSL_AD_INTERNAL_ERROR)
    return {Cause::own_key_unusable, "our key " + settings.key_name + " does not sign", evidence,
            "check the key's token, and the provider's configuration"};
  return {Cause::other, "the TLS handshake failed", evidence,
          "check versions and ciphers on both sides"};
}

}  // namespace

Diagnosis set_up_verdict(const TlsSettings& settings, TlsClient::Step failed_at) {
  const unsigned long error = ERR_peek_last_error();
  const int library = ERR_GET_LIB(error);
  const int reason = ERR_GET_REASON(error);
  const bool mismatch = (library == ERR_LIB_X509 &&
                         one_of(reason, {X509_R_KEY_VALUES_MISMATCH, X509_R_KEY_TYPE_MISMATCH})) ||
                        (library == ERR_LIB_SSL && reason == SSL_R_NO_CERTIFICATE_ASSIGNED);
  const std::string evidence = take_openssl_errors();
  switch (failed_at) {
    case TlsClient::Step::certificate:
      return {Cause::own_certificate_unusable,
              "the certificate " + settings.cert_name + " cannot be used", evidence,
              "it must be PEM, the device's own first"};
    case TlsClient::Step::key:
      if (mismatch)
        return {Cause::own_key_mismatch,
                "the key " + settings.key_name + " does not belong to the certificate",
                evidence + "; " + our_certificate(settings),
                "use the key that the certificate was made for, or enrol anew"};
      return {Cause::own_key_unusable, "the key " + settings.key_name + " cannot be opened",
              evidence, "check the key's token, and the provider's configuration in openssl.cnf"};
    case TlsClient::Step::ca:
      return {Cause::own_settings,
              "the CA certificates " + settings.ca_file +
                  (settings.ca_file.empty() || settings.ca_path.empty() ? "" : ", ") +
                  settings.ca_path + " cannot be used",
              evidence, "ca-file must be PEM, ca-path a directory made by: openssl rehash"};
    case TlsClient::Step::crl:
      return {Cause::own_settings, "the CRL " + settings.crl_file + " cannot be used", evidence,
              "crl-file must be PEM, one CRL or several"};
    case TlsClient::Step::ciphers:
      return {Cause::own_settings, "ciphers = " + settings.ciphers + " names no cipher", evidence,
              "see: openssl ciphers"};
    default:
      return {Cause::own_settings, "OpenSSL cannot be set up", evidence, "check OPENSSL_CONF"};
  }
}

Diagnosis version_verdict(const TlsEvents& events, int security_level) {
  const bool is_old = events.server_version != 0 && events.server_version < TLS1_2_VERSION;
  if (!is_old || security_level == 0) return {};
  return {Cause::protocol_version,
          "the server chooses " + version_text(events.server_version) +
              ", which OpenSSL's security level does not allow",
          take_openssl_errors(), "have the server offer TLS 1.2 or 1.3"};
}

Diagnosis verify_verdict(const TlsSettings& settings, const TlsEvents& events) {
  const X509* const refused = events.refused.get();
  const std::string reason = X509_verify_cert_error_string(events.verify_error);
  const std::string certificate = refused == nullptr ? "a certificate of the server"
                                                     : "the certificate " + subject_of(refused) +
                                                           ", serial " + serial_of(refused);
  switch (events.verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {Cause::server_certificate_expired, certificate + " of the server is expired",
              refused == nullptr ? reason : dates_of(refused),
              "check the clock of this device; else the server must renew it"};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {Cause::server_certificate_not_yet_valid,
              certificate + " of the server is not yet valid",
              refused == nullptr ? reason : dates_of(refused),
              "set the clock of this device, e.g. by NTP"};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {Cause::server_name_mismatch,
              "the server's certificate is not for " + settings.endpoint.host,
              reason + "; it has " + (refused == nullptr ? "no name" : names_of(refused)),
              "write a name that it has into endpoint"};
    case X509_V_ERR_CERT_REVOKED:
      return {Cause::server_certificate_revoked, certificate + " of the server is revoked",
              "by " + settings.crl_file, "do not connect; tell whoever runs the server"};
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
      return {Cause::server_revocation_unknown,
              settings.crl_file + " does not say whether " + certificate + " is revoked",
              reason + ", issued by " + (refused == nullptr ? "?" : issuer_of(refused)) +
                  "; the clock says " + utc_text(std::time(nullptr)),
              "fetch a current CRL of this CA, and check the clock"};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return untrusted(settings, events, "certificate verify failed: " + reason);
    default:
      return {Cause::server_certificate_bad, certificate + " of the server does not verify", reason,
              "tell whoever runs the server"};
  }
}

Diagnosis alert_verdict(const TlsSettings& settings, const TlsEvents& events) {
  const int alert = events.alert_received;
  std::string evidence = alert_text(alert);
  if (alert == SSL3_AD_HANDSHAKE_FAILURE) {
    if (events.certificate_wanted && !events.certificate_sent)
      return certificate_required(evidence);
    if (!events.certificate_sent) return no_common_cipher(settings, evidence);
    return not_accepted(settings, evidence + "; ");
  }
  if (events.certificate_sent && alert != TLS1_AD_PROTOCOL_VERSION)
    evidence += "; " + our_certificate(settings);
  for (const auto& meaning : kAlerts)
    if (meaning.alert == alert) return {meaning.cause, meaning.why, evidence, meaning.next_step};
  return {Cause::other, "the server ended the connection", evidence, "look into the server's log"};
}

Diagnosis failure_verdict(const TlsSettings& settings, const TlsEvents& events,
                          bool after_handshake) {
  const int cause = errno;
  const unsigned long error = ERR_peek_error();
  const bool closed = error == 0 || ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
  if (!closed) return reason_verdict(settings, events);
  ERR_clear_error();
  const std::string how =
      cause == 0 ? "it closed the connection" : std::string(std::strerror(cause));
  if (events.certificate_sent) return not_accepted(settings, how + "; ");
  if (events.certificate_wanted) return certificate_required(how);
  if (!events.server_spoke)
    return {Cause::not_tls, "the server closed the connection instead of an answer in TLS", how,
            "check that this port speaks TLS, and that the server is not overloaded"};
  return {Cause::closed,
          std::string("the server closed the connection ") +
              (after_handshake ? "after" : "during") + " the TLS handshake",
          how, "look into the server's log"};
}

Diagnosis own_certificate_verdict(const TlsSettings& settings) {
  if (settings.cert_path.empty()) return {};
  for (const auto& certificate : read_certificates(settings.cert_path)) {
    const std::string which =
        "our certificate " + subject_of(certificate.get()) + " in " + settings.cert_name;
    const Validity validity = validity_of(certificate.get());
    if (validity == Validity::expired)
      return {Cause::own_certificate_expired, which + " is expired", dates_of(certificate.get()),
              "check the clock of this device, or renew the certificate"};
    if (validity == Validity::not_yet)
      return {Cause::own_certificate_not_yet_valid, which + " is not yet valid",
              dates_of(certificate.get()), "set the clock of this device, e.g. by NTP"};
  }
  return {};
}

}  // namespace hwid::transport
