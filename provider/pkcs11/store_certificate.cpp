// Token::store_certificate: core/backend.h.
#include <openssl/x509.h>

#include <algorithm>
#include <vector>

#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Access;
using core::Bytes;
using core::CertificateSpec;
using core::Error;
using core::PublicKey;
using core::Reason;
using core::Stored;
using core::StoredCertificate;

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
  NewCertificate(const CertificateSpec& spec, const Place& place, const Access& access)
      : spec_(spec),
        place_(place),
        access_(access),
        template_(spec),
        public_key_(PublicKey::from_certificate(access.crypto, spec.der)) {}

  void store(Lease& lease) {
    bool is_there = false;
    std::vector<ObjectAttributes> others;
    for (ObjectAttributes& object :
         find_objects(lease, {std::nullopt, spec_.id, CKO_CERTIFICATE}, place_)) {
      object.certificate = certificate_of(lease, object);
      if (object.certificate == spec_.der)
        is_there = true;
      else if (is_for_this_key(object.certificate))
        others.push_back(std::move(object));
    }
    if (!others.empty() && !spec_.replace)
      throw Error(Reason::kExists, std::string(kCall) + ":" + place_text(place_) +
                                       ": another certificate stands beside the key already; "
                                       "replace it with --force, or remove it first");
    if (!is_there) create(lease);
    // The new one is there before the old one goes: a power loss leaves both, never none.
    for (const ObjectAttributes& object : others) {
      if (std::ranges::find(replaced_, object.certificate, &ObjectAttributes::certificate) ==
          replaced_.end())
        replaced_.push_back(object);
      check(lease->C_DestroyObject(lease.session(), object.handle), "C_DestroyObject", place_);
    }
  }

  bool created() const noexcept { return created_; }
  const std::vector<ObjectAttributes>& replaced() const noexcept { return replaced_; }

 private:
  // What cannot be read is left alone.
  Bytes certificate_of(Lease& lease, const ObjectAttributes& object) const {
    try {
      return read_certificate(lease, object.handle, place_).der;
    } catch (const TokenError&) {
      throw;
    } catch (const Error& error) {
      HWID_LOG(access_.log, kWarn, std::string(error.what()));
      return {};
    }
  }

  // Two keys may share a CKA_ID: only what this key's certificate replaces is at stake.
  bool is_for_this_key(const Bytes& der) const {
    if (der.empty()) return false;  // of another kind than X.509
    try {
      return PublicKey::from_certificate(access_.crypto, der) == public_key_;
    } catch (const Error&) {
      return false;  // a kind of key that we do not know
    }
  }

  void create(Lease& lease) {
    created_ = true;  // also where the answer is lost and the certificate is found later
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
  }

  const CertificateSpec& spec_;
  const Place& place_;
  const Access& access_;
  CertificateTemplate template_;
  const PublicKey public_key_;  // after template_, whose words on what is no certificate are better
  bool created_ = false;
  std::vector<ObjectAttributes> replaced_;
};

}  // namespace

StoredCertificate Token::store_certificate(const CertificateSpec& spec, const Access& access) {
  const Place place{token_->label(), spec.label, {}};
  if (spec.id.empty())
    throw Error(Reason::kUnsupported,
                std::string(kCall) + ":" + place_text(place) +
                    ": the key has no CKA_ID, by which its certificate is found; give it one");
  const SharedToken::Hold hold(token_, KeptPin::For::kCall);
  const Credentials with = credentials(access, access.pins);
  const SessionRequest request{token_->needs_login(policy_), true, with};
  NewCertificate certificate(spec, place, access);
  info_is_fresh_ = false;
  token_->with_session(request, [&](Lease& lease, bool) { certificate.store(lease); });
  StoredCertificate stored;
  for (const ObjectAttributes& object : certificate.replaced()) {
    core::Object& gone = stored.replaced.emplace_back();
    gone.object_class = core::ObjectClass::kCertificate;
    gone.certificate = object.certificate;
    gone.description = describe(object, nullptr);
  }
  stored.result = !stored.replaced.empty() ? Stored::kReplaced
                  : certificate.created()  ? Stored::kNew
                                           : Stored::kWasThere;
  return stored;
}

}  // namespace hwid::pkcs11
