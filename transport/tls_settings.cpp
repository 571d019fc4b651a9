#include "transport/tls_settings.h"

#include "transport/cloud/rules.h"
#include "transport/ocsp_staple.h"

namespace hwid::transport {

TlsSettings tls_settings_of(const DeviceConfig& config, const Endpoint& endpoint,
                            const Credentials& credentials) {
  TlsSettings tls;
  tls.endpoint = endpoint;
  tls.proxy = parse_proxy(config);
  tls.ca_file = config.ca_file;
  tls.ca_path = config.ca_path;
  tls.cert_path = credentials.cert_path();
  tls.cert_name = printable_uri(config.cert);
  tls.key_path = credentials.key_path();
  tls.key_name = printable_uri(config.key);
  tls.ciphers = config.ciphers;
  tls.alpn = cloud::alpn_of(config, endpoint);
  tls.crl_file = config.crl_file;
  tls.ocsp = ocsp_of(config);
  return tls;
}

}  // namespace hwid::transport
