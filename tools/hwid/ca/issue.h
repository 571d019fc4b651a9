// A certificate by the CA, whatever it is for.
#pragma once

#include <functional>
#include <string>

#include "tools/hwid/ca/authority.h"
#include "tools/hwid/x509/extensions.h"

namespace hwid::tool::ca {

// Borrowed.
struct Order {
  const X509_NAME* subject;
  EVP_PKEY* key;      // public
  long days;          // it ends with the CA, at the latest
  const char* whose;  // for messages: "the request"
};

// Signed, and verified as a strict client would. `add_own` adds what it is for; constraints and key
// identifiers are there in any case. Throws kUnsupported where the CA is over, or the order is for
// the CA's own key or name.
x509::Certificate issue(Authority& ca, const Order& order, OSSL_LIB_CTX* crypto,
                        const std::function<void(x509::Extensions&)>& add_own);

// Enters it into the index, before anybody has it: what is not there cannot be revoked. Returns
// its serial number.
std::string record(Authority& ca, const X509* certificate);

}  // namespace hwid::tool::ca
