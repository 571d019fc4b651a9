// Certificate requests.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tools/hwid/x509/extensions.h"
#include "tools/hwid/x509/owners.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool::x509 {

struct RequestContent {
  const X509_NAME* subject;
  const GENERAL_NAMES* alt_names = nullptr;  // null, or empty: none
  std::optional<Usage> usage = {};
  // What else goes in, before it is signed; may be empty.
  std::function<void(Extensions&, X509_REQ*)> more = {};
  const Extensions* others = nullptr;   // in the place of those two
  std::string challenge_password = {};  // an attribute (RFC 2985, section 5.4.1); empty: none
};

// As PEM. Takes one signature of `key`, and verifies it by the key's public half. Throws what the
// key's token says, or kLibcrypto.
std::string make_request(const RequestContent& content, EVP_PKEY* key, const SignatureForm& form,
                         OSSL_LIB_CTX* crypto);

}  // namespace hwid::tool::x509
