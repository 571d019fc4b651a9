// What OSSL_STORE_find asks for (OSSL_STORE_SEARCH(3), provider-storemgmt(7)).
#pragma once

#include <openssl/core_dispatch.h>

#include <memory>
#include <optional>
#include <string>

#include "provider/core/backend.h"

namespace hwid::ossl::store {

// One search criterion; one that nobody set admits every object. For one thread.
class Criterion {
 public:
  // Takes what `params` name of it. Throws kBadParameter where a value is none of its kind.
  void set_params(const OSSL_PARAM params[]);

  // Subject, or issuer and serial number: certificates. Alias: every object, by its CKA_LABEL.
  // Fingerprint: of a certificate, or of the SubjectPublicKeyInfo of whatever has one.
  bool admits(const core::Libcrypto& crypto, const core::Object& object) const;
  bool is_of_certificates() const noexcept { return subject_ || issuer_ || serial_; }

 private:
  using Name = std::unique_ptr<X509_NAME, core::FreeWith<X509_NAME_free>>;
  bool admits_certificate(const core::Certificate& certificate) const;
  bool has_fingerprint(const core::Libcrypto& crypto, const core::Object& object,
                       const core::Certificate& certificate) const;

  Name subject_, issuer_;
  core::BigNum serial_;
  std::optional<std::string> alias_;
  std::string digest_;
  core::Bytes fingerprint_;
};

}  // namespace hwid::ossl::store
