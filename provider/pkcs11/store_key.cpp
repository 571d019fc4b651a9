// Token::store_key: core/backend.h.
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <utility>

#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Access;
using core::Bytes;
using core::Error;
using core::KeyImport;
using core::Reason;
using core::Secret;

namespace {

constexpr const char* kCall = "C_CreateObject";
using SecretNumber = std::unique_ptr<BIGNUM, core::FreeWith<BN_clear_free>>;

// A number of the key, big-endian, padded to `size` bytes (0: as long as it is).
Secret number(EVP_PKEY* key, const char* name, std::size_t size = 0) {
  BIGNUM* raw = nullptr;
  const int got = EVP_PKEY_get_bn_param(key, name, &raw);
  const SecretNumber value(raw);
  if (got != 1)
    throw Error(Reason::kUnsupported, std::string(kCall) + ": the key has no parameter " + name +
                                          " (" + core::last_libcrypto_error() +
                                          "); give a complete private key");
  Secret bytes(size != 0 ? size : static_cast<std::size_t>(BN_num_bytes(raw)));
  if (BN_bn2binpad(raw, bytes.writable().data(), static_cast<int>(bytes.size())) < 0)
    throw Error(Reason::kBadParameter, std::string(kCall) + ": parameter " + name +
                                           " is longer than the key; make it anew");
  return bytes;
}

// Ed25519 and its like: keys are bytes, not numbers, and the curve is the type.
bool is_own_curve(EVP_PKEY* key) {
  return std::ranges::any_of(std::to_array({"ED25519", "ED448", "X25519", "X448"}),
                             [key](const char* name) { return EVP_PKEY_is_a(key, name) == 1; });
}

bool is_pss_only(EVP_PKEY* key) { return EVP_PKEY_is_a(key, "RSA-PSS") == 1; }

// CKA_ALLOWED_MECHANISMS says nothing of digest and salt, which such a key may be held to.
void refuse_restricted(EVP_PKEY* key) {
  std::array<char, 64> digest{};
  const core::ErrorMark mark;
  if (!is_pss_only(key) ||
      EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_MANDATORY_DIGEST, digest.data(),
                                     digest.size(), nullptr) != 1)
    return;
  throw Error(Reason::kUnsupported,
              std::string(kCall) + ": the RSA-PSS key is for the digest " + digest.data() +
                  " only, which a token does not keep; give one that was made without "
                  "rsa_pss_keygen_md");
}

CK_KEY_TYPE key_type(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "EC") == 1) return CKK_EC;
  if (EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1) return kKeyEdwards;
  if (is_own_curve(key)) return kKeyMontgomery;
  if (EVP_PKEY_is_a(key, "RSA") == 1 || is_pss_only(key)) return CKK_RSA;
  throw Error(Reason::kUnsupported,
              std::string(kCall) +
                  ": only RSA, EC, Ed25519, Ed448, X25519 and X448 keys go onto a token; this is "
                  "another kind");
}

Secret bytes_of(EVP_PKEY* key, int (*get)(const EVP_PKEY*, unsigned char*, std::size_t*)) {
  std::size_t size = 0;
  get(key, nullptr, &size);
  Secret bytes(size);
  if (size == 0 || get(key, bytes.writable().data(), &size) != 1)
    throw Error(Reason::kUnsupported, std::string(kCall) + ": the key has no such half (" +
                                          core::last_libcrypto_error() +
                                          "); give a complete private key");
  return bytes;
}

Secret ec_parameters(EVP_PKEY* key) {  // DER of a named curve: CKA_EC_PARAMS
  unsigned char* der = nullptr;
  const int size =
      is_own_curve(key)
          ? i2d_ASN1_OBJECT(OBJ_nid2obj(OBJ_sn2nid(EVP_PKEY_get0_type_name(key))), &der)
          : i2d_KeyParams(key, &der);
  if (size <= 0) throw Error(Reason::kLibcrypto, "i2d_KeyParams: " + core::last_libcrypto_error());
  Secret bytes(core::ByteView{der, static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return bytes;
}

// The uncompressed point in a DER OCTET STRING: CKA_EC_POINT (PKCS#11 v2.40, 2.3.3); likewise the
// bytes of RFC 8032 and RFC 7748, which all tokens take so.
Secret ec_point(EVP_PKEY* key, std::size_t field) {
  if (is_own_curve(key)) {
    const Secret bytes = bytes_of(key, EVP_PKEY_get_raw_public_key);
    Bytes der = {0x04, static_cast<std::uint8_t>(bytes.size())};
    der.insert(der.end(), bytes.reveal().begin(), bytes.reveal().end());
    return Secret(core::ByteView(der));
  }
  const Secret x = number(key, OSSL_PKEY_PARAM_EC_PUB_X, field);
  const Secret y = number(key, OSSL_PKEY_PARAM_EC_PUB_Y, field);
  const std::size_t size = 1 + 2 * field;
  Bytes der = {0x04};
  if (size >= 0x80) der.push_back(0x81);  // no curve's point is longer than 255 bytes
  der.push_back(static_cast<std::uint8_t>(size));
  der.push_back(0x04);
  der.insert(der.end(), x.reveal().begin(), x.reveal().end());
  der.insert(der.end(), y.reveal().begin(), y.reveal().end());
  return Secret(core::ByteView(der));
}

// A template that owns its values, in memory for secrets.
class Template {
 public:
  void add(CK_ATTRIBUTE_TYPE type, Secret value) {
    values_.push_back(std::move(value));
    Secret& kept = values_.back();
    attributes_.push_back({type, kept.writable().data(), static_cast<CK_ULONG>(kept.size())});
  }
  template <typename Value>
  void add_plain(CK_ATTRIBUTE_TYPE type, Value value) {
    add(type, Secret(core::ByteView(reinterpret_cast<const std::uint8_t*>(&value), sizeof value)));
  }
  // False if there was none.
  bool remove(CK_ATTRIBUTE_TYPE type) {
    return std::erase_if(attributes_,
                         [type](const CK_ATTRIBUTE& each) { return each.type == type; }) != 0;
  }
  // REQUIRES: CKA_KEY_TYPE was added.
  void change_type(CK_KEY_TYPE type) {
    const auto found =
        std::ranges::find(attributes_, CK_ATTRIBUTE_TYPE{CKA_KEY_TYPE}, &CK_ATTRIBUTE::type);
    std::memcpy(found->pValue, &type, sizeof type);
  }
  void flag(CK_ATTRIBUTE_TYPE type, bool value) {
    add_plain(type, static_cast<CK_BBOOL>(value ? CK_TRUE : CK_FALSE));
  }
  std::vector<CK_ATTRIBUTE>& attributes() noexcept { return attributes_; }

 private:
  std::deque<Secret> values_;
  std::vector<CK_ATTRIBUTE> attributes_;
};

Template common(const KeyImport& spec, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type) {
  Template made;
  made.add_plain(CKA_CLASS, object_class);
  made.add_plain(CKA_KEY_TYPE, type);
  made.flag(CKA_TOKEN, true);
  made.add(CKA_LABEL, Secret(core::as_bytes(spec.label)));
  made.add(CKA_ID, Secret(core::ByteView(spec.id)));
  if (is_pss_only(spec.key)) {
    const std::vector<CK_MECHANISM_TYPE> allowed = pss_mechanisms();
    made.add(CKA_ALLOWED_MECHANISMS,
             Secret(core::ByteView(reinterpret_cast<const std::uint8_t*>(allowed.data()),
                                   allowed.size() * sizeof(CK_MECHANISM_TYPE))));
  }
  return made;
}

std::size_t field_size(EVP_PKEY* key) {
  return (static_cast<std::size_t>(EVP_PKEY_get_bits(key)) + 7) / 8;
}

Template private_half(const KeyImport& spec, CK_KEY_TYPE type) {
  Template made = common(spec, CKO_PRIVATE_KEY, type);
  made.flag(CKA_PRIVATE, true);
  made.flag(CKA_SENSITIVE, true);
  made.flag(CKA_EXTRACTABLE, false);
  if (type != kKeyMontgomery) made.flag(CKA_SIGN, true);
  if (type != kKeyEdwards && !is_pss_only(spec.key))
    made.flag(type == CKK_RSA ? CKA_DECRYPT : CKA_DERIVE, true);
  if (type != CKK_RSA) {
    made.add(CKA_EC_PARAMS, ec_parameters(spec.key));
    made.add(CKA_VALUE, is_own_curve(spec.key)
                            ? bytes_of(spec.key, EVP_PKEY_get_raw_private_key)
                            : number(spec.key, OSSL_PKEY_PARAM_PRIV_KEY, field_size(spec.key)));
    return made;
  }
  constexpr std::pair<CK_ATTRIBUTE_TYPE, const char*> kNumbers[] = {
      {CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N},
      {CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E},
      {CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D},
      {CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1},
      {CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2},
      {CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
      {CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2},
      {CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
  for (const auto& [type, name] : kNumbers) made.add(type, number(spec.key, name));
  return made;
}

Template public_half(const KeyImport& spec, CK_KEY_TYPE type) {
  Template made = common(spec, CKO_PUBLIC_KEY, type);
  made.flag(CKA_PRIVATE, false);
  if (type != kKeyMontgomery) made.flag(CKA_VERIFY, true);
  if (type != CKK_RSA) {
    made.add(CKA_EC_PARAMS, ec_parameters(spec.key));
    made.add(CKA_EC_POINT, ec_point(spec.key, field_size(spec.key)));
  } else {
    if (!is_pss_only(spec.key)) made.flag(CKA_ENCRYPT, true);
    made.add(CKA_MODULUS, number(spec.key, OSSL_PKEY_PARAM_RSA_N));
    made.add(CKA_PUBLIC_EXPONENT, number(spec.key, OSSL_PKEY_PARAM_RSA_E));
  }
  return made;
}

// One object of the pair, and what this call made of it.
struct Half {
  CK_OBJECT_CLASS object_class;
  Template attributes;
  bool tried = false;
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;  // that we made; of `generation`
  std::uint64_t generation = 0;
};

// One call's work, which may have to begin again. What it did not make it does not destroy.
class NewPair {
 public:
  NewPair(const KeyImport& spec, const Place& place, const core::Log& log)
      : spec_(spec),
        place_(place),
        log_(log),
        halves_{{{CKO_PRIVATE_KEY, private_half(spec, key_type(spec.key))},
                 {CKO_PUBLIC_KEY, public_half(spec, key_type(spec.key))}}} {}

  // `again`: handles of before mean nothing, and an object may be there though no answer said so.
  void store(Lease& lease, bool again) {
    if (!nothing_was_there_) refuse_existing(lease);
    nothing_was_there_ = true;
    for (Half& half : halves_) {
      if (again && half.tried) set_object(lease, half, find_ours(lease, half));
    }
    for (Half& half : halves_) {
      if (half.object == CK_INVALID_HANDLE) create(lease, half);
    }
  }

  void destroy(Lease& lease) {
    for (Half& half : halves_) {
      if (half.object == CK_INVALID_HANDLE) continue;
      if (half.generation != lease.handle_generation())
        set_object(lease, half, find_ours(lease, half));
      if (half.object == CK_INVALID_HANDLE) continue;
      check(lease->C_DestroyObject(lease.session(), half.object), "C_DestroyObject", place_);
      half.object = CK_INVALID_HANDLE;
    }
  }

  bool made_any() const noexcept {
    return std::ranges::any_of(halves_,
                               [](const Half& half) { return half.object != CK_INVALID_HANDLE; });
  }

 private:
  // Label and id were nobody's before, so what has both is ours, if it is one.
  CK_OBJECT_HANDLE find_ours(Lease& lease, const Half& half) const {
    const std::vector<CK_OBJECT_HANDLE> found =
        find_handles(lease, {spec_.label, spec_.id, half.object_class}, place_);
    if (found.size() > 1)
      throw Error(Reason::kSeveralObjects,
                  std::string(kCall) + ":" + place_text(place_) +
                      ": the token was lost meanwhile, and several keys of that label and id are "
                      "there now; see which: hwid list");
    return found.empty() ? CK_INVALID_HANDLE : found.front();
  }

  static void set_object(Lease& lease, Half& half, CK_OBJECT_HANDLE object) {
    half.object = object;
    half.generation = lease.handle_generation();
  }

  void refuse_existing(Lease& lease) const {
    for (const Half& half : halves_) {
      const bool same_label =
          !find_handles(lease, {spec_.label, std::nullopt, half.object_class}, place_).empty();
      const bool same_id =
          !find_handles(lease, {std::nullopt, spec_.id, half.object_class}, place_).empty();
      if (!same_label && !same_id) continue;
      throw Error(Reason::kExists, std::string(kCall) + ":" + place_text(place_) +
                                       ": a key with that " + (same_label ? "label" : "id") +
                                       " is there already; choose another, or delete it first: "
                                       "hwid delete");
    }
  }

  void create(Lease& lease, Half& half) const {
    half.tried = true;
    std::vector<CK_ATTRIBUTE>& list = half.attributes.attributes();
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_RV rv = lease->C_CreateObject(lease.session(), list.data(), list.size(), &object);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID && key_type(spec_.key) == kKeyMontgomery) {
      half.attributes.change_type(kKeyEdwards);  // SoftHSM has X25519 and X448 under that
      rv = lease->C_CreateObject(lease.session(), list.data(), list.size(), &object);
    }
    if ((rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
         rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_TEMPLATE_INCONSISTENT) &&
        half.attributes.remove(CKA_ALLOWED_MECHANISMS)) {
      rv = lease->C_CreateObject(lease.session(), list.data(), list.size(), &object);
      if (rv == CKR_OK && half.object_class == CKO_PRIVATE_KEY)
        HWID_LOG(log_, kWarn,
                 std::string(kCall) + ":" + place_text(place_) +
                     ": the token cannot restrict the key to RSA-PSS; only its certificate will");
    }
    check(rv, kCall, place_);
    set_object(lease, half, object);
  }

  const KeyImport& spec_;
  const Place& place_;
  const core::Log& log_;
  std::array<Half, 2> halves_;  // the private one first
  bool nothing_was_there_ = false;
};

}  // namespace

void Token::store_key(const KeyImport& key, const Access& access) {
  refuse_restricted(key.key);
  const Place place{token_->label(), key.label, {}};
  const SharedToken::Hold hold(token_, KeptPin::For::kCall);
  const Credentials with = credentials(access, access.pins);
  const SessionRequest request{token_->needs_login(policy_), true, with};
  NewPair pair(key, place, access.log);
  info_is_fresh_ = false;
  try {
    token_->with_session(request, [&](Lease& lease, bool again) { pair.store(lease, again); });
  } catch (const Error&) {
    if (pair.made_any()) {
      try {
        token_->with_session(request, [&](Lease& lease, bool) { pair.destroy(lease); });
      } catch (const Error& error) {
        HWID_LOG(access.log, kWarn,
                 std::string(kCall) + ":" + place_text(place) +
                     ": half of the key may be left on the token: " + error.what());
      }
    }
    throw;
  }
}

}  // namespace hwid::pkcs11
