#include "tools/prove_key_stays/private_value.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/objects.h>

#include <array>
#include <memory>

namespace hwid::prove {
namespace {

using core::ByteView;

using SecretNumber = std::unique_ptr<BIGNUM, core::FreeWith<BN_clear_free>>;
using BnCtx = std::unique_ptr<BN_CTX, core::FreeWith<BN_CTX_free>>;
using EcGroup = std::unique_ptr<EC_GROUP, core::FreeWith<EC_GROUP_free>>;
using EcPoint = std::unique_ptr<EC_POINT, core::FreeWith<EC_POINT_free>>;

SecretNumber number(ByteView bytes) {
  SecretNumber made(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  if (!made) throw std::bad_alloc();
  return made;
}

SecretNumber new_number() {
  SecretNumber made(BN_new());
  if (!made) throw std::bad_alloc();
  return made;
}

core::BigNum parameter(EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  EVP_PKEY_get_bn_param(key, name, &value);
  if (value == nullptr) throw std::bad_alloc();
  return core::BigNum(value);
}

// Of n = p q: a prime divides it; an exponent d, or one of d mod p - 1, opens 2^e modulo p.
bool is_rsa_value(EVP_PKEY* key, CK_ATTRIBUTE_TYPE attribute, ByteView bytes) {
  const core::BigNum n = parameter(key, OSSL_PKEY_PARAM_RSA_N);
  const core::BigNum e = parameter(key, OSSL_PKEY_PARAM_RSA_E);
  const SecretNumber value = number(bytes);
  const BnCtx context(BN_CTX_secure_new());
  const SecretNumber result = new_number();
  const SecretNumber two = new_number();
  if (!context || BN_set_word(two.get(), 2) != 1) throw std::bad_alloc();
  if (BN_is_zero(value.get()) || BN_is_one(value.get()) || BN_cmp(value.get(), n.get()) >= 0)
    return false;
  if (attribute == CKA_PRIME_1 || attribute == CKA_PRIME_2)
    return BN_mod(result.get(), n.get(), value.get(), context.get()) == 1 &&
           BN_is_zero(result.get());
  if (attribute != CKA_PRIVATE_EXPONENT && attribute != CKA_EXPONENT_1 &&
      attribute != CKA_EXPONENT_2)
    return false;
  const SecretNumber factor = new_number();
  return BN_mod_exp(result.get(), two.get(), e.get(), n.get(), context.get()) == 1 &&
         BN_mod_exp(result.get(), result.get(), value.get(), n.get(), context.get()) == 1 &&
         BN_mod_sub(result.get(), result.get(), two.get(), n.get(), context.get()) == 1 &&
         BN_gcd(factor.get(), result.get(), n.get(), context.get()) == 1 &&
         BN_is_one(factor.get()) == 0;
}

bool is_ec_value(EVP_PKEY* key, ByteView bytes) {
  std::array<char, 80> name{};
  std::array<unsigned char, 256> wanted{};
  std::array<unsigned char, 256> got{};
  std::size_t size = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), nullptr) != 1 ||
      EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, wanted.data(),
                                      wanted.size(), &size) != 1)
    return false;
  const EcGroup group(EC_GROUP_new_by_curve_name(OBJ_sn2nid(name.data())));
  const BnCtx context(BN_CTX_secure_new());
  if (!group || !context) return false;
  const SecretNumber value = number(bytes);
  const EcPoint point(EC_POINT_new(group.get()));
  if (!point) throw std::bad_alloc();
  return BN_cmp(value.get(), EC_GROUP_get0_order(group.get())) < 0 &&
         EC_POINT_mul(group.get(), point.get(), value.get(), nullptr, nullptr, context.get()) ==
             1 &&
         EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, got.data(),
                            got.size(), context.get()) == size &&
         got == wanted;
}

bool is_raw_value(const core::Libcrypto& crypto, const core::PublicKey& key, ByteView bytes) {
  const core::EvpPkey made(
      EVP_PKEY_new_raw_private_key_ex(crypto.get(), core::algorithm_name(key.algorithm()),
                                      core::kNotHwid, bytes.data(), bytes.size()));
  return made && EVP_PKEY_eq(made.get(), key.pkey()) == 1;
}

}  // namespace

bool is_private_value(const core::Libcrypto& crypto, const core::PublicKey& key,
                      CK_ATTRIBUTE_TYPE attribute, ByteView value) {
  const core::ErrorMark mark;
  if (core::is_rsa(key.algorithm())) return is_rsa_value(key.pkey(), attribute, value);
  if (attribute != CKA_VALUE) return false;
  return key.algorithm() == core::Algorithm::kEc ? is_ec_value(key.pkey(), value)
                                                 : is_raw_value(crypto, key, value);
}

}  // namespace hwid::prove
