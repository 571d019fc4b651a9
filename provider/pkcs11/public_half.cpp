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

bool are_namesakes(const ObjectAttributes& one, const ObjectAttributes& other) {
  return !one.label.empty() && one.label == other.label;
}

// What may be a key's public half: all that have its CKA_ID, which other keys may have, too.
class Halves {
 public:
  // Both are borrowed; `objects`: what the search found, other keys too.
  Halves(const ObjectAttributes& key, const std::vector<ObjectAttributes>& objects)
      : key_(key), objects_(objects) {}

  // False for what has another CKA_ID, and for what has the label of another key with this one.
  bool may_have(const ObjectAttributes& object) const {
    if (!belong_together(key_, object)) return false;
    const auto has_it = [&object](const ObjectAttributes& other) {
      return other.object_class == CKO_PRIVATE_KEY && belong_together(other, object) &&
             are_namesakes(other, object);
    };
    return are_namesakes(key_, object) || std::ranges::none_of(objects_, has_it);
  }

  void add(const ObjectAttributes& object, const PublicKey& half) {
    const bool is_namesake = are_namesakes(key_, object);
    if (is_namesake && !has_namesake_) halves_.clear();
    if (is_namesake || !has_namesake_) halves_.push_back(half);
    has_namesake_ = has_namesake_ || is_namesake;
  }

  // `object` cannot be read, which is of no matter where another can that is as near to the key.
  void add_failure(const ObjectAttributes& object, std::exception_ptr failure) {
    const bool is_namesake = are_namesakes(key_, object);
    if (failure_ && (failed_namesake_ || !is_namesake)) return;
    failure_ = std::move(failure);
    failed_namesake_ = is_namesake;
  }

  bool has_namesake() const noexcept { return has_namesake_; }

  // Those with the key's label come first. Throws kSeveralObjects where they differ.
  std::optional<PublicKey> one() const {
    const bool is_found = failed_namesake_ ? has_namesake_ : !halves_.empty();
    if (!is_found && failure_) std::rethrow_exception(failure_);
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
  const std::vector<ObjectAttributes>& objects_;
  std::vector<PublicKey> halves_;
  bool has_namesake_ = false;
  std::exception_ptr failure_;
  bool failed_namesake_ = false;
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
void add_halves(Halves& halves, std::vector<ObjectAttributes>& objects,
                CK_OBJECT_CLASS object_class, Read&& read) {
  for (ObjectAttributes& object : objects) {
    if (object.object_class != object_class || !halves.may_have(object)) continue;
    try {
      if (const std::optional<PublicKey> half = read(object)) halves.add(object, *half);
    } catch (const TokenError&) {
      throw;
    } catch (const core::Error&) {
      halves.add_failure(object, std::current_exception());
    }
  }
}

// A certificate costs a call, and says no more than a public key of the private key's label.
std::optional<PublicKey> from_objects(Lease& lease, const Libcrypto& crypto,
                                      const ObjectAttributes& key,
                                      std::vector<ObjectAttributes>& objects, bool pss_only,
                                      const Place& place) {
  Halves halves(key, objects);
  add_halves(halves, objects, CKO_PUBLIC_KEY, [&](const ObjectAttributes& object) {
    return object.key_type == key.key_type ? public_key_of(crypto, object, pss_only) : std::nullopt;
  });
  if (halves.has_namesake()) return halves.one();
  add_halves(halves, objects, CKO_CERTIFICATE, [&](ObjectAttributes& object) {
    return certified_half(lease, crypto, key, object, pss_only, place);
  });
  return halves.one();
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
