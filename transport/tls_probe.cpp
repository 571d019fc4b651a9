#include "transport/tls_probe.h"

#include <hwid/transport_error.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "transport/openssl_handles.h"

namespace hwid::transport {

namespace {

using Clock = std::chrono::steady_clock;

class Socket {
 public:
  explicit Socket(int descriptor) noexcept : descriptor_(descriptor) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { reset(-1); }
  int get() const noexcept { return descriptor_; }
  void reset(int descriptor) noexcept {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = descriptor;
  }

 private:
  int descriptor_;
};

bool wait_for(int descriptor, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd waited{descriptor, events, 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0;
  }
}

// 0, or the errno of the last address tried.
int connect_any(const addrinfo* addresses, Socket& socket, Clock::time_point deadline) {
  int reason = EHOSTUNREACH;
  for (const addrinfo* address = addresses; address != nullptr; address = address->ai_next) {
    socket.reset(::socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                          address->ai_protocol));
    if (socket.get() < 0) {
      reason = errno;
      continue;
    }
    if (::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0) return 0;
    reason = errno;
    if (reason != EINPROGRESS) continue;
    if (!wait_for(socket.get(), POLLOUT, deadline)) return ETIMEDOUT;
    socklen_t size = sizeof reason;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &reason, &size) != 0) reason = errno;
    if (reason == 0) return 0;
  }
  return reason;
}

TlsFinding connect_tcp(const Endpoint& endpoint, Socket& socket, Clock::time_point deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int resolved =
      ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &list);
  if (resolved != 0)
    return {"the name " + endpoint.host + " does not resolve: " + ::gai_strerror(resolved),
            "check the endpoint's spelling and the DNS"};
  const std::unique_ptr<addrinfo, OpensslDelete<::freeaddrinfo>> addresses(list);
  const int reason = connect_any(addresses.get(), socket, deadline);
  if (reason != 0)
    return {"no TCP connection: " + std::string(std::strerror(reason)),
            "check host, port and firewall, and that the broker runs"};
  return {};
}

SslCtxPtr make_context(const TlsSettings& settings, TlsFinding& finding) {
  const auto fail = [&](const std::string& what, const char* next_step) {
    finding = {what + ": " + take_openssl_errors(), next_step};
    return SslCtxPtr();
  };
  SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return fail("SSL_CTX_new", "check OPENSSL_CONF");
  SSL_CTX_set_security_level(context.get(), 1);  // as Paho does
  if (!settings.ciphers.empty() &&
      SSL_CTX_set_cipher_list(context.get(), settings.ciphers.c_str()) != 1)
    return fail("ciphers '" + settings.ciphers + "'", "see: openssl ciphers");
  const bool own_store = !settings.ca_file.empty() || !settings.ca_path.empty();
  const auto text = [](const std::string& s) { return s.empty() ? nullptr : s.c_str(); };
  if (own_store && SSL_CTX_load_verify_locations(context.get(), text(settings.ca_file),
                                                 text(settings.ca_path)) != 1)
    return fail("CA certificates " + settings.ca_file + " " + settings.ca_path,
                "ca-file must be PEM, ca-path a directory made by: openssl rehash");
  if (!own_store && SSL_CTX_set_default_verify_paths(context.get()) != 1)
    return fail("the system's CA certificates", "give ca-file");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!settings.cert_path.empty() &&
      SSL_CTX_use_certificate_chain_file(context.get(), settings.cert_path.c_str()) != 1)
    return fail("certificate " + settings.cert_path, "it must be PEM, the device's own first");
  if (!settings.key_path.empty() &&
      SSL_CTX_use_PrivateKey_file(context.get(), settings.key_path.c_str(), SSL_FILETYPE_PEM) != 1)
    return fail("key " + settings.key_name,
                "check that key and certificate belong together, and the provider's configuration");
  return context;
}

bool expect_peer(SSL* ssl, const std::string& host) {
  X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) == 1) return true;
  ERR_clear_error();
  return SSL_set_tlsext_host_name(ssl, host.c_str()) == 1 && SSL_set1_host(ssl, host.c_str()) == 1;
}

// Runs a libssl call to its end. 1: done; 0: failed; -1: no time left.
template <typename Step>
int run(SSL* ssl, int descriptor, Clock::time_point deadline, Step step) {
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int result = step();
    if (result > 0) return 1;
    const int error = SSL_get_error(ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return 0;
    if (!wait_for(descriptor, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline)) return -1;
  }
}

TlsFinding explain(SSL* ssl, bool after_handshake) {
  const long verified = SSL_get_verify_result(ssl);
  if (verified != X509_V_OK) {
    ERR_clear_error();
    std::string next = "give the CA that signed the broker's certificate as ca-file";
    if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
      next = "write the endpoint with a name that is in the broker's certificate";
    else if (verified == X509_V_ERR_CERT_NOT_YET_VALID || verified == X509_V_ERR_CERT_HAS_EXPIRED)
      next = "check the clock of this machine and the broker's certificate";
    return {"certificate verify failed: " + std::string(X509_verify_cert_error_string(verified)),
            next};
  }
  const bool nothing_said = ERR_peek_error() == 0;
  if (nothing_said && after_handshake)
    return {"the broker closed the connection after the TLS handshake",
            "look into the broker's log; is the client certificate accepted there?"};
  if (nothing_said)
    return {"the broker closed the connection during the TLS handshake",
            "check that this port speaks TLS"};
  const int reason = ERR_GET_REASON(ERR_peek_error());
  std::string why = take_openssl_errors();
  // Alerts of the peer are numbered from 1000 (SSL_AD_REASON_OFFSET).
  if (reason >= SSL_AD_REASON_OFFSET)
    return {
        "the broker refused: " + why,
        "check that the broker trusts the CA of the client certificate, and that this is valid"};
  return {"TLS handshake: " + why,
          "check key and certificate, and protocol version and ciphers on both sides"};
}

}  // namespace

std::string alpn_wire_format(const std::vector<std::string>& names) {
  std::string wire;
  for (const auto& name : names) {
    if (name.empty() || name.size() > 255)
      throw Error(ErrorKind::environment, "alpn", name, "a name has 1 to 255 bytes");
    wire += static_cast<char>(name.size());
    wire += name;
  }
  return wire;
}

TlsFinding probe_tcp(const Endpoint& endpoint, std::chrono::milliseconds timeout) {
  Socket socket(-1);
  return connect_tcp(endpoint, socket, Clock::now() + timeout);
}

TlsFinding probe_tls(const TlsSettings& settings, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  Socket socket(-1);
  TlsFinding finding = connect_tcp(settings.endpoint, socket, deadline);
  if (!finding.why.empty()) return finding;

  ERR_clear_error();
  const SslCtxPtr context = make_context(settings, finding);
  if (!context) return finding;
  const SslPtr ssl(SSL_new(context.get()));
  const std::string alpn = alpn_wire_format(settings.alpn);
  if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1 ||
      !expect_peer(ssl.get(), settings.endpoint.host) ||
      (!alpn.empty() &&
       SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(alpn.data()),
                           static_cast<unsigned>(alpn.size())) != 0))
    return {"TLS set-up: " + take_openssl_errors(), ""};

  const int connected =
      run(ssl.get(), socket.get(), deadline, [&] { return SSL_connect(ssl.get()); });
  if (connected < 0)
    return {"no end of the TLS handshake in time", "check that this port speaks TLS"};
  if (connected == 0) return explain(ssl.get(), false);
  // In TLS 1.3 the server's opinion of our certificate comes after the handshake.
  char byte = 0;
  const auto soon = std::min(deadline, Clock::now() + std::chrono::seconds(1));
  const int read =
      run(ssl.get(), socket.get(), soon, [&] { return SSL_read(ssl.get(), &byte, 1); });
  SSL_set_quiet_shutdown(ssl.get(), 1);
  return read == 0 ? explain(ssl.get(), true) : TlsFinding{};
}

}  // namespace hwid::transport
