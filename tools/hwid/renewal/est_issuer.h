// A certificate for a generation, by EST (RFC 7030).
#pragma once

#include <hwid/device_config.h>

#include <chrono>
#include <optional>
#include <string>

#include "tools/hwid/invocation.h"
#include "tools/hwid/x509/extensions.h"
#include "tools/hwid/x509/owners.h"
#include "transport/cloud/est_client.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

// Who asks for a certificate, and how it shows who it is.
struct Applicant {
  transport::est::Operation operation = transport::est::Operation::enroll;
  x509::Name subject;
  x509::Extensions extensions;
  std::string cert, key;  // of TLS; empty: none
  std::string user;       // of HTTP Basic; empty: none
  transport::SecretText password;
};

// Whom the server is proved by: the first of these that is there, else ca-file and ca-path of
// device.conf, else the system's CAs.
struct Trust {
  std::string fingerprint;  // of a certificate in cacerts; nothing else is believed then
  std::string ca_file;
};

// One thread.
class EstIssuer {
 public:
  EstIssuer(Invocation& invocation, const transport::DeviceConfig& config,
            transport::CredentialStore& store)
      : invocation_(invocation), config_(config), store_(store) {}

  // The anchors that a generation was enrolled with; empty: it has none of its own.
  static std::string anchors_of(const transport::CredentialStore::Generation& generation);

  struct Later {
    std::chrono::seconds after;  // 0: the server does not say
    std::string words;
    bool pending;  // it has the request; else it is busy
  };
  // Asks for a certificate for the generation's key and keeps it there, or says when to ask again.
  // `again`: the CA has a request for this subject, which is repeated as it was. Throws
  // transport::Error, core::Error.
  std::optional<Later> obtain(const transport::CredentialStore::Generation& generation,
                              const Applicant& applicant, const Trust& trust, bool again);

  // The request of a generation that the CA has not decided on; empty: there is none.
  static std::string request_of(const transport::CredentialStore::Generation& generation);

  // A connection to the server with the generation's certificate. Throws transport::Error.
  void connect_with(const transport::CredentialStore::Generation& generation);

 private:
  transport::est::Access access_of(const Applicant& applicant, const Trust& trust) const;
  std::string pinned_anchor(const std::string& fingerprint) const;
  void keep_anchors(const transport::CredentialStore::Generation& generation,
                    const std::vector<transport::X509Ptr>& authorities,
                    const transport::est::Access& proved) const;
  std::string request_for(const transport::CredentialStore::Generation& generation,
                          const Applicant& applicant,
                          const std::optional<transport::est::CsrAttributes>& wanted,
                          const std::string& binding, bool again);
  std::vector<transport::X509Ptr> ask(transport::est::Client& client, const Applicant& applicant,
                                      const std::string& request, std::optional<Later>& later);

  Invocation& invocation_;
  const transport::DeviceConfig& config_;
  transport::CredentialStore& store_;
};

// What a renewed certificate has of the one before: subject, and subject alternative names as they
// stand there (RFC 7030, section 4.2.2).
void copy_identity(const X509* certificate, Applicant& applicant);
// The same of a request in a file.
void copy_identity(const std::string& request_file, Applicant& applicant);

}  // namespace hwid::tool::renewal
