#include "tools/prove_key_stays/wrapping_keys.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>

namespace hwid::prove {
namespace {

// A flag of a template, which borrows the value.
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
  WrappingKey kind;
  CK_KEY_TYPE type;
  CK_MECHANISM_TYPE generation;
  CK_ULONG size;
  bool takes_length;  // CKA_VALUE_LEN
};
constexpr std::array<SecretKind, 9> kSecretKinds{{
    {WrappingKey::kAes, CKK_AES, CKM_AES_KEY_GEN, 32, true},
    {WrappingKey::kDes, CKK_DES, CKM_DES_KEY_GEN, 8, false},
    {WrappingKey::kDes2, CKK_DES2, CKM_DES2_KEY_GEN, 16, false},
    {WrappingKey::kDes3, CKK_DES3, CKM_DES3_KEY_GEN, 24, false},
    {WrappingKey::kCamellia, CKK_CAMELLIA, CKM_CAMELLIA_KEY_GEN, 32, true},
    {WrappingKey::kAria, CKK_ARIA, CKM_ARIA_KEY_GEN, 32, true},
    {WrappingKey::kSeed, CKK_SEED, CKM_SEED_KEY_GEN, 16, false},
    {WrappingKey::kRc2, CKK_RC2, CKM_RC2_KEY_GEN, 16, true},
    {WrappingKey::kCast128, CKK_CAST128, CKM_CAST128_KEY_GEN, 16, true},
}};

}  // namespace

WrappingKeys::~WrappingKeys() {
  for (const CK_OBJECT_HANDLE object : objects_)
    ask(token_->C_DestroyObject, token_.session, object);
}

WrappingKeys::Made WrappingKeys::get(WrappingKey kind) {
  const auto [at, is_new] = made_.try_emplace(kind);
  if (is_new) at->second = kind == WrappingKey::kRsa ? make_pair() : make_secret(kind);
  return at->second;
}

WrappingKeys::Made WrappingKeys::keep(CK_RV rv, CK_OBJECT_HANDLE key) {
  if (rv != CKR_OK) return {rv, CK_INVALID_HANDLE};
  objects_.push_back(key);
  return {rv, key};
}

WrappingKeys::Made WrappingKeys::make_secret(WrappingKey kind) {
  const auto* const made = std::ranges::find(kSecretKinds, kind, &SecretKind::kind);
  std::vector<Flag> flags{{CKA_TOKEN, CK_FALSE},
                          {CKA_WRAP, CK_TRUE},
                          {CKA_UNWRAP, CK_TRUE},
                          {CKA_ENCRYPT, CK_TRUE},
                          {CKA_DECRYPT, CK_TRUE}};
  std::vector<CK_ATTRIBUTE> wanted = as_template(flags);
  CK_ULONG size = made->size;
  CK_MECHANISM mechanism{made->generation, nullptr, 0};
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  if (made->takes_length) wanted.push_back({CKA_VALUE_LEN, &size, sizeof size});
  CK_RV rv =
      ask(token_->C_GenerateKey, token_.session, &mechanism, wanted.data(), wanted.size(), &key);
  require_alive(rv, "C_GenerateKey", token_.place);
  if (rv == CKR_OK) return keep(rv, key);
  if (made->takes_length) wanted.pop_back();
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_KEY_TYPE type = made->type;
  core::Secret value(made->size);
  if (RAND_bytes(value.writable().data(), static_cast<int>(value.size())) != 1) return {rv, key};
  wanted.push_back({CKA_CLASS, &object_class, sizeof object_class});
  wanted.push_back({CKA_KEY_TYPE, &type, sizeof type});
  wanted.push_back({CKA_VALUE, value.writable().data(), value.size()});
  rv = ask(token_->C_CreateObject, token_.session, wanted.data(), wanted.size(), &key);
  require_alive(rv, "C_CreateObject", token_.place);
  return keep(rv, key);
}

WrappingKeys::Made WrappingKeys::make_pair() {
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
  const CK_RV rv =
      ask(token_->C_GenerateKeyPair, token_.session, &mechanism, public_half.data(),
          public_half.size(), private_half.data(), private_half.size(), &public_key, &private_key);
  require_alive(rv, "C_GenerateKeyPair", token_.place);
  if (rv == CKR_OK) objects_.push_back(private_key);
  return keep(rv, public_key);
}

}  // namespace hwid::prove
