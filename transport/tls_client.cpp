#include "transport/tls_client.h"

#include <hwid/transport_error.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <cerrno>
#include <csignal>
#include <ctime>

#include "transport/credentials.h"

namespace hwid::transport {

namespace {

constexpr int kExDataOfSelf = 0;  // libssl leaves the first index to the application

const char* text_or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

// libssl writes to sockets by write(2), and a connection that the server closed would kill the
// program, unless it ignores SIGPIPE.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigset_t pending;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  ~NoSigpipe() {
    const int error = errno;
    const timespec at_once{};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &at_once);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_;
};

// A server's CRL must be in the file; those of the CAs above it count where they are there.
bool add_crls(SSL_CTX* context, const std::string& file) {
  X509_LOOKUP* lookup = X509_STORE_add_lookup(SSL_CTX_get_cert_store(context), X509_LOOKUP_file());
  return lookup != nullptr && X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) > 0;
}

TlsClient::Step use_policy(SSL_CTX* context, const TlsSettings& settings) {
  using Step = TlsClient::Step;
  if (context == nullptr) return Step::context;
  if (settings.security_level >= 0) SSL_CTX_set_security_level(context, settings.security_level);
  if (settings.minimum_version != 0 &&
      SSL_CTX_set_min_proto_version(context, settings.minimum_version) != 1)
    return Step::context;
  if (settings.maximum_version != 0 &&
      SSL_CTX_set_max_proto_version(context, settings.maximum_version) != 1)
    return Step::context;
  if (!settings.ciphers.empty() && SSL_CTX_set_cipher_list(context, settings.ciphers.c_str()) != 1)
    return Step::ciphers;
  return Step::ready;
}

TlsClient::Step use_paths(SSL_CTX* context, const TlsSettings& settings) {
  using Step = TlsClient::Step;
  ask_for_no_passphrase(context);
  if (!settings.cert_path.empty() &&
      SSL_CTX_use_certificate_chain_file(context, settings.cert_path.c_str()) != 1)
    return Step::certificate;
  if (!settings.key_path.empty() &&
      SSL_CTX_use_PrivateKey_file(context, settings.key_path.c_str(), SSL_FILETYPE_PEM) != 1)
    return Step::key;
  if (!settings.cert_path.empty() && !key_fits_certificate(context)) return Step::key;
  return Step::ready;
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

TlsClient::TlsClient(const TlsSettings& settings) : settings_(settings) {
  ERR_clear_error();
  failed_at_ = prepare();
}

TlsClient::Step TlsClient::prepare() {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = context_.get();
  if (const Step step = use_policy(context, settings_); step != Step::ready) return step;
  const bool own_store = !settings_.ca_file.empty() || !settings_.ca_path.empty();
  if (own_store && SSL_CTX_load_verify_locations(context, text_or_null(settings_.ca_file),
                                                 text_or_null(settings_.ca_path)) != 1)
    return Step::ca;
  if (!own_store && SSL_CTX_set_default_verify_paths(context) != 1) return Step::ca;
  if (!settings_.crl_file.empty() && !add_crls(context, settings_.crl_file)) return Step::crl;
  return use_paths(context, settings_);
}

TlsClient::Step TlsClient::try_credentials(const TlsSettings& settings) {
  ERR_clear_error();
  const SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  const Step step = use_policy(context.get(), settings);
  return step == Step::ready ? use_paths(context.get(), settings) : step;
}

bool TlsClient::expect_peer() {
  X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl_.get());
  if (!settings_.crl_file.empty() &&
      X509_VERIFY_PARAM_set_flags(wanted, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1)
    return false;
  const char* const host = settings_.endpoint.host.c_str();
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host) == 1) return true;
  ERR_clear_error();
  return SSL_set_tlsext_host_name(ssl_.get(), host) == 1 &&
         X509_VERIFY_PARAM_set1_host(wanted, host, 0) == 1;
}

bool TlsClient::set_up(const Socket& socket) {
  ERR_clear_error();
  ssl_.reset(SSL_new(context_.get()));
  if (!ssl_) return false;
  SSL_set_quiet_shutdown(ssl_.get(), 1);
  SSL_set_msg_callback(ssl_.get(), on_message);
  SSL_set_msg_callback_arg(ssl_.get(), this);
  SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, on_verify);
  const std::string alpn = alpn_wire_format(settings_.alpn);
  return SSL_set_ex_data(ssl_.get(), kExDataOfSelf, this) == 1 &&
         SSL_set_fd(ssl_.get(), socket.get()) == 1 && expect_peer() &&
         (settings_.ocsp == Ocsp::no ||
          SSL_set_tlsext_status_type(ssl_.get(), TLSEXT_STATUSTYPE_ocsp) == 1) &&
         (alpn.empty() ||
          SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(alpn.data()),
                              static_cast<unsigned>(alpn.size())) == 0);
}

// Runs a libssl call to its end.
template <typename Call>
TlsClient::Result TlsClient::run(Deadline deadline, Call call) {
  const NoSigpipe quiet;
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int result = call();
    if (result > 0) return Result::done;
    const int error = SSL_get_error(ssl_.get(), result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return Result::failed;
    if (!wait_for(descriptor_, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline))
      return Result::no_time;
  }
}

TlsClient::Result TlsClient::handshake(const Socket& socket, Deadline deadline) {
  if (!set_up(socket)) return Result::failed;
  descriptor_ = socket.get();
  return run(deadline, [this] { return SSL_connect(ssl_.get()); });
}

TlsClient::Result TlsClient::read(Deadline deadline) {
  char byte = 0;
  return run(deadline, [&] { return SSL_read(ssl_.get(), &byte, 1); });
}

int TlsClient::on_verify(int good, X509_STORE_CTX* store) {
  if (good == 1) return 1;
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsEvents& events = static_cast<TlsClient*>(SSL_get_ex_data(ssl, kExDataOfSelf))->events_;
  const int error = X509_STORE_CTX_get_error(store);
  if (error == X509_V_ERR_UNABLE_TO_GET_CRL && X509_STORE_CTX_get_error_depth(store) > 0) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }
  events.verify_error = error;
  const auto keep = [](X509* certificate) {
    if (certificate != nullptr) X509_up_ref(certificate);
    return X509Ptr(certificate);
  };
  events.refused = keep(X509_STORE_CTX_get_current_cert(store));
  const STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(store);
  for (int i = 0; i < sk_X509_num(sent); ++i) events.sent.push_back(keep(sk_X509_value(sent, i)));
  return 0;
}

void TlsClient::on_message(int written, int, int type, const void* bytes, std::size_t size, SSL*,
                           void* self) {
  constexpr std::size_t kEmptyCertificate = 8;  // header, and lengths that are 0
  constexpr std::size_t kServerVersion = 4;     // behind the header (RFC 5246, 7.4.1.3)
  constexpr int kCompressed = 25;               // RFC 8879, since OpenSSL 3.2
  TlsEvents& events = static_cast<TlsClient*>(self)->events_;
  const auto* const message = static_cast<const unsigned char*>(bytes);
  if (type == SSL3_RT_ALERT && size >= 2)
    (written != 0 ? events.alert_sent : events.alert_received) = message[1];
  if (type != SSL3_RT_HANDSHAKE || size == 0) return;
  if (written == 0) events.server_spoke = true;
  if (written == 0 && message[0] == SSL3_MT_SERVER_HELLO && size >= kServerVersion + 2)
    events.server_version = message[kServerVersion] << 8 | message[kServerVersion + 1];
  if (written == 0 && message[0] == SSL3_MT_CERTIFICATE_REQUEST) events.certificate_wanted = true;
  if (written != 0 && size > kEmptyCertificate &&
      (message[0] == SSL3_MT_CERTIFICATE || message[0] == kCompressed))
    events.certificate_sent = true;
}

}  // namespace hwid::transport
