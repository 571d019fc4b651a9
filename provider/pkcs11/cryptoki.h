// PKCS#11's types and constants, and the constants of v3.0 that p11-kit's v2.40 header lacks.
#pragma once

#include <p11-kit/pkcs11.h>

namespace hwid::pkcs11 {

// PKCS#11 v3.0, pkcs11t.h.
inline constexpr CK_MECHANISM_TYPE kSha3_256RsaPkcs = 0x60;
inline constexpr CK_MECHANISM_TYPE kSha3_384RsaPkcs = 0x61;
inline constexpr CK_MECHANISM_TYPE kSha3_512RsaPkcs = 0x62;
inline constexpr CK_MECHANISM_TYPE kSha3_256RsaPkcsPss = 0x63;
inline constexpr CK_MECHANISM_TYPE kSha3_384RsaPkcsPss = 0x64;
inline constexpr CK_MECHANISM_TYPE kSha3_512RsaPkcsPss = 0x65;
inline constexpr CK_MECHANISM_TYPE kSha3_224RsaPkcs = 0x66;
inline constexpr CK_MECHANISM_TYPE kSha3_224RsaPkcsPss = 0x67;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha3_224 = 0x1047;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha3_256 = 0x1048;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha3_384 = 0x1049;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha3_512 = 0x104a;
inline constexpr CK_KEY_TYPE kKeyEdwards = 0x40;     // CKK_EC_EDWARDS
inline constexpr CK_KEY_TYPE kKeyMontgomery = 0x41;  // CKK_EC_MONTGOMERY
inline constexpr CK_MECHANISM_TYPE kEdwardsKeyPairGen = 0x1055;
inline constexpr CK_MECHANISM_TYPE kMontgomeryKeyPairGen = 0x1056;
inline constexpr CK_MECHANISM_TYPE kEddsa = 0x1057;
inline constexpr CK_RV kCurveNotSupported = 0x140;  // CKR_CURVE_NOT_SUPPORTED

// SoftHSM has CKK_EC_EDWARDS for X25519 and X448 as well, others CKK_EC: the parameters tell.
inline bool is_curve_type(CK_KEY_TYPE type) noexcept {
  return type == CKK_EC || type == kKeyEdwards || type == kKeyMontgomery;
}

// CK_EDDSA_PARAMS, 2.3.15.
struct EddsaParams {
  CK_BBOOL prehash;  // phFlag
  CK_ULONG context_size;
  CK_BYTE_PTR context;
};
inline constexpr CK_MECHANISM_TYPE kSha512_224 = 0x48;
inline constexpr CK_MECHANISM_TYPE kSha512_256 = 0x4c;
inline constexpr CK_MECHANISM_TYPE kSha3_256 = 0x2b0;
inline constexpr CK_MECHANISM_TYPE kSha3_224 = 0x2b5;
inline constexpr CK_MECHANISM_TYPE kSha3_384 = 0x2c0;
inline constexpr CK_MECHANISM_TYPE kSha3_512 = 0x2d0;
inline constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha3_224 = 6;
inline constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha3_256 = 7;
inline constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha3_384 = 8;
inline constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha3_512 = 9;

}  // namespace hwid::pkcs11
