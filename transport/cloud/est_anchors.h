#pragma once

#include <hwid/transport_error.h>

#include <string>
#include <vector>

#include "transport/openssl_handles.h"

// Whom an EST client believes, and whether what was issued can be used. `url` is for messages.
namespace hwid::transport::est {

// The digits of a SHA-256 fingerprint in lower case: of 64 hexadecimal digits, with colons or
// without, maybe behind "sha256:". Throws Error of kind usage.
std::string parse_fingerprint(const std::string& text);

std::string fingerprint_of(const X509* certificate);

// The certificate of that fingerprint, alone; the rest is believed through it or not at all. Throws
// Error of kind refused where there is none, with those that there are; and says so where it is
// that of `server`, the server's own certificate (null: not known), which anchors nothing.
std::vector<X509Ptr> pinned_anchor(const std::vector<X509Ptr>& offered,
                                   const std::string& fingerprint, const X509* server,
                                   const std::string& url);

// What of a CA's certificates is an anchor: those that sign themselves; all, where none does.
std::vector<X509Ptr> anchors_in(const std::vector<X509Ptr>& certificates);

// Whether both hold the same certificates.
bool same_certificates(const std::vector<X509Ptr>& one, const std::vector<X509Ptr>& other);

struct Issued {
  X509Ptr certificate;
  std::vector<X509Ptr> chain;  // from its issuer on, without the root
};

// The certificate in `answer` that was issued for `key`, with its chain through `authorities` (of
// cacerts). Throws Error of kind refused: there is none or several, it has ended, no anchor vouches
// for it, or it is a CA's.
Issued judge_issued(const std::vector<X509Ptr>& answer, const EVP_PKEY* key,
                    const std::vector<X509Ptr>& authorities, const std::string& url);

std::string pem_of(const std::vector<X509Ptr>& certificates);
std::string pem_of(const Issued& issued);

}  // namespace hwid::transport::est
