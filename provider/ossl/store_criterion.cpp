#include "provider/ossl/store_criterion.h"

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/store.h>

#include <algorithm>
#include <array>

namespace hwid::ossl::store {
namespace {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Libcrypto;
using core::Reason;
using Memory =
    std::unique_ptr<unsigned char, core::FreeWith<[](void* memory) { OPENSSL_free(memory); }>>;

[[noreturn]] void wrong(const char* name) {
  throw Error(Reason::kBadParameter, std::string("OSSL_STORE_find: parameter ") + name +
                                         " has no usable value; see OSSL_STORE_SEARCH(3)");
}

// Null where `params` do not have it.
const OSSL_PARAM* given(const OSSL_PARAM params[], const char* name) {
  return OSSL_PARAM_locate_const(params, name);
}

ByteView octets(const OSSL_PARAM& param) {
  const void* data = nullptr;
  std::size_t size = 0;
  if (OSSL_PARAM_get_octet_string_ptr(&param, &data, &size) != 1 || size == 0) wrong(param.key);
  return {static_cast<const std::uint8_t*>(data), size};
}

// By its length, where it has one: OSSL_STORE_find hands on what need not end in a NUL.
std::string text(const OSSL_PARAM& param) {
  if (param.data_type != OSSL_PARAM_UTF8_STRING || param.data == nullptr) wrong(param.key);
  return {static_cast<const char*>(param.data), param.data_size};
}

X509_NAME* name_of(const OSSL_PARAM& param) {
  const core::ErrorMark mark;
  const ByteView der = octets(param);
  const std::uint8_t* at = der.data();
  X509_NAME* const name = d2i_X509_NAME(nullptr, &at, static_cast<long>(der.size()));
  if (name == nullptr) wrong(param.key);
  return name;
}

Bytes public_key_info(EVP_PKEY* key) {
  const std::unique_ptr<OSSL_ENCODER_CTX, core::FreeWith<OSSL_ENCODER_CTX_free>> encoder(
      OSSL_ENCODER_CTX_new_for_pkey(key, EVP_PKEY_PUBLIC_KEY, "DER", "SubjectPublicKeyInfo",
                                    core::kNotHwid));
  unsigned char* der = nullptr;
  std::size_t size = 0;
  if (!encoder || OSSL_ENCODER_to_data(encoder.get(), &der, &size) != 1) return {};
  const Memory owned(der);
  return {der, der + size};
}

}  // namespace

void Criterion::set_params(const OSSL_PARAM params[]) {
  if (const auto* const param = given(params, OSSL_STORE_PARAM_SUBJECT))
    subject_.reset(name_of(*param));
  if (const auto* const param = given(params, OSSL_STORE_PARAM_ISSUER))
    issuer_.reset(name_of(*param));
  if (const auto* const param = given(params, OSSL_STORE_PARAM_SERIAL)) {
    BIGNUM* number = nullptr;
    if (OSSL_PARAM_get_BN(param, &number) != 1) wrong(param->key);
    serial_.reset(number);
  }
  if (const auto* const param = given(params, OSSL_STORE_PARAM_ALIAS)) alias_ = text(*param);
  if (const auto* const param = given(params, OSSL_STORE_PARAM_DIGEST)) digest_ = text(*param);
  if (const auto* const param = given(params, OSSL_STORE_PARAM_FINGERPRINT)) {
    const ByteView bytes = octets(*param);
    fingerprint_.assign(bytes.begin(), bytes.end());
  }
}

bool Criterion::admits(const Libcrypto& crypto, const core::Object& object) const {
  const core::ErrorMark mark;
  if (alias_ && object.description.label != *alias_) return false;
  core::Certificate certificate;
  if (object.object_class == core::ObjectClass::kCertificate &&
      (is_of_certificates() || !fingerprint_.empty()))
    certificate = core::parse_certificate(crypto, object.certificate);
  if (is_of_certificates() && !admits_certificate(certificate)) return false;
  return fingerprint_.empty() || has_fingerprint(crypto, object, certificate);
}

bool Criterion::admits_certificate(const core::Certificate& certificate) const {
  if (!certificate) return false;
  if (subject_ && X509_NAME_cmp(subject_.get(), X509_get_subject_name(certificate.get())) != 0)
    return false;
  if (issuer_ && X509_NAME_cmp(issuer_.get(), X509_get_issuer_name(certificate.get())) != 0)
    return false;
  if (!serial_) return true;
  const core::BigNum number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  return number && BN_cmp(number.get(), serial_.get()) == 0;
}

bool Criterion::has_fingerprint(const Libcrypto& crypto, const core::Object& object,
                                const core::Certificate& certificate) const {
  const core::EvpMd digest = crypto.fetch_digest(digest_.empty() ? "SHA1" : digest_);
  const auto matches = [&](ByteView data) {
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    return !data.empty() &&
           EVP_Digest(data.data(), data.size(), hash.data(), &size, digest.get(), nullptr) == 1 &&
           std::ranges::equal(ByteView(hash.data(), size), fingerprint_);
  };
  if (object.key) return matches(public_key_info(object.key->public_key().pkey()));
  if (object.public_key) return matches(public_key_info(object.public_key->pkey()));
  if (!certificate) return false;
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der);
  const Memory owned(der);
  return matches(object.certificate) ||
         (size > 0 && matches(ByteView(der, static_cast<std::size_t>(size))));
}

}  // namespace hwid::ossl::store
