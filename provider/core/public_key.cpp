#include "provider/core/public_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <string_view>

namespace hwid::core {
namespace {

EvpPkey from_data(const Libcrypto& crypto, const char* algorithm, ParamBuilder builder) {
  const ErrorMark mark;
  const Params params(builder ? OSSL_PARAM_BLD_to_param(builder.get()) : nullptr);
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(crypto.get(), algorithm, kNotHwid));
  EVP_PKEY* made = nullptr;
  if (!params || !ctx || EVP_PKEY_fromdata_init(ctx.get()) != 1 ||
      EVP_PKEY_fromdata(ctx.get(), &made, EVP_PKEY_PUBLIC_KEY, params.get()) != 1)
    throw Error(Reason::kBadParameter,
                std::string("the token's ") + algorithm +
                    " public key values make no key: " + last_libcrypto_error());
  return EvpPkey(made);
}

// CKA_EC_POINT is a DER OCTET STRING around the point; some tokens leave it out.
ByteView unwrap_point(ByteView value) {
  constexpr std::uint8_t kOctetString = 0x04;
  if (value.size() > 2 && value[0] == kOctetString) {
    const std::size_t short_form = value[1];
    if (short_form < 0x80 && value.size() == short_form + 2) return value.subspan(2);
    if (value[1] == 0x81 && value.size() > 3 && value.size() == std::size_t{value[2]} + 3)
      return value.subspan(3);
  }
  return value;
}

// The curves whose keys are types of their own in OpenSSL.
struct OwnCurve {
  Algorithm algorithm;
  std::size_t size;         // of a public key, bytes
  std::string_view name;    // PKCS#11 v3.0, 2.3.5
  std::string_view number;  // an object identifier from before RFC 8410; empty: none
};
constexpr std::array<OwnCurve, 4> kOwnCurves{{
    {Algorithm::kEd25519, 32, "edwards25519", "1.3.6.1.4.1.11591.15.1"},
    {Algorithm::kEd448, 57, "edwards448", ""},
    {Algorithm::kX25519, 32, "curve25519", "1.3.6.1.4.1.3029.1.5.1"},
    {Algorithm::kX448, 56, "curve448", ""},
}};

const OwnCurve* own_curve(std::string_view name) noexcept {
  const auto* const found = std::ranges::find_if(kOwnCurves, [name](const OwnCurve& curve) {
    return name == curve.name || name == algorithm_name(curve.algorithm) ||
           (!curve.number.empty() && name == curve.number);
  });
  return found == kOwnCurves.end() ? nullptr : found;
}

// The name of the curve in DER ECParameters, OpenSSL's where it has one; else PKCS#11's, or the
// number. Empty for what names none: only named curves exist for us.
std::string curve_name(ByteView parameters) {
  const ErrorMark mark;
  const std::uint8_t* at = parameters.data();
  const std::unique_ptr<ASN1_OBJECT, FreeWith<ASN1_OBJECT_free>> object(
      d2i_ASN1_OBJECT(nullptr, &at, static_cast<long>(parameters.size())));
  if (object) {
    const int nid = OBJ_obj2nid(object.get());
    if (nid != NID_undef) return OBJ_nid2sn(nid);
    std::array<char, 80> number{};
    OBJ_obj2txt(number.data(), number.size(), object.get(), 1);
    return own_curve(number.data()) != nullptr ? number.data() : "";
  }
  // SoftHSM and NSS may answer a PrintableString with the curve's name (PKCS#11 v3.0, 6.3.3).
  if (parameters.size() <= 2 || parameters[0] != 0x13 || parameters.size() != parameters[1] + 2U)
    return "";
  std::string name(parameters.begin() + 2, parameters.end());
  if (own_curve(name) != nullptr) return name;
  const int nid = OBJ_txt2nid(name.c_str());
  return nid != NID_undef ? OBJ_nid2sn(nid) : "";
}

// The bytes of RFC 8032 or RFC 7748: bare, or in a DER OCTET STRING or BIT STRING.
ByteView own_point(ByteView value, std::size_t size) noexcept {
  constexpr std::uint8_t kBitString = 0x03;
  constexpr std::uint8_t kOctetString = 0x04;
  if (value.size() == size + 2 && value[0] == kOctetString && value[1] == size)
    return value.subspan(2);
  if (value.size() == size + 3 && value[0] == kBitString && value[1] == size + 1 && value[2] == 0)
    return value.subspan(3);
  return value;
}

}  // namespace

PublicKey::PublicKey(EVP_PKEY* taken, bool pss_only)
    : pkey_(taken, EVP_PKEY_free), algorithm_(Algorithm::kRsa) {
  const auto is_a = [taken](Algorithm algorithm) {
    return EVP_PKEY_is_a(taken, algorithm_name(algorithm)) == 1;
  };
  constexpr std::array kAll{Algorithm::kEc,    Algorithm::kRsaPss, Algorithm::kEd25519,
                            Algorithm::kEd448, Algorithm::kX25519, Algorithm::kX448};
  const auto* const found = std::ranges::find_if(kAll, is_a);
  if (found != kAll.end())
    algorithm_ = *found;
  else if (!is_a(Algorithm::kRsa))
    throw Error(Reason::kUnsupported,
                std::string("key type ") + EVP_PKEY_get0_type_name(taken) +
                    " is not served; RSA, RSA-PSS, EC, Ed25519, Ed448, X25519 and X448 keys are");
  else if (pss_only)
    algorithm_ = Algorithm::kRsaPss;
  bits_ = static_cast<std::size_t>(EVP_PKEY_get_bits(taken));
}

namespace {

// RFC 4055, 3.1: the salt is at least as long as is said here.
void push_pss_digest(OSSL_PARAM_BLD* builder, const Libcrypto& crypto, const char* digest) {
  const EvpMd md = crypto.fetch_digest(digest);
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_RSA_DIGEST, digest, 0);
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_RSA_MASKGENFUNC, "mgf1", 0);
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, digest, 0);
  OSSL_PARAM_BLD_push_int(builder, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, EVP_MD_get_size(md.get()));
}

}  // namespace

PublicKey PublicKey::rsa(const Libcrypto& crypto, ByteView modulus, ByteView exponent,
                         bool pss_only, const char* pss_digest) {
  const BigNum n(BN_bin2bn(modulus.data(), static_cast<int>(modulus.size()), nullptr));
  const BigNum e(BN_bin2bn(exponent.data(), static_cast<int>(exponent.size()), nullptr));
  ParamBuilder builder(OSSL_PARAM_BLD_new());
  if (!n || !e || !builder) throw std::bad_alloc();
  if (BN_num_bits(n.get()) < 512 || BN_num_bits(n.get()) > 16384 || BN_is_zero(e.get()))
    throw Error(Reason::kBadParameter,
                "the token's RSA public key values make no key: a modulus of " +
                    std::to_string(BN_num_bits(n.get())) + " bits");
  // Values that the token has given too long or too short.
  if (!BN_is_odd(n.get()) || !BN_is_odd(e.get()))
    throw Error(Reason::kBadParameter,
                "the token's RSA public key values make no key: an even number");
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  if (pss_only && pss_digest != nullptr) push_pss_digest(builder.get(), crypto, pss_digest);
  return {from_data(crypto, pss_only ? "RSA-PSS" : "RSA", std::move(builder)).release(), pss_only};
}

PublicKey PublicKey::ec(const Libcrypto& crypto, ByteView parameters, ByteView point) {
  const std::string curve = curve_name(parameters);
  if (curve.empty())
    throw Error(Reason::kUnsupported,
                "CKA_EC_PARAMS is no named curve that OpenSSL knows (hex " +
                    to_hex(parameters.first(std::min<std::size_t>(parameters.size(), 32))) +
                    "); explicit curve parameters are not served: make the key on a named curve");
  const OwnCurve* const own = own_curve(curve);
  const auto key_of = [&](ByteView raw) {
    if (raw.empty())  // of which OpenSSL 3.0.20 leaves an error in the queue
      throw Error(Reason::kBadParameter,
                  "the token's EC public key values make no key: an empty point");
    ParamBuilder builder(OSSL_PARAM_BLD_new());
    if (!builder) throw std::bad_alloc();
    if (own == nullptr)
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.c_str(), 0);
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, raw.data(),
                                     raw.size());
    const char* const type = algorithm_name(own != nullptr ? own->algorithm : Algorithm::kEc);
    return PublicKey(from_data(crypto, type, std::move(builder)).release(), false);
  };
  if (own != nullptr) return key_of(own_point(point, own->size));
  const ByteView inner = unwrap_point(point);
  if (inner.size() == point.size()) return key_of(point);
  try {
    return key_of(inner);
  } catch (const Error&) {
    return key_of(point);  // a raw point whose x happens to look like a DER length
  }
}

PublicKey PublicKey::from_spki(const Libcrypto& crypto, ByteView der) {
  const ErrorMark mark;
  const std::uint8_t* at = der.data();
  EVP_PKEY* const pkey =
      d2i_PUBKEY_ex(nullptr, &at, static_cast<long>(der.size()), crypto.get(), kNotHwid);
  if (pkey == nullptr)
    throw Error(Reason::kBadParameter,
                "CKA_PUBLIC_KEY_INFO holds no public key: " + last_libcrypto_error());
  return {pkey, false};
}

PublicKey PublicKey::from_certificate(const Libcrypto& crypto, ByteView der) {
  const ErrorMark mark;
  const Certificate certificate = parse_certificate(crypto, der);
  EVP_PKEY* const pkey = certificate ? X509_get_pubkey(certificate.get()) : nullptr;
  if (pkey == nullptr)
    throw Error(Reason::kBadParameter,
                "the certificate on the token cannot be read: " + last_libcrypto_error());
  return {pkey, false};
}

bool PublicKey::operator==(const PublicKey& other) const noexcept {
  const ErrorMark mark;
  return EVP_PKEY_eq(pkey_.get(), other.pkey_.get()) == 1;
}

}  // namespace hwid::core
