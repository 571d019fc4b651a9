#include "provider/pkcs11/public_half.h"

#include <algorithm>
#include <array>

namespace hwid::pkcs11 {

using core::Libcrypto;
using core::PublicKey;

namespace {

constexpr std::array<CK_MECHANISM_TYPE, 10> kPssMechanisms = {
    CK_MECHANISM_TYPE{CKM_RSA_PKCS_PSS},
    CK_MECHANISM_TYPE{CKM_SHA1_RSA_PKCS_PSS},
    CK_MECHANISM_TYPE{CKM_SHA224_RSA_PKCS_PSS},
    CK_MECHANISM_TYPE{CKM_SHA256_RSA_PKCS_PSS},
    CK_MECHANISM_TYPE{CKM_SHA384_RSA_PKCS_PSS},
    CK_MECHANISM_TYPE{CKM_SHA512_RSA_PKCS_PSS},
    kSha3_224RsaPkcsPss,
    kSha3_256RsaPkcsPss,
    kSha3_384RsaPkcsPss,
    kSha3_512RsaPkcsPss};

bool belong_together(const ObjectAttributes& a, const ObjectAttributes& b) {
  if (!a.id.empty()) return a.id == b.id;
  return b.id.empty() && a.label == b.label;
}

bool is_of(const ObjectAttributes& object, CK_OBJECT_CLASS object_class,
           const ObjectAttributes& key) {
  return object.object_class == object_class && belong_together(key, object);
}

std::optional<PublicKey> from_objects(Lease& lease, const Libcrypto& crypto,
                                      const ObjectAttributes& key,
                                      std::vector<ObjectAttributes>& objects, bool pss_only,
                                      const Place& place) {
  for (const ObjectAttributes& object : objects) {
    if (!is_of(object, CKO_PUBLIC_KEY, key) || object.key_type != key.key_type) continue;
    if (auto half = public_key_of(crypto, object, pss_only)) return half;
  }
  for (ObjectAttributes& object : objects) {
    if (!is_of(object, CKO_CERTIFICATE, key)) continue;
    if (object.certificate.empty())
      object.certificate = read_certificate(lease, object.handle, place);
    if (!object.certificate.empty()) return PublicKey::from_certificate(crypto, object.certificate);
  }
  return std::nullopt;
}

std::optional<PublicKey> public_half(Lease& lease, const Libcrypto& crypto,
                                     const ObjectAttributes& key,
                                     std::vector<ObjectAttributes>& objects, const Place& place) {
  const bool pss_only = allows_only_pss(key.allowed_mechanisms);
  if (auto half = public_key_of(crypto, key, pss_only)) return half;
  if (auto half = from_objects(lease, crypto, key, objects, pss_only, place)) return half;
  SearchFor others;
  if (!key.id.empty())
    others.id = key.id;
  else
    others.label = key.label;
  std::vector<ObjectAttributes> found = find_objects(lease, others, place);
  return from_objects(lease, crypto, key, found, pss_only, place);
}

}  // namespace

bool is_supported_key_type(CK_KEY_TYPE type) noexcept { return type == CKK_RSA || type == CKK_EC; }

bool allows_only_pss(const std::vector<CK_MECHANISM_TYPE>& allowed) noexcept {
  return !allowed.empty() && std::ranges::all_of(allowed, [](CK_MECHANISM_TYPE mechanism) {
    return std::ranges::find(kPssMechanisms, mechanism) != kPssMechanisms.end();
  });
}

std::optional<PublicKey> public_key_of(const Libcrypto& crypto, const ObjectAttributes& object,
                                       bool pss_only) {
  pss_only = pss_only || allows_only_pss(object.allowed_mechanisms);
  // SubjectPublicKeyInfo alone says id-RSASSA-PSS, so it comes first.
  if (!object.public_key_info.empty()) {
    try {
      PublicKey key = PublicKey::from_spki(crypto, object.public_key_info);
      if (key.algorithm() != core::Algorithm::kRsa || !pss_only) return key;
    } catch (const core::Error&) {  // the other attributes may do
    }
  }
  if (object.key_type == CKK_RSA && !object.modulus.empty() && !object.public_exponent.empty())
    return PublicKey::rsa(crypto, object.modulus, object.public_exponent, pss_only);
  if (object.key_type == CKK_EC && !object.ec_params.empty() && !object.ec_point.empty())
    return PublicKey::ec(crypto, object.ec_params, object.ec_point);
  return std::nullopt;
}

std::vector<PrivateKeyObject> private_keys(Lease& lease, const Libcrypto& crypto,
                                           std::vector<ObjectAttributes>& objects,
                                           const Place& place) {
  std::vector<PrivateKeyObject> keys;
  for (const ObjectAttributes& object : objects) {
    if (object.object_class != CKO_PRIVATE_KEY || !is_supported_key_type(object.key_type)) continue;
    PrivateKeyObject key{object, std::nullopt, {}};
    try {
      key.public_key = public_half(lease, crypto, object, objects, place);
      if (!key.public_key) key.problem = "the token holds no public half of it";
    } catch (const TokenError&) {
      throw;
    } catch (const core::Error& error) {  // values that make no key must not spoil a listing
      key.problem = error.what();
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace hwid::pkcs11
