#include "fuzz/expected_keys.h"

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <vector>

namespace hwid::fuzz {
namespace {

using core::Bytes;
using core::ByteView;
using core::EvpPkey;

// Definite lengths up to 64 KiB.
Bytes der(std::uint8_t tag, std::initializer_list<ByteView> parts) {
  Bytes body;
  for (const ByteView part : parts) body.insert(body.end(), part.begin(), part.end());
  Bytes out{tag};
  const std::size_t size = body.size();
  if (size >= 0x80) out.push_back(size > 0xff ? 0x82 : 0x81);
  if (size > 0xff) out.push_back(static_cast<std::uint8_t>(size >> 8));
  out.push_back(static_cast<std::uint8_t>(size));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Bytes unsigned_integer(ByteView number) {
  constexpr std::uint8_t kZero[] = {0};
  const auto first = std::ranges::find_if(number, [](std::uint8_t byte) { return byte != 0; });
  return der(0x02, {kZero, ByteView(first, number.end())});
}

EvpPkey read_spki(OSSL_LIB_CTX* context, ByteView bytes) {
  const unsigned char* at = bytes.data();
  return EvpPkey(d2i_PUBKEY_ex(nullptr, &at, static_cast<long>(bytes.size()), context, nullptr));
}

// SubjectPublicKeyInfo of RFC 3279, 2.3.1 and RFC 5480, 2.
Bytes rsa_spki(ByteView modulus, ByteView exponent) {
  constexpr std::uint8_t kRsa[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                   0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
  constexpr std::uint8_t kNoUnusedBits[] = {0};
  const Bytes n = unsigned_integer(modulus);
  const Bytes e = unsigned_integer(exponent);
  const Bytes numbers = der(0x30, {n, e});
  return der(0x30, {kRsa, der(0x03, {kNoUnusedBits, numbers})});
}

Bytes ec_spki(ByteView parameters, ByteView point) {
  constexpr std::uint8_t kEc[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
  constexpr std::uint8_t kNoUnusedBits[] = {0};
  return der(0x30, {der(0x30, {kEc, parameters}), der(0x03, {kNoUnusedBits, point})});
}

// The curve's OID, also where a PrintableString has its name (PKCS#11 v3.0, 6.3.3); more bytes
// behind it are left out.
Bytes curve_oid(ByteView parameters) {
  ASN1_OBJECT* oid = nullptr;
  const unsigned char* at = parameters.data();
  if (parameters.size() > 2 && parameters[0] == 0x13) {
    const std::string name(parameters.begin() + 2, parameters.end());
    oid = OBJ_txt2obj(name.c_str(), 0);
  } else {
    oid = d2i_ASN1_OBJECT(nullptr, &at, static_cast<long>(parameters.size()));
  }
  unsigned char* bytes = nullptr;
  const int size = oid != nullptr ? i2d_ASN1_OBJECT(oid, &bytes) : 0;
  Bytes copy(bytes, bytes + std::max(size, 0));
  OPENSSL_free(bytes);
  ASN1_OBJECT_free(oid);
  return copy;
}

Bytes octet_string(ByteView value) {
  const unsigned char* at = value.data();
  ASN1_OCTET_STRING* const string =
      d2i_ASN1_OCTET_STRING(nullptr, &at, static_cast<long>(value.size()));
  if (string == nullptr) return {};
  const unsigned char* const data = ASN1_STRING_get0_data(string);
  Bytes copy(data, data + ASN1_STRING_length(string));
  ASN1_OCTET_STRING_free(string);
  return copy;
}

Bytes certificate_spki(ByteView bytes) {
  const unsigned char* at = bytes.data();
  const core::Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(bytes.size())));
  unsigned char* der = nullptr;
  const int size = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der) : 0;
  Bytes copy(der, der + std::max(size, 0));
  OPENSSL_free(der);
  return copy;
}

core::BigNum number(const EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  EVP_PKEY_get_bn_param(key, name, &value);
  return core::BigNum(value);
}

bool same_numbers(const EVP_PKEY* a, const EVP_PKEY* b) {
  const core::BigNum n_a = number(a, OSSL_PKEY_PARAM_RSA_N);
  const core::BigNum n_b = number(b, OSSL_PKEY_PARAM_RSA_N);
  if (!n_a || !n_b) return EVP_PKEY_eq(a, b) == 1;
  const core::BigNum e_a = number(a, OSSL_PKEY_PARAM_RSA_E);
  const core::BigNum e_b = number(b, OSSL_PKEY_PARAM_RSA_E);
  return BN_cmp(n_a.get(), n_b.get()) == 0 && BN_cmp(e_a.get(), e_b.get()) == 0;
}

std::vector<Bytes> expected_spkis(const FuzzObject& object) {
  std::vector<Bytes> all;
  const ByteView spki = object.value(CKA_PUBLIC_KEY_INFO);
  all.emplace_back(spki.begin(), spki.end());
  if (const ByteView n = object.value(CKA_MODULUS); !n.empty() && n.size() < 32768)
    all.push_back(rsa_spki(n, object.value(CKA_PUBLIC_EXPONENT)));
  if (const ByteView point = object.value(CKA_EC_POINT); !point.empty() && point.size() < 32768) {
    const Bytes curve = curve_oid(object.value(CKA_EC_PARAMS));
    all.push_back(ec_spki(curve, octet_string(point)));
    all.push_back(ec_spki(curve, point));
  }
  all.push_back(certificate_spki(object.value(CKA_VALUE)));
  return all;
}

}  // namespace

bool has_key(OSSL_LIB_CTX* context, const FuzzObject& object, ByteView spki, const EVP_PKEY* key) {
  const core::ErrorMark mark;
  const std::vector<Bytes> expected = expected_spkis(object);
  const auto same_bytes = [spki](const Bytes& one) { return std::ranges::equal(one, spki); };
  if (std::ranges::any_of(expected, same_bytes)) return true;
  return std::ranges::any_of(expected, [&](const Bytes& one) {
    const EvpPkey read = one.empty() ? EvpPkey() : read_spki(context, one);
    return read && same_numbers(read.get(), key);
  });
}

}  // namespace hwid::fuzz
