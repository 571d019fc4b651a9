#include "transport/cloud/est_client.h"

#include <openssl/ssl.h>
#include <strings.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "transport/base64.h"
#include "transport/https/explain.h"

namespace hwid::transport::est {

namespace {

using https::HttpRequest;
using https::Response;

constexpr std::chrono::milliseconds kTimeout{30000};
constexpr int kMostRedirects = 3;
constexpr long kAccepted = 202;
constexpr std::uint16_t kHttpsPort = 443;
constexpr std::string_view kWellKnown = "/.well-known/est";
constexpr const char* kPkcs7 = "application/pkcs7-mime";
constexpr const char* kCsrAttributes = "application/csrattrs";

bool begins_with(std::string_view text, std::string_view word) {
  return text.size() >= word.size() && ::strncasecmp(text.data(), word.data(), word.size()) == 0;
}

bool is_media_type(const std::string& content_type, std::string_view type) {
  if (!begins_with(content_type, type)) return false;
  const std::string_view rest = std::string_view(content_type).substr(type.size());
  return rest.empty() || rest[0] == ';' || rest[0] == ' ' || rest[0] == '\t';
}

std::string shown_type(const Response& response) {
  constexpr std::size_t kMost = 80;
  return response.content_type.substr(0, kMost);
}

std::string checked_url(std::string url, const std::string& source) {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::usage, "EST", source + "est-url = " + printable_endpoint(url), why,
                "write https://HOST[:PORT]/.well-known/est, or that with /LABEL behind");
  };
  while (!url.empty() && url.back() == '/') url.pop_back();
  if (scheme_of(url) != "https") fail("EST is spoken over https:// alone");
  Endpoint endpoint = parse_endpoint(url);
  if (endpoint.path.empty()) url.append(kWellKnown);
  if (!endpoint.path.empty() && endpoint.path.find(kWellKnown) == std::string::npos)
    fail("its path has no /.well-known/est (RFC 7030, section 3.2.2)");
  return url;
}

// What an Exchange of ours reads of a configuration: that of the broker in the rest of the file is
// not the CA's.
DeviceConfig exchange_config(const DeviceConfig& config, const Access& access) {
  DeviceConfig ours;
  ours.source = config.source;
  ours.endpoint = access.url;
  ours.proxy = config.proxy;
  ours.ciphers = config.ciphers;
  ours.min_tls = config.min_tls.value_or(TlsVersion::v1_2);
  ours.ca_file = access.ca_file;
  ours.ca_path = access.ca_path;
  return ours;
}

Access checked(Access access, const std::string& source) {
  access.url = checked_url(access.url, source.empty() ? "" : source + ", ");
  if (access.cert.empty() != access.key.empty())
    throw Error(ErrorKind::usage, "EST", access.url,
                access.cert.empty() ? "there is a key without a certificate"
                                    : "there is a certificate without a key",
                "give both, or none");
  return access;
}

Endpoint endpoint_of(const std::string& url) {
  Endpoint endpoint = parse_endpoint(url);
  if (endpoint.port == 0) endpoint.port = kHttpsPort;
  return endpoint;
}

// The CA has not decided yet (RFC 7030, section 4.2.3), or the server is busy (RFC 9110, RFC 6585).
bool is_for_now(long status) { return status == kAccepted || status == 429 || status == 503; }

}  // namespace

Client::Client(const DeviceConfig& config, const Access& access)
    : access_(checked(access, config.source)),
      config_(exchange_config(config, access_)),
      anonymous_(config_),
      endpoint_(endpoint_of(access_.url)) {
  config_.cert = access_.cert;
  config_.key = access_.key;
}

std::vector<X509Ptr> Client::ca_certificates() { return ca_certificates(false); }

std::vector<X509Ptr> Client::unproved_ca_certificates() { return ca_certificates(true); }

std::vector<X509Ptr> Client::ca_certificates(bool unverified) {
  constexpr const char* kName = "cacerts";
  const Response response = get(kName, kPkcs7, unverified);
  server_ = response.server;
  if (response.status != 200) throw refusal(kName, response);
  return certificates_of(kName, response);
}

std::optional<CsrAttributes> Client::csr_attributes() {
  constexpr const char* kName = "csrattrs";
  for (;;) {
    const Response response = get(kName, kCsrAttributes, false);
    if (response.status == 204 || response.status == 404) return std::nullopt;
    if (response.status != 200) throw refusal(kName, response);
    if (response.body.empty()) return std::nullopt;
    if (!is_media_type(response.content_type, kCsrAttributes))
      throw garbage(kName,
                    "its content type is " + shown_type(response) + ", not " + kCsrAttributes);
    CsrAttributes wanted;
    try {
      wanted = csr_attributes_in(response.body);
    } catch (const Garbage& why) {
      throw garbage(kName, why.what());
    }
    if (!wanted.challenge_password) return wanted;
    if (!response.tls_unique.empty()) {
      tls_unique_ = response.tls_unique;
      binding_ = to_base64(tls_unique_);
      return wanted;
    }
    if (std::exchange(at_most_tls_1_2_, true))
      throw Error(ErrorKind::refused, "EST csrattrs", url_of(kName),
                  "the server wants a challenge password, but the connection has no tls-unique",
                  "ask the CA's operator to want none of clients with TLS 1.3");
  }
}

Answer Client::ask(Operation operation, const std::string& request) {
  const char* const name = operation == Operation::enroll ? "simpleenroll" : "simplereenroll";
  HttpRequest post;
  post.url = url_of(name);
  post.headers = {"Content-Type: application/pkcs10", "Content-Transfer-Encoding: base64",
                  std::string("Accept: ") + kPkcs7};
  const Response response = call(name, std::move(post), to_base64(request), {});
  if (!binding_.empty() && response.tls_unique != tls_unique_)
    throw Error(ErrorKind::refused, std::string("EST ") + name, url_of(name),
                "the request is tied to a connection that the server did not keep open",
                "the server must keep a connection from csrattrs to " + std::string(name) +
                    ", or want no challenge password");
  if (is_for_now(response.status))
    return {{}, response.retry_after, https::words_of(response), response.status == kAccepted};
  if (response.status != 200) throw refusal(name, response);
  Answer answer;
  answer.certificates = certificates_of(name, response);
  return answer;
}

https::Response Client::get(const char* name, const char* accept, bool unverified) {
  HttpRequest request;
  request.url = url_of(name);
  request.headers = {std::string("Accept: ") + accept};
  request.method = HttpRequest::Method::get;
  https::Exchange::Extras extras;
  extras.unverified = unverified;
  return call(name, std::move(request), {}, extras);
}

https::Response Client::call(const char* name, HttpRequest request, const std::string& payload,
                             https::Exchange::Extras extras) {
  extras.at_most_tls_1_2 = at_most_tls_1_2_;
  if (!extras.unverified) {
    request.user = access_.user;
    request.password = access_.password;
  }
  try {
    return follow(name, std::move(request), payload, extras);
  } catch (const Error& error) {
    if (extras.unverified || error.kind() != ErrorKind::environment) throw;
    throw https::explain(config_, endpoint_, error);
  }
}

https::Response Client::follow(const char* name, HttpRequest request, const std::string& payload,
                               const https::Exchange::Extras& extras) {
  DeviceConfig& config = extras.unverified ? anonymous_ : config_;
  for (int redirects = 0;; ++redirects) {
    config.endpoint = request.url;  // for messages
    Response response = caller_.call(config, endpoint_, request, payload, kTimeout, extras);
    if (response.location.empty()) return response;
    if (redirects == kMostRedirects)
      throw garbage(name, "it leads from one place to another without an end");
    const bool is_here = begins_with(response.location, "https://") &&
                         endpoint_of(response.location).authority() == endpoint_.authority();
    if (!is_here) throw refusal(name, response);
    request.url = response.location;
  }
}

std::vector<X509Ptr> Client::certificates_of(const char* name, const Response& response) const {
  if (!is_media_type(response.content_type, kPkcs7))
    throw garbage(name, "its content type is " + shown_type(response) + ", not " + kPkcs7);
  try {
    return certificates_in(response.body);
  } catch (const Garbage& why) {
    throw garbage(name, why.what());
  }
}

Error Client::garbage(const char* name, const std::string& why) const {
  return {ErrorKind::refused, std::string("EST ") + name, url_of(name),
          "the server's answer is wrong: " + why,
          "check that est-url leads to an EST server, and ask its operator"};
}

Error Client::refusal(const char* name, const Response& response) const {
  const std::string words = https::words_of(response);
  return {ErrorKind::refused,
          std::string("EST ") + name,
          url_of(name),
          "the server answered " + std::to_string(response.status) +
              (words.empty() ? "" : " (" + words + ")"),
          next_step_after(response),
          static_cast<int>(response.status),
          response.retry_after};
}

std::string Client::next_step_after(const Response& response) const {
  if (!response.location.empty())
    return "it leads to " + printable_endpoint(response.location) +
           ", which is not followed; write that as est-url if it is right";
  if (response.status == 401 && access_.user.empty())
    return begins_with(response.challenge, "basic")
               ? "give --user and --password-source"
               : "the server must take a client certificate, or a password by HTTP Basic";
  if (response.status == 401 || response.status == 403)
    return access_.user.empty() ? "check what the CA lets this certificate do"
                                : "check --user, and the password";
  if (response.status == 404) return "check the path of est-url, and its label";
  if (response.retry_after.count() > 0)
    return "try again in " + std::to_string(response.retry_after.count()) + " s";
  if (response.status == 400)
    return "check that subject and alternative names are what the CA issues to this device";
  return "ask the CA's operator, or try again later";
}

}  // namespace hwid::transport::est
