#include "tools/prove_key_stays/extraction.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

namespace hwid::prove {
namespace {

enum class WrappingKey { kAes, kDes, kDes3, kRsa };

struct WrapMechanism {
  CK_MECHANISM_TYPE type;
  const char* name;
  WrappingKey key;
  CK_ULONG iv_size;
};

constexpr CK_MECHANISM_TYPE kAesKeyWrapKwp = 0x210B;  // PKCS#11 v3.0; p11-kit's header is v2.40

constexpr std::array<WrapMechanism, 14> kWrapMechanisms{{
    {CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP", WrappingKey::kAes, 0},
    {CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD", WrappingKey::kAes, 0},
    {kAesKeyWrapKwp, "CKM_AES_KEY_WRAP_KWP", WrappingKey::kAes, 0},
    {CKM_AES_ECB, "CKM_AES_ECB", WrappingKey::kAes, 0},
    {CKM_AES_CBC, "CKM_AES_CBC", WrappingKey::kAes, 16},
    {CKM_AES_CBC_PAD, "CKM_AES_CBC_PAD", WrappingKey::kAes, 16},
    {CKM_DES_ECB, "CKM_DES_ECB", WrappingKey::kDes, 0},
    {CKM_DES_CBC, "CKM_DES_CBC", WrappingKey::kDes, 8},
    {CKM_DES_CBC_PAD, "CKM_DES_CBC_PAD", WrappingKey::kDes, 8},
    {CKM_DES3_ECB, "CKM_DES3_ECB", WrappingKey::kDes3, 0},
    {CKM_DES3_CBC, "CKM_DES3_CBC", WrappingKey::kDes3, 8},
    {CKM_DES3_CBC_PAD, "CKM_DES3_CBC_PAD", WrappingKey::kDes3, 8},
    {CKM_RSA_PKCS, "CKM_RSA_PKCS", WrappingKey::kRsa, 0},
    {CKM_RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP", WrappingKey::kRsa, 0},
}};

struct Flag {
  CK_ATTRIBUTE_TYPE type;
  CK_BBOOL value;
};

std::vector<CK_ATTRIBUTE> as_template(std::vector<Flag>& flags) {
  std::vector<CK_ATTRIBUTE> all;
  all.reserve(flags.size());
  for (Flag& flag : flags) all.push_back({flag.type, &flag.value, sizeof flag.value});
  return all;
}

struct SecretKind {
  CK_KEY_TYPE type;
  CK_MECHANISM_TYPE generation;
  CK_ULONG size;
};
constexpr SecretKind kAesKey{CKK_AES, CKM_AES_KEY_GEN, 32};
constexpr SecretKind kDesKey{CKK_DES, CKM_DES_KEY_GEN, 8};
constexpr SecretKind kDes3Key{CKK_DES3, CKM_DES3_KEY_GEN, 24};

// Makes session keys to wrap with, each kind once.
class WrappingKeys {
 public:
  explicit WrappingKeys(const TokenSession& token) : token_(token) {}

  // Nothing where the token makes no such key.
  std::optional<CK_OBJECT_HANDLE> get(WrappingKey kind) {
    const auto [at, is_new] = made_.try_emplace(kind);
    if (is_new) at->second = kind == WrappingKey::kRsa ? make_pair() : make_secret(kind);
    return at->second;
  }

 private:
  // Generated, or where the token does not do that, brought along.
  std::optional<CK_OBJECT_HANDLE> make_secret(WrappingKey kind) const {
    const SecretKind& made = kind == WrappingKey::kAes   ? kAesKey
                             : kind == WrappingKey::kDes ? kDesKey
                                                         : kDes3Key;
    std::vector<Flag> flags{{CKA_TOKEN, CK_FALSE},
                            {CKA_WRAP, CK_TRUE},
                            {CKA_UNWRAP, CK_TRUE},
                            {CKA_ENCRYPT, CK_TRUE},
                            {CKA_DECRYPT, CK_TRUE}};
    std::vector<CK_ATTRIBUTE> wanted = as_template(flags);
    CK_ULONG size = made.size;
    CK_ATTRIBUTE length{CKA_VALUE_LEN, &size, sizeof size};
    CK_MECHANISM mechanism{made.generation, nullptr, 0};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    if (kind == WrappingKey::kAes) wanted.push_back(length);
    if (token_->C_GenerateKey(token_.session(), &mechanism, wanted.data(), wanted.size(), &key) ==
        CKR_OK)
      return key;
    if (kind == WrappingKey::kAes) wanted.pop_back();
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = made.type;
    core::Bytes value(made.size);
    if (RAND_bytes(value.data(), static_cast<int>(value.size())) != 1) return std::nullopt;
    wanted.push_back({CKA_CLASS, &object_class, sizeof object_class});
    wanted.push_back({CKA_KEY_TYPE, &type, sizeof type});
    wanted.push_back({CKA_VALUE, value.data(), value.size()});
    const CK_RV rv = token_->C_CreateObject(token_.session(), wanted.data(), wanted.size(), &key);
    return rv == CKR_OK ? std::optional(key) : std::nullopt;
  }

  std::optional<CK_OBJECT_HANDLE> make_pair() const {
    std::vector<Flag> outer{{CKA_TOKEN, CK_FALSE}, {CKA_WRAP, CK_TRUE}, {CKA_ENCRYPT, CK_TRUE}};
    std::vector<Flag> inner{{CKA_TOKEN, CK_FALSE}, {CKA_UNWRAP, CK_TRUE}, {CKA_DECRYPT, CK_TRUE}};
    std::vector<CK_ATTRIBUTE> public_half = as_template(outer);
    std::vector<CK_ATTRIBUTE> private_half = as_template(inner);
    CK_ULONG bits = 2048;
    std::array<CK_BYTE, 3> exponent{1, 0, 1};
    public_half.push_back({CKA_MODULUS_BITS, &bits, sizeof bits});
    public_half.push_back({CKA_PUBLIC_EXPONENT, exponent.data(), exponent.size()});
    CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
    CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
    const CK_RV rv = token_->C_GenerateKeyPair(token_.session(), &mechanism, public_half.data(),
                                               public_half.size(), private_half.data(),
                                               private_half.size(), &public_key, &private_key);
    return rv == CKR_OK ? std::optional(public_key) : std::nullopt;
  }

  const TokenSession& token_;
  std::map<WrappingKey, std::optional<CK_OBJECT_HANDLE>> made_;
};

std::vector<CK_MECHANISM_TYPE> wrap_mechanisms(const TokenSession& token) {
  CK_ULONG count = 0;
  pkcs11::check(token->C_GetMechanismList(token.slot(), nullptr, &count), "C_GetMechanismList",
                token.place({}));
  std::vector<CK_MECHANISM_TYPE> all(count);
  pkcs11::check(token->C_GetMechanismList(token.slot(), all.data(), &count), "C_GetMechanismList",
                token.place({}));
  all.resize(count);
  std::vector<CK_MECHANISM_TYPE> wrapping;
  for (const CK_MECHANISM_TYPE type : all) {
    CK_MECHANISM_INFO info{};
    const CK_RV rv = token->C_GetMechanismInfo(token.slot(), type, &info);
    if (rv == CKR_OK && (info.flags & CKF_WRAP) != 0) wrapping.push_back(type);
  }
  return wrapping;
}

Attempt wrap(const TokenSession& token, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type,
             WrappingKeys& keys) {
  const auto* const known =
      std::find_if(kWrapMechanisms.begin(), kWrapMechanisms.end(),
                   [type](const WrapMechanism& candidate) { return candidate.type == type; });
  if (known == kWrapMechanisms.end()) {
    std::array<char, 40> number{};
    std::snprintf(number.data(), number.size(), "C_WrapKey mechanism 0x%lx", type);
    return {number.data(), std::nullopt};
  }
  Attempt attempt{std::string("C_WrapKey ") + known->name, std::nullopt};
  const auto wrapping_key = keys.get(known->key);
  if (!wrapping_key) return attempt;
  std::array<CK_BYTE, 16> iv{};
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  CK_MECHANISM mechanism{type, known->iv_size > 0 ? iv.data() : nullptr, known->iv_size};
  if (type == CKM_RSA_PKCS_OAEP) mechanism = {type, &oaep, sizeof oaep};
  core::Bytes wrapped(16384);
  CK_ULONG size = wrapped.size();
  attempt.answer =
      token->C_WrapKey(token.session(), &mechanism, *wrapping_key, key, wrapped.data(), &size);
  return attempt;
}

Attempt copy(const TokenSession& token, CK_OBJECT_HANDLE key) {
  std::vector<Flag> flags{
      {CKA_TOKEN, CK_FALSE}, {CKA_SENSITIVE, CK_FALSE}, {CKA_EXTRACTABLE, CK_TRUE}};
  std::vector<CK_ATTRIBUTE> wanted = as_template(flags);
  CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
  const CK_RV rv = token->C_CopyObject(token.session(), key, wanted.data(), wanted.size(), &made);
  if (rv == CKR_OK) token->C_DestroyObject(token.session(), made);
  return {"C_CopyObject CKA_SENSITIVE=false CKA_EXTRACTABLE=true", rv};
}

Attempt change(const TokenSession& token, CK_OBJECT_HANDLE key, Flag flag, const char* name) {
  CK_ATTRIBUTE attribute{flag.type, &flag.value, sizeof flag.value};
  return {std::string("C_SetAttributeValue ") + name,
          token->C_SetAttributeValue(token.session(), key, &attribute, 1)};
}

}  // namespace

std::vector<Attempt> try_to_extract(const TokenSession& token, CK_OBJECT_HANDLE key) {
  std::vector<Attempt> attempts;
  for (const PrivateAttribute& wanted : private_attributes(token.key_type(key)))
    attempts.push_back({std::string("C_GetAttributeValue ") + wanted.name,
                        token.attribute(key, wanted.type).first});
  attempts.push_back(change(token, key, {CKA_SENSITIVE, CK_FALSE}, "CKA_SENSITIVE=false"));
  attempts.push_back(change(token, key, {CKA_EXTRACTABLE, CK_TRUE}, "CKA_EXTRACTABLE=true"));
  attempts.push_back(copy(token, key));
  WrappingKeys keys(token);
  for (const CK_MECHANISM_TYPE type : wrap_mechanisms(token))
    attempts.push_back(wrap(token, key, type, keys));
  return attempts;
}

}  // namespace hwid::prove
