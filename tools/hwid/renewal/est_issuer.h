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
  bool is_learned = false;  // ca_file is what the CA said of itself
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
  // `pending`: the CA has the generation's request, which is repeated as it was where it is for
  // the same applicant; it is set to what is so afterwards. Throws transport::Error, core::Error.
  std::optional<Later> obtain(const transport::CredentialStore::Generation& generation,
                              const Applicant& applicant, const Trust& trust, bool& pending);

  // The request of a generation that the CA has not decided on; empty: there is none.
  static std::string request_of(const transport::CredentialStore::Generation& generation);

  // A connection to the server with the generation's certificate. Throws transport::Error.
  void connect_with(const transport::CredentialStore::Generation& generation);

 private:
  transport::est::Access access_of(const Applicant& applicant, const Trust& trust) const;
  std::vector<transport::X509Ptr> authorities_of(transport::est::Client& client,
                                                 const Trust& trust) const;
  std::string pinned_anchor(const std::string& fingerprint) const;
  void keep_anchors(const transport::CredentialStore::Generation& generation,
                    const std::vector<transport::X509Ptr>& authorities,
                    const transport::est::Access& proved) const;
  std::string request_for(const transport::CredentialStore::Generation& generation,
                          const Applicant& applicant,
                          const std::optional<transport::est::CsrAttributes>& wanted,
                          const std::string& binding, bool pending);
  std::vector<transport::X509Ptr> ask(transport::est::Client& client, const Applicant& applicant,
                                      const std::string& request, std::optional<Later>& later,
                                      bool& pending);

  Invocation& invocation_;
  const transport::DeviceConfig& config_;
  transport::CredentialStore& store_;
};

// Whether both are for the same subject and subject alternative names.
bool is_same_identity(const Applicant& one, const Applicant& other);

// What a renewed certificate has of the one before: subject, and subject alternative names as they
// stand there (RFC 7030, section 4.2.2).
void copy_identity(const X509* certificate, Applicant& applicant);
// The same of a request in a file.
void copy_identity(const std::string& request_file, Applicant& applicant);

}  // namespace hwid::tool::renewal
