#include "transport/https/exchange.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <new>
#include <string_view>

#include "transport/cloud/rules.h"
#include "transport/credentials.h"
#include "transport/ocsp_staple.h"
#include "transport/openssl_handles.h"
#include "transport/proxy.h"
#include "transport/tls_client.h"

namespace hwid::transport::https {

namespace {

constexpr long kConnectTimeoutMs = 10000;
constexpr int kVerdictTimeoutMs = 1000;
constexpr std::size_t kMaxBody = 1024 * 1024UL;
constexpr std::size_t kMaxWords = 16384;
// libcurl takes 0 for no limit, and keeps the milliseconds as an int.
constexpr std::chrono::milliseconds kLeastTimeout{1};
constexpr std::chrono::milliseconds kLongestTimeout{INT_MAX};

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode result = curl_easy_setopt(easy, option, value);
  if (result == CURLE_OK) return;
  const auto* const info = curl_easy_option_by_id(option);
  throw Error(ErrorKind::environment, "set up HTTPS",
              info == nullptr ? "option " + std::to_string(option) : info->name,
              curl_easy_strerror(result), "libcurl must be the one that is built with OpenSSL");
}

void append(SlistPtr& list, const char* line) {
  curl_slist* const longer = curl_slist_append(list.get(), line);
  if (longer == nullptr) throw std::bad_alloc();
  static_cast<void>(list.release());  // the same list, unless it was empty
  list.reset(longer);
}

std::string next_step_after(CURLcode result, const std::string& why) {
  switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "check the endpoint's spelling and the DNS";
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
      return "check the proxy";
    case CURLE_COULDNT_CONNECT:
      return "check host, port and firewall, and that the server runs";
    case CURLE_PEER_FAILED_VERIFICATION:
      if (why.find("CRL") != std::string::npos)
        return "crl-file must hold a current list of each CA in the server's chain";
      if (why.find("subject name") != std::string::npos)
        return "write the endpoint with a name that is in the server's certificate";
      if (why.find("expired") != std::string::npos || why.find("not yet") != std::string::npos)
        return "check the clock of this machine and the server's certificate";
      return "give the CA that signed the server's certificate as ca-file";
    case CURLE_SSL_CACERT_BADFILE:
      return "ca-file must be PEM, ca-path a directory made by: openssl rehash";
    case CURLE_SSL_CRL_BADFILE:
      return "crl-file must be a PEM file";
    case CURLE_SSL_CIPHER:
      return "see: openssl ciphers";
    default:
      if (why.find("alert") != std::string::npos)
        return "the server refused the handshake: check that it trusts the CA of the client "
               "certificate, and that this is registered, active and valid";
      return "check key and certificate, and protocol version and ciphers on both sides";
  }
}

}  // namespace

Exchange::Exchange(const DeviceConfig& config, const Endpoint& endpoint,
                   std::optional<HttpRequest> request, std::string payload,
                   std::chrono::milliseconds timeout, Body body, const Extras& extras)
    : config_(config),
      endpoint_(endpoint),
      payload_(std::move(payload)),
      timeout_(std::clamp(timeout, kLeastTimeout, kLongestTimeout)),
      has_request_(request.has_value()),
      body_(body),
      extras_(extras),
      easy_(curl_easy_init()) {
  if (!easy_) throw std::bad_alloc();
  CURL* const easy = easy_.get();
  set(easy, CURLOPT_ERRORBUFFER, static_cast<char*>(error_));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PROTOCOLS_STR, "https");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);  // a key must not sign for somebody else
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_PATH_AS_IS, 1L);  // a level named .. is a level
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_.count()));
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_USERAGENT, "hwid-transport");
  if (extras_.connections != nullptr) set(easy, CURLOPT_SHARE, extras_.connections);
  set_proxy();
  set_tls();
  if (request) {
    set_request(*request);
  } else {
    set(easy, CURLOPT_URL, ("https://" + endpoint_.authority() + "/").c_str());
    set(easy, CURLOPT_CONNECT_ONLY, 1L);
  }
}

// device.conf says all, the environment nothing. What libcurl says about a proxy is shown: so user
// and password are not in that.
void Exchange::set_proxy() {
  CURL* const easy = easy_.get();
  const Proxy proxy = parse_proxy(config_);
  set(easy, CURLOPT_PROXY, proxy.used() ? ("http://" + proxy.authority()).c_str() : "");
  set(easy, CURLOPT_NOPROXY, "");
  if (!proxy.user_info.empty()) set(easy, CURLOPT_PROXYUSERPWD, proxy.user_info.c_str());
}

void Exchange::set_tls() {
  CURL* const easy = easy_.get();
  const auto text = [](const std::string& s) { return s.empty() ? nullptr : s.c_str(); };
  if (!config_.ca_file.empty() || !config_.ca_path.empty()) {  // instead of the system's
    set(easy, CURLOPT_CAINFO, text(config_.ca_file));
    set(easy, CURLOPT_CAPATH, text(config_.ca_path));
  }
#if LIBCURL_VERSION_NUM >= 0x075700
  set(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);  // a changed file must count
#endif
  set(easy, CURLOPT_SSL_VERIFYPEER, extras_.unverified ? 0L : 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, extras_.unverified ? 0L : 2L);
  if (!config_.crl_file.empty()) set(easy, CURLOPT_CRLFILE, config_.crl_file.c_str());
  if (!config_.ciphers.empty()) set(easy, CURLOPT_SSL_CIPHER_LIST, config_.ciphers.c_str());
  set_tls_versions();
  set(easy, CURLOPT_SSL_ENABLE_ALPN, 0L);      // ours is set below
  set(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);  // a resumed session would keep an old certificate
  set(easy, CURLOPT_SSL_CTX_FUNCTION, &Exchange::use_ssl_context);
  set(easy, CURLOPT_SSL_CTX_DATA, static_cast<void*>(this));
}

void Exchange::set_tls_versions() {
  long range = extras_.at_most_tls_1_2 ? CURL_SSLVERSION_MAX_TLSv1_2 : 0;
  if (config_.min_tls)  // else libssl's, which openssl.cnf may have raised
    range |=
        *config_.min_tls == TlsVersion::v1_3 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2;
  if (range != 0) set(easy_.get(), CURLOPT_SSLVERSION, range);
}

void Exchange::set_request(const HttpRequest& request) {
  CURL* const easy = easy_.get();
  for (const auto& header : request.headers) append(headers_, header.c_str());
  append(headers_, "Expect:");  // no round trip to ask whether the payload is welcome
  set(easy, CURLOPT_URL, request.url.c_str());
  if (request.method == HttpRequest::Method::post) {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(payload_.size()));
    set(easy, CURLOPT_POSTFIELDS, payload_.c_str());
  }
  if (!request.user.empty()) {
    set(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    set(easy, CURLOPT_USERNAME, request.user.c_str());
    set(easy, CURLOPT_PASSWORD, request.password.reveal().c_str());
  }
  set(easy, CURLOPT_HTTPHEADER, headers_.get());
  set(easy, CURLOPT_HEADERFUNCTION, &Exchange::take_header);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(easy, CURLOPT_WRITEFUNCTION, &Exchange::take_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
}

CURLcode Exchange::use_ssl_context(CURL*, void* context, void* self) noexcept {
  auto& exchange = *static_cast<Exchange*>(self);
  try {
    auto* const ssl_context = static_cast<SSL_CTX*>(context);
    // libcurl sets one where the environment has SSLKEYLOGFILE.
    SSL_CTX_set_keylog_callback(ssl_context, nullptr);
    use_credentials(ssl_context, exchange.config_);
    const std::string alpn = alpn_wire_format(cloud::alpn_of(exchange.config_, exchange.endpoint_));
    if (!alpn.empty() &&
        SSL_CTX_set_alpn_protos(ssl_context, reinterpret_cast<const unsigned char*>(alpn.data()),
                                static_cast<unsigned>(alpn.size())) != 0)
      return CURLE_SSL_CONNECT_ERROR;
    if (ocsp_of(exchange.config_) != Ocsp::no) {
      SSL_CTX_set_tlsext_status_type(ssl_context, TLSEXT_STATUSTYPE_ocsp);
      SSL_CTX_set_tlsext_status_cb(ssl_context, &Exchange::check_staple);
      SSL_CTX_set_tlsext_status_arg(ssl_context, self);
      // A connection outlives its exchange, but not its handshake.
      SSL_CTX_set_options(ssl_context, SSL_OP_NO_RENEGOTIATION);
    }
    // Not for requests, whose connections outlive them.
    if (!exchange.has_request_) {
      SSL_CTX_set_app_data(ssl_context, self);
      SSL_CTX_set_info_callback(ssl_context, &Exchange::note_handshake);
    }
    return CURLE_OK;
  } catch (const Error& error) {
    exchange.credentials_error_ = error;
  } catch (...) {
    return CURLE_OUT_OF_MEMORY;
  }
  return CURLE_SSL_CERTPROBLEM;
}

// In libcurl's place, which finds no issuer that the server does not send.
int Exchange::check_staple(SSL* ssl, void* self) noexcept {
  auto& exchange = *static_cast<Exchange*>(self);
  try {
    const StapleVerdict verdict =
        judge_staple(ssl, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), ocsp_of(exchange.config_));
    exchange.staple_refused_ = verdict.why;
    return verdict.kind == StapleVerdict::good ? 1 : 0;
  } catch (...) {
    return -1;
  }
}

void Exchange::note_handshake(const SSL* ssl, int where, int value) noexcept {
  auto* const exchange = static_cast<Exchange*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if ((where & SSL_CB_HANDSHAKE_DONE) != 0) exchange->tls_version_ = SSL_version(ssl);
  if (where == SSL_CB_READ_ALERT && (value >> 8) == SSL3_AL_FATAL)
    exchange->alert_ = SSL_alert_desc_string_long(value);
}

// While the answer comes: afterwards libcurl does not show its connection.
void Exchange::note_connection() {
  const curl_tlssessioninfo* tls = nullptr;
  if (curl_easy_getinfo(easy_.get(), CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == nullptr ||
      tls->backend != CURLSSLBACKEND_OPENSSL || tls->internals == nullptr)
    return;
  const auto* const ssl = static_cast<const SSL*>(tls->internals);
  response_.tls_version = SSL_version(ssl);
  if (!response_.server) response_.server = X509Ptr(SSL_get1_peer_certificate(ssl));
  if (response_.tls_version >= TLS1_3_VERSION) return;
  // Of a handshake that resumes nothing, as all of ours are, the client's message is the first.
  std::array<char, EVP_MAX_MD_SIZE> finished{};
  const std::size_t size = SSL_get_finished(ssl, finished.data(), finished.size());
  response_.tls_unique.assign(finished.data(), std::min(size, finished.size()));
}

std::size_t Exchange::take_header(char* bytes, std::size_t size, std::size_t count,
                                  void* self) noexcept {
  constexpr std::string_view kChallenge = "www-authenticate:";
  auto& exchange = *static_cast<Exchange*>(self);
  try {
    exchange.note_connection();
    std::string_view line(bytes, size * count);
    if (line.size() < kChallenge.size() ||
        ::strncasecmp(line.data(), kChallenge.data(), kChallenge.size()) != 0)
      return size * count;
    std::string& challenge = exchange.response_.challenge;
    line.remove_prefix(std::min(line.find_first_not_of(" \t", kChallenge.size()), line.size()));
    line = line.substr(0, line.find_last_not_of(" \t\r\n") + 1);
    challenge += line.substr(0, kMaxWords - std::min(kMaxWords, challenge.size()));
    challenge += ' ';
  } catch (...) {
    return 0;
  }
  return size * count;
}

std::size_t Exchange::take_body(char* bytes, std::size_t size, std::size_t count,
                                void* self) noexcept {
  auto& exchange = *static_cast<Exchange*>(self);
  std::string& body = exchange.response_.body;
  const std::size_t more = size * count;
  const bool wanted = exchange.body_ == Body::wanted;
  if (wanted && more > kMaxBody - body.size()) {
    exchange.too_long_ = true;
    return 0;
  }
  try {
    body.append(bytes, wanted ? more : std::min(more, kMaxWords - body.size()));
  } catch (...) {
    return 0;
  }
  return more;
}

// Servers that say yes mostly send session tickets at once.
void Exchange::hear_verdict() {
  curl_socket_t socket = CURL_SOCKET_BAD;
  if (tls_version_ < TLS1_3_VERSION ||
      curl_easy_getinfo(easy_.get(), CURLINFO_ACTIVESOCKET, &socket) != CURLE_OK)
    return;
  pollfd waited{socket, POLLIN, 0};
  if (::poll(&waited, 1, kVerdictTimeoutMs) <= 0) return;
  char byte = 0;
  std::size_t size = 0;
  const CURLcode result = curl_easy_recv(easy_.get(), &byte, 1, &size);
  if (result == CURLE_AGAIN) return;  // a ticket
  if (result != CURLE_OK || size == 0) verdict_ = result == CURLE_OK ? CURLE_RECV_ERROR : result;
}

// An answer that never ends, or breaks off, is one.
bool Exchange::was_answered() const {
  constexpr long kFirstFinalStatus = 200;
  long status = 0;
  return has_request_ && body_ == Body::beside &&
         curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
         status >= kFirstFinalStatus;
}

Response Exchange::finish(CURLcode result) {
  CURL* const easy = easy_.get();
  if (result == CURLE_OK) result = verdict_;
  if (result != CURLE_OK && !was_answered()) throw failure(result);
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response_.status);
  const char* text = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &text) == CURLE_OK && text != nullptr)
    response_.content_type = text;
  if (curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &text) == CURLE_OK && text != nullptr)
    response_.location = text;
  long connections = 0;
  curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connections);
  response_.new_connection = connections > 0;
  curl_off_t seconds = 0;
  if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK)
    response_.retry_after = std::chrono::seconds(seconds);
  return std::move(response_);
}

Error Exchange::failure(CURLcode result) const {
  if (credentials_error_) return *credentials_error_;
  const std::string& where = config_.endpoint;
  if (alert_ != nullptr)
    return {ErrorKind::refused, "HTTPS request", where,
            std::string("the server refused the handshake: TLS alert ") + alert_,
            "check that it trusts the CA of the client certificate, and that this is registered, "
            "active and valid"};
  if (!staple_refused_.empty())
    return {ErrorKind::environment, "HTTPS request", where,
            "the server's certificate: " + staple_refused_,
            "the server must staple a good OCSP response, or set ocsp = no"};
  if (too_long_)
    return {ErrorKind::refused, "HTTPS request", where,
            "the answer is longer than " + std::to_string(kMaxBody) + " bytes", "ask for less"};
  // libcurl keeps the first of its complaints, and this one is none.
  const bool said = error_[0] != '\0' && std::strstr(error_, "getpeername") == nullptr;
  const std::string why = said ? error_ : curl_easy_strerror(result);
  if (result == CURLE_OPERATION_TIMEDOUT)
    return {ErrorKind::timeout, "HTTPS request", where,
            "no answer within " + std::to_string(timeout_.count()) + " ms (" + why + ")",
            "check that the server runs, and the network on the way"};
  return {ErrorKind::environment, "HTTPS request", where, why, next_step_after(result, why)};
}

}  // namespace hwid::transport::https
