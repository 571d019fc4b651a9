#include "tools/hwid/stored_certificates.h"

#include "provider/core/error.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Object;
using core::Reason;
using core::Wanted;

constexpr Wanted kCertificates{false, false, true};
constexpr Wanted kPrivateKeys{true, false, false};

std::vector<Object> found(Invocation& invocation, const KeyUri& uri, const Wanted& wanted) {
  return invocation.router().open(uri, wanted, Invocation::prompt(),
                                  core::Router::Origin::kProgram);
}

// The certificate beside a private key has the same CKA_ID (PKCS#11 3.0, section 4.6.3). A TPM says
// by itself which one that is.
std::vector<Object> certificates_of_key(Invocation& invocation, const KeyUri& uri) {
  std::vector<Object> certificates;
  for (const Object& key : found(invocation, uri, kPrivateKeys)) {
    const core::KeyDescription& place = key.description;
    if (place.id.empty()) continue;
    const std::string beside = "pkcs11:token=" + core::uri_escape(place.token) +
                               ";id=" + core::uri_escape_id(place.id) + ";type=cert";
    for (Object& certificate : found(invocation, invocation.parse(beside), kCertificates))
      certificates.push_back(std::move(certificate));
  }
  return certificates;
}

}  // namespace

std::vector<x509::Certificate> stored_certificates(Invocation& invocation, const KeyUri& uri) {
  std::vector<Object> objects;
  std::string why;
  try {
    objects = found(invocation, uri, kCertificates);
  } catch (const Error& error) {
    if (error.reason != Reason::kNoObject && error.reason != Reason::kUnsupported) throw;
    if (uri.ek()) throw;  // nobody puts one there
    why = error.what();
  }
  if (objects.empty()) {
    try {
      objects = certificates_of_key(invocation, uri);
    } catch (const Error& error) {
      if (error.reason != Reason::kNoObject) throw;
    }
  }
  if (objects.empty())
    throw Error(Reason::kNoObject, uri.text() + ": there is no certificate" +
                                       (why.empty() ? "" : " (" + why + ")") +
                                       "; `hwid import` puts one beside its key, `hwid export "
                                       "--public` gives the key's public half");
  std::vector<x509::Certificate> parsed;
  for (const Object& object : objects) {
    const std::string bytes(object.certificate.begin(), object.certificate.end());
    parsed.push_back(std::move(
        x509::parse_certificates(bytes, uri.text(), invocation.software().get()).front()));
  }
  return parsed;
}

}  // namespace hwid::tool
