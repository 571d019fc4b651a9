#include "provider/pkcs11/public_half.h"

#include <openssl/core_names.h>

#include <algorithm>

#include "provider/pkcs11/mechanism.h"

namespace hwid::pkcs11 {

using core::Libcrypto;
using core::PublicKey;

namespace {

constexpr const char* kStoreIt = "; store its public key or certificate with the same CKA_ID";

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

// What may be a key's public half: all that have its CKA_ID, which other keys may have, too.
class Halves {
 public:
  explicit Halves(const ObjectAttributes& key) : key_(key) {}

  void add(const ObjectAttributes& object, const PublicKey& half) {
    const bool is_namesake = !key_.label.empty() && object.label == key_.label;
    if (is_namesake && !are_namesakes_) halves_.clear();
    if (is_namesake || !are_namesakes_) halves_.push_back(half);
    are_namesakes_ = are_namesakes_ || is_namesake;
  }

  // One that cannot be read: of no matter where there is another.
  void add_failure(std::exception_ptr failure) {
    if (!failure_) failure_ = std::move(failure);
  }

  // Those with the key's label come first. Throws kSeveralObjects where they differ.
  std::optional<PublicKey> one() const {
    if (halves_.empty() && failure_) std::rethrow_exception(failure_);
    if (halves_.empty()) return std::nullopt;
    const auto differs = [this](const PublicKey& other) { return !(other == halves_.front()); };
    if (std::ranges::any_of(halves_, differs))
      throw core::Error(core::Reason::kSeveralObjects,
                        "the public keys or certificates that the token has for it differ; "
                        "give those of other keys another CKA_ID, or delete them");
    return halves_.front();
  }

 private:
  const ObjectAttributes& key_;
  std::vector<PublicKey> halves_;
  bool are_namesakes_ = false;
  std::exception_ptr failure_;
};

std::optional<PublicKey> certified_half(Lease& lease, const Libcrypto& crypto,
                                        const ObjectAttributes& key, ObjectAttributes& certificate,
                                        bool pss_only, const Place& place) {
  if (certificate.certificate.empty())
    set_certificate(certificate, read_certificate(lease, certificate.handle, place));
  if (certificate.certificate.empty()) return std::nullopt;
  PublicKey half = PublicKey::from_certificate(crypto, certificate.certificate);
  const bool same_kind = core::is_rsa(half.algorithm()) == (key.key_type == CKK_RSA);
  return same_kind ? std::optional(restricted(crypto, half, pss_only)) : std::nullopt;
}

// Looks at all `objects` of a class for a half: an error of one must not hide another.
template <typename Read>
std::optional<PublicKey> one_half(const ObjectAttributes& key,
                                  std::vector<ObjectAttributes>& objects,
                                  CK_OBJECT_CLASS object_class, Read&& read) {
  Halves halves(key);
  for (ObjectAttributes& object : objects) {
    if (!is_of(object, object_class, key)) continue;
    try {
      if (const std::optional<PublicKey> half = read(object)) halves.add(object, *half);
    } catch (const TokenError&) {
      throw;
    } catch (const core::Error&) {
      halves.add_failure(std::current_exception());
    }
  }
  return halves.one();
}

std::optional<PublicKey> from_objects(Lease& lease, const Libcrypto& crypto,
                                      const ObjectAttributes& key,
                                      std::vector<ObjectAttributes>& objects, bool pss_only,
                                      const Place& place) {
  auto half = one_half(key, objects, CKO_PUBLIC_KEY, [&](const ObjectAttributes& object) {
    return object.key_type == key.key_type ? public_key_of(crypto, object, pss_only) : std::nullopt;
  });
  if (half) return half;
  return one_half(key, objects, CKO_CERTIFICATE, [&](ObjectAttributes& object) {
    return certified_half(lease, crypto, key, object, pss_only, place);
  });
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
      if (!key.public_key)
        key.problem = std::string("the token holds no public half of it") + kStoreIt;
    } catch (const TokenError&) {
      throw;
    } catch (const core::Error& error) {  // values that make no key must not spoil a listing
      key.problem = error.what();
      if (error.reason != core::Reason::kSeveralObjects) key.problem += kStoreIt;
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace hwid::pkcs11
