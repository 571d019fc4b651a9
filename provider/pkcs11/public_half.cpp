#include "provider/pkcs11/public_half.h"

#include <openssl/core_names.h>

#include <algorithm>

#include "provider/pkcs11/mechanism.h"

namespace hwid::pkcs11 {

using core::Libcrypto;
using core::PublicKey;

namespace {

// rsaEncryption in a certificate does not say that the key is for PSS only.
PublicKey as_pss_only(const Libcrypto& crypto, const PublicKey& key) {
  const auto number = [&](const char* name) {
    BIGNUM* value = nullptr;
    EVP_PKEY_get_bn_param(key.pkey(), name, &value);
    const core::BigNum owned(value);
    core::Bytes bytes(value != nullptr ? static_cast<std::size_t>(BN_num_bytes(value)) : 0);
    if (value != nullptr) BN_bn2bin(value, bytes.data());
    return bytes;
  };
  return PublicKey::rsa(crypto, number(OSSL_PKEY_PARAM_RSA_N), number(OSSL_PKEY_PARAM_RSA_E), true);
}

PublicKey restricted(const Libcrypto& crypto, const PublicKey& key, bool pss_only) {
  return pss_only && key.algorithm() == core::Algorithm::kRsa ? as_pss_only(crypto, key) : key;
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
      set_certificate(object, read_certificate(lease, object.handle, place));
    if (!object.certificate.empty())
      return restricted(crypto, PublicKey::from_certificate(crypto, object.certificate), pss_only);
  }
  return std::nullopt;
}

// What `done` found has everything that `next` would find.
bool covers(const SearchFor& done, const SearchFor& next) {
  return !done.object_class && (!done.id || done.id == next.id) &&
         (!done.label || done.label == next.label);
}

std::optional<PublicKey> public_half(Lease& lease, const Libcrypto& crypto,
                                     const ObjectAttributes& key,
                                     std::vector<ObjectAttributes>& objects,
                                     const SearchFor& searched, const Place& place) {
  const bool pss_only = allows_only_pss(key.allowed_mechanisms);
  if (auto half = public_key_of(crypto, key, pss_only)) return half;
  if (auto half = from_objects(lease, crypto, key, objects, pss_only, place)) return half;
  SearchFor others;
  if (!key.id.empty())
    others.id = key.id;
  else
    others.label = key.label;
  if (covers(searched, others)) return std::nullopt;
  std::vector<ObjectAttributes> found = find_objects(lease, others, place);
  return from_objects(lease, crypto, key, found, pss_only, place);
}

}  // namespace

namespace {}  // namespace

bool is_supported_key_type(CK_KEY_TYPE type) noexcept {
  return type == CKK_RSA || is_curve_type(type);
}

bool allows_only_pss(const std::vector<CK_MECHANISM_TYPE>& allowed) noexcept {
  return !allowed.empty() && std::ranges::all_of(allowed, [](CK_MECHANISM_TYPE mechanism) {
    return is_pss_mechanism(mechanism);
  });
}

std::optional<PublicKey> public_key_of(const Libcrypto& crypto, const ObjectAttributes& object,
                                       bool pss_only) {
  pss_only = pss_only || allows_only_pss(object.allowed_mechanisms);
  // SubjectPublicKeyInfo alone says id-RSASSA-PSS, so it comes first.
  if (!object.public_key_info.empty()) {
    try {
      return restricted(crypto, PublicKey::from_spki(crypto, object.public_key_info), pss_only);
    } catch (const core::Error&) {  // the other attributes may do
    }
  }
  if (object.key_type == CKK_RSA && !object.modulus.empty() && !object.public_exponent.empty())
    return PublicKey::rsa(crypto, object.modulus, object.public_exponent, pss_only);
  if (is_curve_type(object.key_type) && !object.ec_params.empty() && !object.ec_point.empty())
    return PublicKey::ec(crypto, object.ec_params, object.ec_point);
  return std::nullopt;
}

std::vector<PrivateKeyObject> private_keys(Lease& lease, const Libcrypto& crypto,
                                           std::vector<ObjectAttributes>& objects,
                                           const SearchFor& searched, const Place& place) {
  std::vector<PrivateKeyObject> keys;
  for (const ObjectAttributes& object : objects) {
    if (object.object_class != CKO_PRIVATE_KEY || !is_supported_key_type(object.key_type)) continue;
    PrivateKeyObject key{object, std::nullopt, {}};
    try {
      key.public_key = public_half(lease, crypto, object, objects, searched, place);
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
