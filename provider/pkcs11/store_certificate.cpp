// Token::store_certificate: core/backend.h.
#include <openssl/x509.h>

#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Access;
using core::Bytes;
using core::CertificateSpec;
using core::Error;
using core::Reason;
using core::Stored;

namespace {

constexpr const char* kCall = "C_CreateObject";

template <typename Write, typename Object>
Bytes der_of(Write write, const Object* object) {
  unsigned char* der = nullptr;
  const int size = write(object, &der);
  if (size < 0) throw std::bad_alloc();
  Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

// The attributes of an X.509 certificate (PKCS#11 v2.40, 4.6.3). They point into the members.
class CertificateTemplate {
 public:
  explicit CertificateTemplate(const CertificateSpec& spec)
      : label_(spec.label), id_(spec.id), value_(spec.der) {
    const unsigned char* at = spec.der.data();
    const core::Certificate parsed(d2i_X509(nullptr, &at, static_cast<long>(spec.der.size())));
    if (!parsed)
      throw Error(Reason::kBadParameter,
                  std::string(kCall) + ": this is no certificate: " + core::last_libcrypto_error() +
                      "; give one in PEM or DER form");
    subject_ = der_of(i2d_X509_NAME, X509_get_subject_name(parsed.get()));
    issuer_ = der_of(i2d_X509_NAME, X509_get_issuer_name(parsed.get()));
    serial_ = der_of(i2d_ASN1_INTEGER, X509_get0_serialNumber(parsed.get()));
  }

  // `says_public`: CKA_PRIVATE, which some tokens want and others do not know of certificates.
  std::vector<CK_ATTRIBUTE> attributes(bool says_public) {
    std::vector<CK_ATTRIBUTE> list = {{CKA_CLASS, &class_, sizeof class_},
                                      {CKA_TOKEN, &yes_, sizeof yes_},
                                      {CKA_CERTIFICATE_TYPE, &type_, sizeof type_},
                                      {CKA_LABEL, label_.data(), label_.size()},
                                      {CKA_ID, id_.data(), id_.size()},
                                      {CKA_SUBJECT, subject_.data(), subject_.size()},
                                      {CKA_ISSUER, issuer_.data(), issuer_.size()},
                                      {CKA_SERIAL_NUMBER, serial_.data(), serial_.size()},
                                      {CKA_VALUE, value_.data(), value_.size()}};
    if (says_public) list.push_back({CKA_PRIVATE, &no_, sizeof no_});
    return list;
  }

 private:
  CK_OBJECT_CLASS class_ = CKO_CERTIFICATE;
  CK_CERTIFICATE_TYPE type_ = CKC_X_509;
  CK_BBOOL yes_ = CK_TRUE;
  CK_BBOOL no_ = CK_FALSE;
  std::string label_;
  Bytes id_, subject_, issuer_, serial_, value_;
};

// One call's work, which may have to begin again: it looks first, so nothing is stored twice.
class NewCertificate {
 public:
  NewCertificate(const CertificateSpec& spec, const Place& place)
      : spec_(spec), place_(place), template_(spec) {}

  Stored store(Lease& lease) {
    bool is_there = false;
    std::vector<CK_OBJECT_HANDLE> others;
    for (const CK_OBJECT_HANDLE object :
         find_handles(lease, {std::nullopt, spec_.id, CKO_CERTIFICATE}, place_)) {
      if (read_certificate(lease, object, place_) == spec_.der)
        is_there = true;
      else
        others.push_back(object);
    }
    if (!others.empty() && !spec_.replace)
      throw Error(Reason::kExists, std::string(kCall) + ":" + place_text(place_) +
                                       ": another certificate stands beside the key already; "
                                       "replace it with --force, or remove it first");
    if (!is_there) create(lease);
    // The new one is there before the old one goes: a power loss leaves both, never none.
    for (const CK_OBJECT_HANDLE object : others) {
      check(lease->C_DestroyObject(lease.session(), object), "C_DestroyObject", place_);
      replaced_ = true;
    }
    return replaced_ ? Stored::kReplaced : created_ ? Stored::kNew : Stored::kWasThere;
  }

 private:
  void create(Lease& lease) {
    CK_RV rv = CKR_OK;
    for (const bool says_public : {true, false}) {
      std::vector<CK_ATTRIBUTE> attributes = template_.attributes(says_public);
      CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
      rv = lease->C_CreateObject(lease.session(), attributes.data(), attributes.size(), &object);
      const bool refused = rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_TEMPLATE_INCONSISTENT ||
                           rv == CKR_ATTRIBUTE_VALUE_INVALID;
      if (!refused) break;
    }
    check(rv, kCall, place_);
    created_ = true;
  }

  const CertificateSpec& spec_;
  const Place& place_;
  CertificateTemplate template_;
  bool created_ = false;
  bool replaced_ = false;
};

}  // namespace

Stored Token::store_certificate(const CertificateSpec& spec, const Access& access) {
  const Place place{token_->label(), spec.label, {}};
  if (spec.id.empty())
    throw Error(Reason::kUnsupported,
                std::string(kCall) + ":" + place_text(place) +
                    ": the key has no CKA_ID, by which its certificate is found; give it one");
  const SharedToken::Hold hold(token_, KeptPin::For::kCall);
  const Credentials with = credentials(access, access.pins);
  const SessionRequest request{token_->needs_login(policy_), true, with};
  NewCertificate certificate(spec, place);
  info_is_fresh_ = false;
  return token_->with_session(request,
                              [&](Lease& lease, bool) { return certificate.store(lease); });
}

}  // namespace hwid::pkcs11
