// A certificate that goes beside its key, on the key's token.
#pragma once

#include <memory>
#include <string>

#include "provider/core/backend.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/x509/owners.h"

namespace hwid::tool {

struct StoreOptions {
  bool replace = false;                                      // another one that is there
  std::shared_ptr<const core::Secret> owner_auth = nullptr;  // of a TPM's owner hierarchy
};

// The certificate, where it stands, and what became of others.
struct BesideKey {
  x509::Certificate certificate;
  core::KeyDescription key;  // empty where `uri` names an NV index: that may be of whosever key
  core::StoredCertificate stored;
};

// Stores the first certificate in `content` (PEM or DER, which `file` names in messages) under
// label and CKA_ID of the private key that it is for: the one that `uri` names, or one on the token
// that it names. Logs in, where needed with a question for the PIN. Throws kUnsupported for what is
// no certificate of that key, kNoPrivateKey, kSeveralObjects, kExists.
BesideKey store_certificate(Invocation& invocation, const core::KeyUri& uri,
                            const std::string& content, const std::string& file,
                            const StoreOptions& options);

const char* result_text(core::Stored stored);  // "stored", "replaced", "was there"

}  // namespace hwid::tool
