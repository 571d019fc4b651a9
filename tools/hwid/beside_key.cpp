#include "tools/hwid/beside_key.h"

#include "provider/core/error.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Object;
using core::Reason;

bool holds_private_key(const std::string& content) {
  return content.find("PRIVATE KEY-----") != std::string::npos;
}

// The leaf; what signed it may follow, and stays in the file.
x509::Certificate read_leaf(Invocation& invocation, const std::string& content,
                            const std::string& file) {
  if (holds_private_key(content) && content.find("-----BEGIN CERTIFICATE") == std::string::npos)
    throw Error(Reason::kUnsupported,
                "file=" + file +
                    ": a private key, and one that was in a file is no better for being in a "
                    "token; make one there with `hwid generate` (or give "
                    "--yes-import-software-key)");
  std::vector<x509::Certificate> chain =
      x509::parse_certificates(content, file, invocation.software().get());
  if (chain.size() > 1)
    Output::note("Only the first certificate of " + file +
                 " goes into the token; keep the file "
                 "for programs that want the chain (hwid ref --bundle).");
  if (x509::is_past(X509_get0_notAfter(chain.front().get())))
    Output::note("The certificate ended at " +
                 x509::time_text(X509_get0_notAfter(chain.front().get())) + ".");
  return std::move(chain.front());
}

// The one private key that the certificate is for.
Object key_of(Invocation& invocation, const KeyUri& uri, const core::Bytes& der,
              const std::string& subject) {
  const core::PublicKey wanted = core::PublicKey::from_certificate(invocation.software(), der);
  const core::Wanted private_keys{true, false, false};
  std::vector<Object> matching;
  const std::vector<Object> all = invocation.router().open(uri, private_keys, Invocation::prompt(),
                                                           core::Router::Origin::kProgram);
  for (const Object& object : all) {
    if (object.key && object.key->public_key() == wanted) matching.push_back(object);
  }
  if (matching.empty() && all.size() == 1)
    throw Error(Reason::kUnsupported, uri.text() + ": the certificate (" + subject +
                                          ") is for another key: another public key; name the "
                                          "key that its request was made with");
  if (matching.empty())
    throw Error(Reason::kNoPrivateKey, uri.text() + ": the certificate (" + subject +
                                           ") is for none of the " + std::to_string(all.size()) +
                                           " private keys there; `hwid list` shows them");
  if (matching.size() > 1)
    throw Error(Reason::kSeveralObjects, uri.text() + ": the key is there " +
                                             std::to_string(matching.size()) +
                                             " times; name one by id=");
  return std::move(matching.front());
}

}  // namespace

const char* result_text(core::Stored stored) {
  switch (stored) {
    case core::Stored::kNew:
      return "stored";
    case core::Stored::kReplaced:
      return "replaced";
    case core::Stored::kWasThere:
      return "was there";
  }
  return "";
}

BesideKey store_certificate(Invocation& invocation, const KeyUri& uri, const std::string& content,
                            const std::string& file, const StoreOptions& options) {
  BesideKey beside{read_leaf(invocation, content, file), {}, {}};
  const std::string der = x509::der(beside.certificate.get());
  core::CertificateSpec spec;
  spec.der.assign(der.begin(), der.end());
  if (!uri.nv())
    beside.key = key_of(invocation, uri, spec.der,
                        x509::name_text(X509_get_subject_name(beside.certificate.get())))
                     .description;
  spec.label = beside.key.label;
  spec.id = beside.key.id;
  spec.replace = options.replace;
  spec.owner_auth = options.owner_auth;
  beside.stored = invocation.router().store_certificate(uri, spec, Invocation::prompt());
  return beside;
}

}  // namespace hwid::tool
