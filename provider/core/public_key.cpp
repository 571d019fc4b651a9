#include "provider/core/public_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <new>

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

// OpenSSL's name of the curve in DER ECParameters; only named curves exist for us.
const char* curve_name(ByteView parameters) {
  const std::uint8_t* at = parameters.data();
  ASN1_OBJECT* const object = d2i_ASN1_OBJECT(nullptr, &at, static_cast<long>(parameters.size()));
  const int nid = object != nullptr ? OBJ_obj2nid(object) : NID_undef;
  ASN1_OBJECT_free(object);
  if (nid != NID_undef) return OBJ_nid2sn(nid);
  // SoftHSM and NSS may answer a PrintableString with the curve's name (PKCS#11 v3.0, 6.3.3).
  if (parameters.size() > 2 && parameters[0] == 0x13 && parameters.size() == parameters[1] + 2U) {
    const std::string name(parameters.begin() + 2, parameters.end());
    const int by_name = OBJ_txt2nid(name.c_str());
    if (by_name != NID_undef) return OBJ_nid2sn(by_name);
  }
  return nullptr;
}

}  // namespace

const char* algorithm_name(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::kRsa:
      return "RSA";
    case Algorithm::kRsaPss:
      return "RSA-PSS";
    case Algorithm::kEc:
      return "EC";
  }
  return "unknown";
}

PublicKey::PublicKey(EVP_PKEY* taken, bool pss_only)
    : pkey_(taken, EVP_PKEY_free), algorithm_(Algorithm::kRsa) {
  if (EVP_PKEY_is_a(taken, "EC"))
    algorithm_ = Algorithm::kEc;
  else if (EVP_PKEY_is_a(taken, "RSA-PSS") || pss_only)
    algorithm_ = Algorithm::kRsaPss;
  else if (!EVP_PKEY_is_a(taken, "RSA"))
    throw Error(Reason::kUnsupported, std::string("key type ") + EVP_PKEY_get0_type_name(taken) +
                                          " is not served; RSA, RSA-PSS and EC keys are");
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
  const char* const curve = curve_name(parameters);
  if (curve == nullptr)
    throw Error(Reason::kUnsupported,
                "CKA_EC_PARAMS is no named curve that OpenSSL knows (hex " +
                    to_hex(parameters.first(std::min<std::size_t>(parameters.size(), 32))) +
                    "); explicit curve parameters are not served: make the key on a named curve");
  const auto key_of = [&](ByteView raw) {
    ParamBuilder builder(OSSL_PARAM_BLD_new());
    if (!builder) throw std::bad_alloc();
    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, raw.data(),
                                     raw.size());
    return PublicKey(from_data(crypto, "EC", std::move(builder)).release(), false);
  };
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
  const std::uint8_t* at = der.data();
  X509* into = X509_new_ex(crypto.get(), kNotHwid);  // freed by d2i_X509 where that fails
  d2i_X509(&into, &at, static_cast<long>(der.size()));
  const Certificate certificate(into);
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
