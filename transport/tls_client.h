#pragma once

#include <string>
#include <vector>

#include "transport/endpoint.h"
#include "transport/openssl_handles.h"
#include "transport/proxy.h"
#include "transport/tcp_connection.h"

namespace hwid::transport {

enum class Ocsp { no, staple, require };

// What a TLS connection is made with, in the terms of libssl.
struct TlsSettings {
  Endpoint endpoint;  // with its port
  Proxy proxy;
  std::string ca_file;
  std::string ca_path;
  std::string cert_path;
  std::string cert_name;  // what the user calls it, for messages
  std::string key_path;
  std::string key_name;
  std::string ciphers;
  std::vector<std::string> alpn;
  int security_level = -1;  // below 0: what openssl.cnf or OpenSSL's build say
  int minimum_version = 0;  // 0: what openssl.cnf says; e.g. TLS1_2_VERSION
  int maximum_version = 0;  // likewise
  std::string crl_file = {};
  Ocsp ocsp = Ocsp::no;
  Addresses addresses = Addresses::all;
};

// What passed on a connection, as it is needed to tell who refused whom.
struct TlsEvents {
  bool server_spoke = false;        // a handshake message came
  int server_version = 0;           // that its ServerHello chose, up to TLS1_2_VERSION
  bool certificate_wanted = false;  // the server asked for one
  bool certificate_sent = false;    // and got one of ours
  int alert_received = -1;          // its number (RFC 8446, 6)
  int alert_sent = -1;
  int verify_error = 0;       // X509_V_ERR_..., 0: none
  X509Ptr refused;            // the certificate of verify_error
  std::vector<X509Ptr> sent;  // what the server sent, its own first
};

// One TLS client connection at a time. Threads: one.
class TlsClient {
 public:
  enum class Step { context, certificate, key, ca, ciphers, crl, ready };

  // What a TlsClient of these settings would make of certificate and key alone. Else the reason is
  // on OpenSSL's error queue.
  static Step try_credentials(const TlsSettings& settings);

  // `settings` outlives it. Reads certificate, key and CA; failed_at() is `ready` where that went
  // well. Else the reason is on OpenSSL's error queue.
  explicit TlsClient(const TlsSettings& settings);
  Step failed_at() const noexcept { return failed_at_; }

  enum class Result { done, failed, no_time };

  // The handshake on a connected socket, which must outlive it. The host name (or IP address) is
  // checked. After `failed` the reason is in events(), or on OpenSSL's error queue, or errno.
  Result handshake(const Socket& socket, Deadline deadline);

  // Waits for a byte, or for the end of the connection (`failed`): in TLS 1.3 the server's opinion
  // of our certificate comes after the handshake.
  Result read(Deadline deadline);

  const TlsEvents& events() const noexcept { return events_; }
  SSL* ssl() const noexcept { return ssl_.get(); }
  X509_STORE* trusted() const noexcept { return SSL_CTX_get_cert_store(context_.get()); }

 private:
  Step prepare();
  bool set_up(const Socket& socket);
  bool expect_peer();
  template <typename Call>
  Result run(Deadline deadline, Call call);
  static int on_verify(int good, X509_STORE_CTX* store);
  static void on_message(int written, int version, int type, const void* bytes, std::size_t size,
                         SSL* ssl, void* self);

  const TlsSettings& settings_;
  Step failed_at_ = Step::context;
  SslCtxPtr context_;
  SslPtr ssl_;
  int descriptor_ = -1;
  TlsEvents events_;
};

// ALPN as libssl takes it: each name behind its length. Throws Error for a name that is empty or
// longer than 255 bytes.
std::string alpn_wire_format(const std::vector<std::string>& names);

}  // namespace hwid::transport
