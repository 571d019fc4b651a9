#pragma once

#include <hwid/device_config.h>
#include <hwid/transport_error.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/cloud/est_messages.h"
#include "transport/endpoint.h"
#include "transport/https/caller.h"
#include "transport/secret_text.h"

// Enrolment over Secure Transport (RFC 7030): the client's side of cacerts, csrattrs, simpleenroll
// and simplereenroll. It knows messages; keys, requests and files are its caller's.
namespace hwid::transport::est {

// Whom to ask, whom to believe, and who asks.
struct Access {
  std::string url;      // https://HOST[:PORT]/.well-known/est[/LABEL]
  std::string ca_file;  // the anchors of the server's certificate; both empty: the system's
  std::string ca_path;
  std::string cert;  // the client's, with its key: paths or URIs; both empty: none
  std::string key;
  std::string user;  // HTTP Basic; empty: none
  SecretText password;
};

enum class Operation { enroll, reenroll };

// What came of a request.
struct Answer {
  std::vector<X509Ptr> certificates;  // the issued one is among them; empty: come back later
  std::chrono::seconds retry_after{0};
  std::string words;     // the server's, of a refusal for now
  bool pending = false;  // it has the request, and will decide (202)
};

// Of `config` the proxy, ciphers and min-tls are honoured; TLS 1.2 is the least. What is wrong is
// thrown as Error with the URL: of kind refused where the server has answered, or where what it
// answered makes no sense; kinds of Exchange else. Redirects are followed on the same host and port
// alone (RFC 7030, section 3.2.1). Threads: one.
class Client {
 public:
  // Throws Error of kind usage for a URL that is none of EST.
  Client(const DeviceConfig& config, const Access& access);

  const std::string& url() const noexcept { return access_.url; }

  // The CA's certificates, from a server that is proved by the anchors.
  std::vector<X509Ptr> ca_certificates();
  // The same from whoever answers: to be compared with what is known of them before they are
  // believed. Neither certificate nor password is shown.
  std::vector<X509Ptr> unproved_ca_certificates();
  // Of whoever gave the CA's certificates last; null: it is not known.
  const X509* server_certificate() const noexcept { return server_.get(); }

  // None: the server wants nothing (204, 404). Where a challenge password is wanted the connection
  // is one of TLS 1.2 afterwards, whose binding() goes into the request.
  std::optional<CsrAttributes> csr_attributes();
  // base64 of tls-unique (RFC 5929) of the connection of csr_attributes(); empty: none was wanted.
  const std::string& binding() const noexcept { return binding_; }

  // `request` is DER. Throws Error where it could not go over the connection of binding().
  Answer ask(Operation operation, const std::string& request);

 private:
  https::Response get(const char* name, const char* accept, bool unverified);
  https::Response call(const char* name, https::HttpRequest request, const std::string& payload,
                       https::Exchange::Extras extras);
  https::Response follow(const char* name, https::HttpRequest request, const std::string& payload,
                         const https::Exchange::Extras& extras);
  std::vector<X509Ptr> ca_certificates(bool unverified);
  std::vector<X509Ptr> certificates_of(const char* name, const https::Response& response) const;
  Error refusal(const char* name, const https::Response& response) const;
  Error garbage(const char* name, const std::string& why) const;
  std::string next_step_after(const https::Response& response) const;
  std::string url_of(const char* name) const { return access_.url + "/" + name; }

  const Access access_;
  DeviceConfig config_;  // what an Exchange is to know
  DeviceConfig anonymous_;
  Endpoint endpoint_;
  https::Caller caller_;
  bool at_most_tls_1_2_ = false;
  std::string tls_unique_;
  std::string binding_;
  std::shared_ptr<const X509> server_;
};

}  // namespace hwid::transport::est
