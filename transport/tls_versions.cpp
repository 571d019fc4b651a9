#include "transport/tls_versions.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>

namespace hwid::transport {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kVersions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};

// No signature of TLS 1.0 and 1.1 is strong enough for any other level.
constexpr int kWeakest = 0;

bool takes(const TlsSettings& settings, int version, Deadline deadline) {
  TlsSettings probe;
  probe.endpoint = settings.endpoint;
  probe.proxy = settings.proxy;
  probe.addresses = settings.addresses;
  probe.alpn = settings.alpn;
  probe.security_level = kWeakest;
  probe.minimum_version = version;
  probe.maximum_version = version;
  TlsClient client(probe);
  if (client.failed_at() != TlsClient::Step::ready) return false;  // not even ours has it
  const TcpConnection connection =
      connect_tcp(probe.endpoint, probe.proxy, deadline, probe.addresses);
  if (connection.result != TcpResult::connected) return false;
  (void)client.handshake(connection.socket, deadline);  // it ends at the certificate
  // A server without TLS 1.3 may answer with what it has, which libssl refuses by that alert.
  return client.events().server_spoke && client.events().alert_sent != TLS1_AD_PROTOCOL_VERSION;
}

}  // namespace

std::string version_text(int version) {
  switch (version) {
    case SSL3_VERSION:
      return "SSL 3.0";
    case TLS1_VERSION:
      return "TLS 1.0";
    case TLS1_1_VERSION:
      return "TLS 1.1";
    case TLS1_2_VERSION:
      return "TLS 1.2";
    case TLS1_3_VERSION:
      return "TLS 1.3";
    default:
      return "TLS version " + std::to_string(version);
  }
}

std::vector<int> versions_of_client(const TlsSettings& settings) {
  const SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return {};
  if (settings.security_level >= 0)
    SSL_CTX_set_security_level(context.get(), settings.security_level);
  if (settings.minimum_version != 0)
    SSL_CTX_set_min_proto_version(context.get(), settings.minimum_version);
  // 0: as far as OpenSSL goes.
  const auto least = static_cast<int>(SSL_CTX_get_min_proto_version(context.get()));
  const auto most = static_cast<int>(SSL_CTX_get_max_proto_version(context.get()));
  const bool is_weakest = SSL_CTX_get_security_level(context.get()) == kWeakest;
  std::vector<int> all;
  for (const int version : kVersions) {
    if (version < least || (most != 0 && version > most)) continue;
    if (version >= TLS1_2_VERSION || is_weakest) all.push_back(version);
  }
  return all;
}

std::vector<int> versions_of_server(const TlsSettings& settings, const DiagnosisOptions& options) {
  const auto deadline = Clock::now() + options.timeout;
  std::vector<int> all;
  std::copy_if(std::begin(kVersions), std::end(kVersions), std::back_inserter(all),
               [&](int version) { return takes(settings, version, deadline); });
  ERR_clear_error();
  return all;
}

std::string versions_text(const std::vector<int>& versions) {
  std::string text;
  for (const int version : versions)
    text.append(text.empty() ? "" : ", ").append(version_text(version));
  return text.empty() ? "none" : text;
}

}  // namespace hwid::transport
