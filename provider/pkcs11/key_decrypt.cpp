// What a private key does beside signing: RSA decryption and ECDH.
#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "provider/pkcs11/key.h"

namespace hwid::pkcs11 {

using core::Bytes;
using core::ByteView;
using core::DecryptScheme;
using core::Digest;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

struct OaepDigest {
  Digest digest;
  CK_MECHANISM_TYPE mechanism;
  CK_RSA_PKCS_MGF_TYPE mgf1;
};

constexpr OaepDigest kOaepDigests[] = {
    {Digest::kSha1, CKM_SHA_1, CKG_MGF1_SHA1},      {Digest::kSha224, CKM_SHA224, CKG_MGF1_SHA224},
    {Digest::kSha256, CKM_SHA256, CKG_MGF1_SHA256}, {Digest::kSha384, CKM_SHA384, CKG_MGF1_SHA384},
    {Digest::kSha512, CKM_SHA512, CKG_MGF1_SHA512}, {Digest::kSha3_224, kSha3_224, kMgf1Sha3_224},
    {Digest::kSha3_256, kSha3_256, kMgf1Sha3_256},  {Digest::kSha3_384, kSha3_384, kMgf1Sha3_384},
    {Digest::kSha3_512, kSha3_512, kMgf1Sha3_512},
};

const OaepDigest* oaep_digest(Digest digest) {
  const auto* const row = std::ranges::find(kOaepDigests, digest, &OaepDigest::digest);
  return row != std::end(kOaepDigests) ? row : nullptr;
}

// The mechanism, with the parameters that it points to.
struct Decryption {
  explicit Decryption(const DecryptScheme& scheme) {
    switch (scheme.kind) {
      case DecryptScheme::Kind::kRsaRaw:
        mechanism.mechanism = CKM_RSA_X_509;
        return;
      case DecryptScheme::Kind::kRsaPkcs1:
        mechanism.mechanism = CKM_RSA_PKCS;
        return;
      case DecryptScheme::Kind::kRsaOaep:
        break;
    }
    mechanism.mechanism = CKM_RSA_PKCS_OAEP;
    const OaepDigest* const digest = oaep_digest(scheme.oaep_digest);
    const OaepDigest* const mgf1 = oaep_digest(scheme.mgf1_digest);
    possible = digest != nullptr && mgf1 != nullptr;
    if (!possible) return;
    oaep.hashAlg = digest->mechanism;
    oaep.mgf = mgf1->mgf1;
    oaep.source = CKZ_DATA_SPECIFIED;
    oaep.pSourceData = scheme.label.empty() ? nullptr : const_cast<CK_BYTE_PTR>(&scheme.label[0]);
    oaep.ulSourceDataLen = scheme.label.size();
    mechanism.pParameter = &oaep;
    mechanism.ulParameterLen = sizeof oaep;
  }
  Decryption(const Decryption&) = delete;
  Decryption& operator=(const Decryption&) = delete;

  CK_MECHANISM mechanism{};
  CK_RSA_PKCS_OAEP_PARAMS oaep{};
  bool possible = true;
};

// The padding is not right (SoftHSM has no better words), or the number too large.
bool is_about_the_data(CK_RV rv, DecryptScheme::Kind kind) {
  const bool may_be = rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED;
  return rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE ||
         rv == CKR_DATA_INVALID || rv == CKR_DATA_LEN_RANGE ||
         (may_be && kind != DecryptScheme::Kind::kRsaRaw);
}

bool is_about_the_mechanism(CK_RV rv) {
  return rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID ||
         rv == CKR_ARGUMENTS_BAD || rv == CKR_FUNCTION_NOT_SUPPORTED;
}

// Where sessions were lost meanwhile, the number may be another thread's by now, and so the answer.
void require_fresh(const Lease& lease, const char* call, const Place& place) {
  if (lease.is_stale()) raise(CKR_SESSION_HANDLE_INVALID, call, place);
}

CK_RV derive_object(Lease& lease, CK_OBJECT_HANDLE key, ByteView point, std::size_t size,
                    CK_OBJECT_HANDLE& derived) {
  CK_ECDH1_DERIVE_PARAMS params{CKD_NULL, 0, nullptr, point.size(),
                                const_cast<CK_BYTE_PTR>(point.data())};
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &params, sizeof params};
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
  CK_ULONG length = size;
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  std::array<CK_ATTRIBUTE, 6> wanted{{{CKA_CLASS, &secret, sizeof secret},
                                      {CKA_KEY_TYPE, &generic, sizeof generic},
                                      {CKA_TOKEN, &no, sizeof no},
                                      {CKA_SENSITIVE, &no, sizeof no},
                                      {CKA_EXTRACTABLE, &yes, sizeof yes},
                                      {CKA_VALUE_LEN, &length, sizeof length}}};
  return lease->C_DeriveKey(lease.session(), &mechanism, key, wanted.data(), wanted.size(),
                            &derived);
}

// PKCS#11 v2.40, 2.3.8: modules take the bare point, older ones a DER OCTET STRING around it.
Bytes der_octets(ByteView point) {
  constexpr std::uint8_t kOctetString = 0x04;
  constexpr std::size_t kShortForm = 128;
  Bytes der = {kOctetString};
  if (point.size() >= kShortForm) der.push_back(0x81);
  der.push_back(static_cast<std::uint8_t>(point.size()));
  der.insert(der.end(), point.begin(), point.end());
  return der;
}

}  // namespace

Secret Key::decrypt(const DecryptScheme& scheme, ByteView ciphertext) const {
  if (public_key_.algorithm() != core::Algorithm::kRsa)
    throw Error(Reason::kBadParameter,
                "C_DecryptInit:" + place_text(place_) + ": only RSA keys decrypt; use one that is");
  const SessionRequest request{token_->needs_login(context_.policy), false, credentials_};
  return token_->with_session(request, [&](Lease& lease, bool again) {
    return decrypt_on(lease, locate(lease, again), scheme, ciphertext);
  });
}

Secret Key::decrypt_on(Lease& lease, CK_OBJECT_HANDLE handle, const DecryptScheme& scheme,
                       ByteView ciphertext) const {
  Decryption how(scheme);
  const unsigned kind = 1U << static_cast<unsigned>(scheme.kind);
  const auto missing = [&](CK_RV rv, const char* call) {
    raise(Reason::kMechanismMissing, rv, call, place_,
          "the token does not decrypt by " + mechanism_name(how.mechanism.mechanism) +
              " with this key; use another padding, or a key that may");
  };
  if (!how.possible || (refused_decryption_.load() & kind) != 0)
    missing(CKR_MECHANISM_INVALID, "C_DecryptInit");
  const CK_RV init = lease->C_DecryptInit(lease.session(), &how.mechanism, handle);
  HWID_LOG(credentials_.log, kDebug,
           "C_DecryptInit:" + place_text(place_) + ": by " +
               mechanism_name(how.mechanism.mechanism) + ": " + code_name(init));
  if (init == CKR_OPERATION_ACTIVE) lease.operation_begins();  // whoever began it
  if (init != CKR_OK) require_fresh(lease, "C_DecryptInit", place_);
  if (init == CKR_MECHANISM_INVALID) refused_decryption_.fetch_or(kind);
  if (is_about_the_mechanism(init)) missing(init, "C_DecryptInit");
  if (init == CKR_KEY_FUNCTION_NOT_PERMITTED)
    raise(Reason::kNotPermitted, init, "C_DecryptInit", place_,
          "the key may not decrypt (CKA_DECRYPT is false); use one that may");
  check(init, "C_DecryptInit", place_);
  lease.operation_begins();
  if (always_authenticate_) token_->log_in_for_operation(lease, credentials_);

  const std::size_t size = public_key_.field_size();
  Secret opened(size);
  CK_ULONG length = size;
  const CK_RV rv = lease->C_Decrypt(lease.session(), const_cast<CK_BYTE_PTR>(ciphertext.data()),
                                    ciphertext.size(), opened.writable().data(), &length);
  if (rv == CKR_OK || is_about_the_data(rv, scheme.kind) || is_about_the_mechanism(rv))
    lease.operation_ends();
  require_fresh(lease, "C_Decrypt", place_);
  if (is_about_the_data(rv, scheme.kind))
    raise(Reason::kDecryptionFailed, rv, "C_Decrypt", place_,
          "the ciphertext is damaged, or was made for another key, padding or label; see who made "
          "it");
  if (is_about_the_mechanism(rv)) missing(rv, "C_Decrypt");
  check(rv, "C_Decrypt", place_);
  if (length > size)
    throw Error(Reason::kDeviceError, "C_Decrypt:" + place_text(place_) + ": the token gave " +
                                          std::to_string(length) + " bytes for a key of " +
                                          std::to_string(size) + "; see the module's own log");
  opened.truncate(length);
  if (scheme.kind != DecryptScheme::Kind::kRsaRaw || length == size) return opened;
  Secret whole(size);  // the token left out leading zeros
  std::ranges::copy(opened.reveal(), whole.writable().end() - static_cast<std::ptrdiff_t>(length));
  return whole;
}

Secret Key::derive(ByteView peer) const {
  if (public_key_.algorithm() != core::Algorithm::kEc &&
      !core::is_montgomery(public_key_.algorithm()))
    throw Error(Reason::kBadParameter,
                "C_DeriveKey:" + place_text(place_) +
                    ": only EC, X25519 and X448 keys agree on a secret; use one that is");
  const SessionRequest request{token_->needs_login(context_.policy), false, credentials_};
  return token_->with_session(request, [&](Lease& lease, bool again) {
    return derive_on(lease, locate(lease, again), peer);
  });
}

Secret Key::derive_on(Lease& lease, CK_OBJECT_HANDLE handle, ByteView peer) const {
  const std::size_t size = public_key_.field_size();
  CK_OBJECT_HANDLE derived = CK_INVALID_HANDLE;
  CK_RV rv = derive_object(lease, handle, peer, size, derived);
  if (rv == CKR_MECHANISM_PARAM_INVALID || rv == CKR_ARGUMENTS_BAD)
    rv = derive_object(lease, handle, der_octets(peer), size, derived);
  HWID_LOG(credentials_.log, kDebug,
           "C_DeriveKey:" + place_text(place_) + ": by CKM_ECDH1_DERIVE: " + code_name(rv));
  require_fresh(lease, "C_DeriveKey", place_);
  if (rv == CKR_KEY_FUNCTION_NOT_PERMITTED)
    raise(Reason::kNotPermitted, rv, "C_DeriveKey", place_,
          "the key may not derive (CKA_DERIVE is false); use one that may");
  if (rv == CKR_MECHANISM_INVALID)
    raise(Reason::kMechanismMissing, rv, "C_DeriveKey", place_,
          "the token lacks CKM_ECDH1_DERIVE, or the key may not use it; use another token or key");
  check(rv, "C_DeriveKey", place_);
  // Unless all goes well the session is closed, and the object with it: to destroy it by a number
  // that may be another object's by now would be worse.
  lease.operation_begins();
  Secret shared(size);
  CK_ATTRIBUTE value{CKA_VALUE, shared.writable().data(), size};
  check(lease->C_GetAttributeValue(lease.session(), derived, &value, 1), "C_GetAttributeValue",
        place_);
  require_fresh(lease, "C_GetAttributeValue", place_);
  if (value.ulValueLen != size)
    throw Error(Reason::kDeviceError,
                "C_DeriveKey:" + place_text(place_) +
                    ": the token gave a shared secret of another length than the curve's; see the "
                    "module's own log");
  if (lease->C_DestroyObject(lease.session(), derived) == CKR_OK) lease.operation_ends();
  // RFC 7748, 6.1: a peer that chose a point of small order.
  const ByteView bytes = shared.reveal();
  const std::uint8_t any = std::reduce(bytes.begin(), bytes.end(), std::uint8_t{0}, std::bit_or());
  if (core::is_montgomery(public_key_.algorithm()) && any == 0)
    throw Error(Reason::kBadParameter, "C_DeriveKey:" + place_text(place_) +
                                           ": the peer's public key makes a secret of zeros; see "
                                           "where it came from");
  return shared;
}

}  // namespace hwid::pkcs11
