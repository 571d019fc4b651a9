#include "tools/prove_key_stays/wrapping.h"

#include <algorithm>
#include <array>

#include "provider/pkcs11/mechanism.h"
#include "tools/prove_key_stays/wrapping_keys.h"

namespace hwid::prove {
namespace {

enum class Parameter { kNone, kIv8, kIv16, kGcm, kCtr, kOaep, kRsaAes, kRc2Bits, kRc2Cbc };

struct WrapMechanism {
  CK_MECHANISM_TYPE type;
  const char* name;
  WrappingKey key;
  Parameter parameter;
};

// PKCS#11 v3.0; p11-kit's header is v2.40.
constexpr CK_MECHANISM_TYPE kAesKeyWrapKwp = 0x210b;
constexpr CK_MECHANISM_TYPE kAesKeyWrapPkcs7 = 0x210c;

constexpr std::array<WrapMechanism, 42> kWrapMechanisms{{
    {CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP", WrappingKey::kAes, Parameter::kNone},
    {CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD", WrappingKey::kAes, Parameter::kNone},
    {kAesKeyWrapKwp, "CKM_AES_KEY_WRAP_KWP", WrappingKey::kAes, Parameter::kNone},
    {kAesKeyWrapPkcs7, "CKM_AES_KEY_WRAP_PKCS7", WrappingKey::kAes, Parameter::kNone},
    {CKM_AES_ECB, "CKM_AES_ECB", WrappingKey::kAes, Parameter::kNone},
    {CKM_AES_CBC, "CKM_AES_CBC", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CBC_PAD, "CKM_AES_CBC_PAD", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CTS, "CKM_AES_CTS", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_OFB, "CKM_AES_OFB", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CFB8, "CKM_AES_CFB8", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CFB64, "CKM_AES_CFB64", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CFB128, "CKM_AES_CFB128", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CFB1, "CKM_AES_CFB1", WrappingKey::kAes, Parameter::kIv16},
    {CKM_AES_CTR, "CKM_AES_CTR", WrappingKey::kAes, Parameter::kCtr},
    {CKM_AES_GCM, "CKM_AES_GCM", WrappingKey::kAes, Parameter::kGcm},
    {CKM_DES_ECB, "CKM_DES_ECB", WrappingKey::kDes, Parameter::kNone},
    {CKM_DES_CBC, "CKM_DES_CBC", WrappingKey::kDes, Parameter::kIv8},
    {CKM_DES_CBC_PAD, "CKM_DES_CBC_PAD", WrappingKey::kDes, Parameter::kIv8},
    {CKM_DES3_ECB, "CKM_DES3_ECB", WrappingKey::kDes3, Parameter::kNone},
    {CKM_DES3_CBC, "CKM_DES3_CBC", WrappingKey::kDes3, Parameter::kIv8},
    {CKM_DES3_CBC_PAD, "CKM_DES3_CBC_PAD", WrappingKey::kDes3, Parameter::kIv8},
    {CKM_CAMELLIA_ECB, "CKM_CAMELLIA_ECB", WrappingKey::kCamellia, Parameter::kNone},
    {CKM_CAMELLIA_CBC, "CKM_CAMELLIA_CBC", WrappingKey::kCamellia, Parameter::kIv16},
    {CKM_CAMELLIA_CBC_PAD, "CKM_CAMELLIA_CBC_PAD", WrappingKey::kCamellia, Parameter::kIv16},
    {CKM_ARIA_ECB, "CKM_ARIA_ECB", WrappingKey::kAria, Parameter::kNone},
    {CKM_ARIA_CBC, "CKM_ARIA_CBC", WrappingKey::kAria, Parameter::kIv16},
    {CKM_ARIA_CBC_PAD, "CKM_ARIA_CBC_PAD", WrappingKey::kAria, Parameter::kIv16},
    {CKM_SEED_ECB, "CKM_SEED_ECB", WrappingKey::kSeed, Parameter::kNone},
    {CKM_SEED_CBC, "CKM_SEED_CBC", WrappingKey::kSeed, Parameter::kIv16},
    {CKM_SEED_CBC_PAD, "CKM_SEED_CBC_PAD", WrappingKey::kSeed, Parameter::kIv16},
    {CKM_RC2_ECB, "CKM_RC2_ECB", WrappingKey::kRc2, Parameter::kRc2Bits},
    {CKM_RC2_CBC, "CKM_RC2_CBC", WrappingKey::kRc2, Parameter::kRc2Cbc},
    {CKM_RC2_CBC_PAD, "CKM_RC2_CBC_PAD", WrappingKey::kRc2, Parameter::kRc2Cbc},
    {CKM_CAST128_ECB, "CKM_CAST128_ECB", WrappingKey::kCast128, Parameter::kNone},
    {CKM_CAST128_CBC, "CKM_CAST128_CBC", WrappingKey::kCast128, Parameter::kIv8},
    {CKM_CAST128_CBC_PAD, "CKM_CAST128_CBC_PAD", WrappingKey::kCast128, Parameter::kIv8},
    {CKM_RSA_PKCS, "CKM_RSA_PKCS", WrappingKey::kRsa, Parameter::kNone},
    {CKM_RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP", WrappingKey::kRsa, Parameter::kOaep},
    {CKM_RSA_X_509, "CKM_RSA_X_509", WrappingKey::kRsa, Parameter::kNone},
    {CKM_RSA_AES_KEY_WRAP, "CKM_RSA_AES_KEY_WRAP", WrappingKey::kRsa, Parameter::kRsaAes},
    {CKM_CAMELLIA_CTR, "CKM_CAMELLIA_CTR", WrappingKey::kCamellia, Parameter::kCtr},
    {CKM_RSA_PKCS_TPM_1_1, "CKM_RSA_PKCS_TPM_1_1", WrappingKey::kRsa, Parameter::kNone},
}};

// What one that is not known is tried with.
constexpr std::array<std::pair<WrappingKey, Parameter>, 4> kUsual{
    {{WrappingKey::kAes, Parameter::kNone},
     {WrappingKey::kAes, Parameter::kIv16},
     {WrappingKey::kRsa, Parameter::kNone},
     {WrappingKey::kRsa, Parameter::kOaep}}};

// PKCS#11 v3.0, CK_GCM_PARAMS, CK_AES_CTR_PARAMS, CK_RSA_AES_KEY_WRAP_PARAMS, CK_RC2_CBC_PARAMS.
struct GcmParameters {
  CK_BYTE* iv;
  CK_ULONG iv_size, iv_bits;
  CK_BYTE* aad;
  CK_ULONG aad_size, tag_bits;
};
struct CtrParameters {
  CK_ULONG counter_bits;
  CK_BYTE counter[16];
};
struct RsaAesParameters {
  CK_ULONG aes_bits;
  CK_RSA_PKCS_OAEP_PARAMS* oaep;
};
struct Rc2CbcParameters {
  CK_ULONG effective_bits;
  CK_BYTE iv[8];
};

// The parameters of one call; the mechanism points into them.
class Parameters {
 public:
  Parameters() = default;
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  CK_MECHANISM mechanism(CK_MECHANISM_TYPE type, Parameter kind) {
    switch (kind) {
      case Parameter::kIv8:
        return {type, iv_.data(), 8};
      case Parameter::kIv16:
        return {type, iv_.data(), 16};
      case Parameter::kGcm:
        return {type, &gcm_, sizeof gcm_};
      case Parameter::kCtr:
        return {type, &ctr_, sizeof ctr_};
      case Parameter::kOaep:
        return {type, &oaep_, sizeof oaep_};
      case Parameter::kRsaAes:
        return {type, &rsa_aes_, sizeof rsa_aes_};
      case Parameter::kRc2Bits:
        return {type, &rc2_bits_, sizeof rc2_bits_};
      case Parameter::kRc2Cbc:
        return {type, &rc2_cbc_, sizeof rc2_cbc_};
      case Parameter::kNone:
        break;
    }
    return {type, nullptr, 0};
  }

 private:
  static constexpr CK_ULONG kGcmIv = 12;
  std::array<CK_BYTE, 16> iv_{};
  CK_RSA_PKCS_OAEP_PARAMS oaep_{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  GcmParameters gcm_{iv_.data(), kGcmIv, 8 * kGcmIv, nullptr, 0, 128};
  CtrParameters ctr_{128, {}};
  RsaAesParameters rsa_aes_{256, &oaep_};
  CK_ULONG rc2_bits_ = 128;
  Rc2CbcParameters rc2_cbc_{128, {}};
};

std::vector<CK_MECHANISM_TYPE> wrap_mechanisms(const TokenAccess& token) {
  constexpr CK_ULONG kMost = 4096;
  CK_ULONG count = 0;
  pkcs11::check(token->C_GetMechanismList(token.slot, nullptr, &count), "C_GetMechanismList",
                token.place);
  std::vector<CK_MECHANISM_TYPE> all(std::min(count, kMost));
  count = all.size();
  pkcs11::check(token->C_GetMechanismList(token.slot, all.data(), &count), "C_GetMechanismList",
                token.place);
  all.resize(std::min<std::size_t>(count, all.size()));
  std::vector<CK_MECHANISM_TYPE> wrapping;
  for (const CK_MECHANISM_TYPE type : all) {
    CK_MECHANISM_INFO info{};
    const CK_RV rv = ask(token->C_GetMechanismInfo, token.slot, type, &info);
    if (rv == CKR_OK && (info.flags & CKF_WRAP) != 0) wrapping.push_back(type);
  }
  return wrapping;
}

// The call itself; what comes out is cleansed.
void wrap_once(const TokenAccess& token, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE wrapping_key,
               CK_MECHANISM mechanism, Attempt& attempt) {
  constexpr std::size_t kUsualSize = 16384;
  constexpr std::size_t kMost = 1 << 20;
  core::Secret wrapped(kUsualSize);
  CK_ULONG size = wrapped.size();
  CK_RV rv = ask(token->C_WrapKey, token.session, &mechanism, wrapping_key, key,
                 wrapped.writable().data(), &size);
  if (rv == CKR_BUFFER_TOO_SMALL) {
    wrapped = core::Secret(std::clamp<std::size_t>(size, kUsualSize, kMost));
    size = wrapped.size();
    rv = ask(token->C_WrapKey, token.session, &mechanism, wrapping_key, key,
             wrapped.writable().data(), &size);
  }
  require_alive(rv, "C_WrapKey", token.place);
  attempt.answer = rv;
  attempt.outcome = outcome_of(rv);
  if (rv != CKR_OK) return;
  attempt.bytes = std::min<std::size_t>(size, wrapped.size());
  if (attempt.bytes != 0)
    attempt.outcome = Outcome::kAllowed;
  else
    attempt.remark = "without anything";
}

void wrap_by(const TokenAccess& token, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type,
             WrappingKey kind, Parameter parameter, WrappingKeys& keys, Attempt& attempt) {
  const WrappingKeys::Made made = keys.get(kind);
  if (made.rv != CKR_OK) {
    attempt.outcome = Outcome::kNotTried;
    attempt.remark = "the token makes no key for it: " + pkcs11::code_name(made.rv);
    return;
  }
  Parameters parameters;
  wrap_once(token, key, made.key, parameters.mechanism(type, parameter), attempt);
}

Attempt wrap(const TokenAccess& token, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type,
             WrappingKeys& keys) {
  const auto* const known = std::ranges::find(kWrapMechanisms, type, &WrapMechanism::type);
  if (known != kWrapMechanisms.end()) {
    Attempt attempt{std::string("C_WrapKey ") + known->name, std::nullopt};
    wrap_by(token, key, type, known->key, known->parameter, keys, attempt);
    return attempt;
  }
  Attempt attempt{"C_WrapKey " + pkcs11::mechanism_name(type), std::nullopt};
  for (const auto& [kind, parameter] : kUsual) {
    wrap_by(token, key, type, kind, parameter, keys, attempt);
    if (attempt.outcome == Outcome::kAllowed || attempt.outcome == Outcome::kRefused)
      return attempt;
  }
  attempt.outcome = Outcome::kNotTried;
  attempt.remark = "what it wants is not known here";
  return attempt;
}

}  // namespace

std::vector<Attempt> try_to_wrap(const TokenAccess& token, CK_OBJECT_HANDLE key) {
  std::vector<Attempt> attempts;
  WrappingKeys keys(token);
  for (const CK_MECHANISM_TYPE type : wrap_mechanisms(token))
    attempts.push_back(wrap(token, key, type, keys));
  return attempts;
}

}  // namespace hwid::prove
