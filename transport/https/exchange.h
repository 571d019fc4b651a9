#pragma once

#include <hwid/device_config.h>
#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "transport/endpoint.h"
#include "transport/https/curl_loop.h"
#include "transport/https/http_request.h"

namespace hwid::transport::https {

struct Response {
  long status = 0;
  std::string challenge;  // WWW-Authenticate
  std::string content_type;
  std::string body;      // its beginning, where nobody wants the rest
  std::string location;  // of a redirect, which is not followed
  std::chrono::seconds retry_after{0};
  bool new_connection = false;
  int tls_version = 0;                 // TLS1_2_VERSION and on
  std::string tls_unique;              // of the connection (RFC 5929, section 3); empty in TLS 1.3
  std::shared_ptr<const X509> server;  // its certificate; null: not known
};

// One request to the server, or one TLS connection without any (no HttpRequest). Certificate and
// key are opened when libcurl makes a new connection, not when it uses one again.
// Threads: the CurlLoop's, after it was made.
class Exchange {
 public:
  // Whether the body is what was asked for, or only words beside the status. In the latter case the
  // response is good once its headers have come: who answered must not get the payload again.
  enum class Body { wanted, beside };

  // What is not usual.
  struct Extras {
    // Whoever answers is heard. What it says must be proved in another way, and nothing that
    // concerns us be said to it: REQUIRES: no certificate, no password.
    bool unverified = false;
    bool at_most_tls_1_2 = false;
    CURLSH* connections = nullptr;  // where they are kept for the exchanges to come; outlives it
  };

  // REQUIRES: `config` and `endpoint` live as long. Throws Error.
  Exchange(const DeviceConfig& config, const Endpoint& endpoint, std::optional<HttpRequest> request,
           std::string payload, std::chrono::milliseconds timeout, Body body, const Extras& extras);
  Exchange(const DeviceConfig& config, const Endpoint& endpoint, std::optional<HttpRequest> request,
           std::string payload, std::chrono::milliseconds timeout, Body body = Body::beside)
      : Exchange(config, endpoint, std::move(request), std::move(payload), timeout, body,
                 Extras()) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  CURL* handle() const noexcept { return easy_.get(); }

  // Of a connection without a request: waits until the server has had its say about our
  // certificate, which in TLS 1.3 comes after the handshake. REQUIRES: CurlLoop calls it as
  // `connected`.
  void hear_verdict();

  // REQUIRES: it has ended. The response, or throws Error: no answer, and why.
  Response finish(CURLcode result);

 private:
  void set_proxy();
  void set_tls();
  void set_tls_versions();
  bool was_answered() const;
  void set_request(const HttpRequest& request);
  Error failure(CURLcode result) const;
  static CURLcode use_ssl_context(CURL* easy, void* context, void* self) noexcept;
  static int check_staple(SSL* ssl, void* self) noexcept;
  static void note_handshake(const SSL* ssl, int where, int value) noexcept;
  void note_connection();
  static std::size_t take_header(char* bytes, std::size_t size, std::size_t count,
                                 void* self) noexcept;
  static std::size_t take_body(char* bytes, std::size_t size, std::size_t count,
                               void* self) noexcept;

  const DeviceConfig& config_;
  const Endpoint& endpoint_;
  const std::string payload_;
  const std::chrono::milliseconds timeout_;
  const bool has_request_;
  const Body body_;
  const Extras extras_;
  int tls_version_ = 0;
  const char* alert_ = nullptr;  // the server's, that ended the connection
  EasyPtr easy_;
  SlistPtr headers_;
  char error_[CURL_ERROR_SIZE] = {};
  std::optional<Error> credentials_error_;
  std::string staple_refused_;
  bool too_long_ = false;
  CURLcode verdict_ = CURLE_OK;
  Response response_;
};

}  // namespace hwid::transport::https
