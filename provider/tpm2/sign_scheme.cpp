#include "provider/tpm2/sign_scheme.h"

#include <algorithm>

#include "provider/core/rsa_padding.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Digest;
using core::Error;
using core::Reason;
using core::SignScheme;

namespace {

using Kind = SignScheme::Kind;
using Command = SignPlan::Command;

[[noreturn]] void missing(const SignScheme& scheme, const std::string& why) {
  throw Error(Reason::kMechanismMissing, core::scheme_text(scheme) + ": " + why);
}

// What TPM2_Sign takes for RSA: SHA-3 and SM3 are TPM_RC_HASH where tried.
bool is_rsa_hash(TPM2_ALG_ID hash) noexcept {
  return hash == TPM2_ALG_SHA1 || hash == TPM2_ALG_SHA256 || hash == TPM2_ALG_SHA384 ||
         hash == TPM2_ALG_SHA512;
}

void add(SignPlans& plans, const SignPlan& plan) noexcept { plans.plans[plans.count++] = plan; }

void add_sign(SignPlans& plans, const KeyTraits& key, TPM2_ALG_ID scheme, TPM2_ALG_ID hash) {
  SignPlan plan;
  plan.command = key.restricted ? Command::kHashSign : Command::kSign;
  plan.hash = hash;
  plan.scheme.scheme = key.scheme == TPM2_ALG_NULL ? scheme : TPM2_ALG_NULL;
  if (plan.scheme.scheme != TPM2_ALG_NULL) plan.scheme.details.any.hashAlg = hash;
  add(plans, plan);
}

void add_raw(SignPlans& plans) {
  SignPlan plan;
  plan.command = Command::kRawRsa;
  add(plans, plan);
}

// A key with a scheme decrypts by that alone, a restricted one only as a parent.
bool may_use_raw_rsa(const KeyTraits& key) noexcept {
  return key.decrypt && !key.restricted && key.scheme == TPM2_ALG_NULL;
}

std::string fixed_scheme_text(const KeyTraits& key) {
  std::string text = algorithm_text(key.scheme);
  if (key.scheme_hash != TPM2_ALG_NULL) text += " with " + algorithm_text(key.scheme_hash);
  return text;
}

// Why TPM2_Sign does not make an RSA signature of this scheme; empty if it does.
std::string why_not_sign(const SignScheme& scheme, const KeyTraits& key, PssSalt salt) {
  if (!key.sign) return key.no_sign;
  if (scheme.kind == Kind::kRsaRaw) return "TPM2_Sign makes no signature without padding";
  const TPM2_ALG_ID hash = hash_algorithm(scheme.digest);
  const TPM2_ALG_ID wanted = scheme.kind == Kind::kRsaPkcs1 ? TPM2_ALG_RSASSA : TPM2_ALG_RSAPSS;
  if (key.scheme != TPM2_ALG_NULL && (key.scheme != wanted || key.scheme_hash != hash))
    return "the key was made for " + fixed_scheme_text(key) + " only";
  if (scheme.digest == Digest::kNone) return "TPM2_Sign takes digests only";
  if (key.scheme == TPM2_ALG_NULL && !is_rsa_hash(hash))
    return std::string("TPM2_Sign does not take ") + core::digest_name(scheme.digest);
  if (wanted == TPM2_ALG_RSASSA) return {};
  if (scheme.mgf1_digest != scheme.digest) return "TPM2_Sign has one digest for PSS and MGF1";
  const std::size_t taken = pss_salt_size(salt, scheme.digest, key.bits);
  if (scheme.salt_size != taken) return "the TPM's salt has " + std::to_string(taken) + " bytes";
  return {};
}

SignPlans rsa_plans(const SignScheme& scheme, const KeyTraits& key, PssSalt salt) {
  SignPlans plans;
  const std::string why = why_not_sign(scheme, key, salt);
  const TPM2_ALG_ID tpm_scheme = scheme.kind == Kind::kRsaPkcs1 ? TPM2_ALG_RSASSA : TPM2_ALG_RSAPSS;
  if (why.empty()) add_sign(plans, key, tpm_scheme, hash_algorithm(scheme.digest));
  if (may_use_raw_rsa(key)) add_raw(plans);
  if (plans.count != 0) return plans;
  if (key.scheme != TPM2_ALG_NULL)
    missing(scheme, why + "; use that" +
                        (key.scheme == TPM2_ALG_RSASSA ? " (in TLS 1.2 alone, with sigalgs such as "
                                                         "rsa_pkcs1_sha256)"
                                                       : "") +
                        ", or make a key without a scheme");
  missing(scheme, why + ", and " + key.no_decrypt +
                      ", so that no padding made in software can be "
                      "used; make the key with sign and decrypt, or use a digest and salt that the "
                      "TPM takes");
}

// Bytes of an ECDSA input that count (FIPS 186-5, 6.4.1).
ByteView leftmost(ByteView input, const KeyTraits& key) {
  return input.first(std::min(input.size(), key.field_size()));
}

// The shortest digest that holds `size` bytes.
TPM2_ALG_ID hash_for(std::size_t size) noexcept {
  if (size <= TPM2_SHA256_DIGEST_SIZE) return TPM2_ALG_SHA256;
  if (size <= TPM2_SHA384_DIGEST_SIZE) return TPM2_ALG_SHA384;
  return TPM2_ALG_SHA512;
}

// TPM2_Sign only looks at the digest's size, which must be that of the hash algorithm, and takes
// its leftmost bits: any digest can be put into one of another size without changing its value.
SignPlans ecdsa_plans(const SignScheme& scheme, const KeyTraits& key) {
  if (key.scheme != TPM2_ALG_NULL && key.scheme != TPM2_ALG_ECDSA)
    missing(scheme, "the key was made for " + fixed_scheme_text(key) +
                        " only; make a key without a scheme");
  // Of what has no digest of ours the length is known when it is signed: prepare_input judges it.
  const std::size_t known = core::digest_size(scheme.digest);
  const std::size_t size = known == 0 ? key.field_size() : std::min(known, key.field_size());
  TPM2_ALG_ID hash = hash_for(size);
  if (key.scheme == TPM2_ALG_ECDSA) {
    if (known != 0 && size > hash_size(key.scheme_hash))
      missing(scheme, "the key was made for " + fixed_scheme_text(key) +
                          " only, which is shorter; use that digest");
    hash = key.scheme_hash;
  }
  SignPlans plans;
  add_sign(plans, key, TPM2_ALG_ECDSA, hash);
  return plans;
}

// What the TPM hashes for itself must be hashed as the scheme says.
void require_own_hash(const SignScheme& scheme, const KeyTraits& key) {
  if (scheme.digest == Digest::kNone || hash_algorithm(scheme.digest) != key.scheme_hash)
    missing(scheme, "the key is restricted: it signs only what the TPM hashed, by " +
                        fixed_scheme_text(key) + "; use that digest, or an unrestricted key");
}

Bytes fit_digest(ByteView digest, std::size_t size, const KeyTraits& key) {
  const ByteView counted = leftmost(digest, key);
  if (counted.size() > size)
    throw Error(Reason::kBadParameter, "TPM2_Sign: " + std::to_string(digest.size()) +
                                           " bytes do not fit into a digest of " +
                                           std::to_string(size) + "; hash them first");
  // Zeros in front do not change the number. Where the digest is longer than the curve, the TPM
  // cuts it at the end, so that the rest of the zeros goes there.
  const std::size_t number = std::min(size, key.field_size());
  Bytes fitted(number - counted.size(), 0);
  fitted.insert(fitted.end(), counted.begin(), counted.end());
  fitted.resize(size, 0);
  return fitted;
}

void append_fixed(Bytes& out, const std::uint8_t* bytes, std::size_t size, std::size_t width) {
  while (size > width && *bytes == 0) {
    ++bytes;
    --size;
  }
  if (size > width || size == 0)
    throw Error(Reason::kDeviceError,
                "TPM2_Sign: the TPM answered a signature of the wrong size; check that the key is "
                "the one that was loaded");
  out.insert(out.end(), width - size, 0);
  out.insert(out.end(), bytes, bytes + size);
}

}  // namespace

SignPlans plans_for(const SignScheme& scheme, const KeyTraits& key, PssSalt salt) {
  const bool is_ec = key.algorithm == core::Algorithm::kEc;
  if (is_ec != (scheme.kind == Kind::kEcdsa))
    missing(scheme, std::string("the key is an ") + (is_ec ? "EC" : "RSA") +
                        " key; choose a signature algorithm of that kind");
  if (!key.sign && (is_ec || !may_use_raw_rsa(key)))
    throw Error(Reason::kNotPermitted,
                core::scheme_text(scheme) + ": " + key.no_sign + "; make one that may sign");
  if (key.restricted) require_own_hash(scheme, key);
  return is_ec ? ecdsa_plans(scheme, key) : rsa_plans(scheme, key, salt);
}

core::SignInput sign_input(const KeyTraits& key) noexcept {
  return key.restricted ? core::SignInput::kMessage : core::SignInput::kDigest;
}

std::size_t pss_salt_size(PssSalt salt, Digest digest, std::size_t modulus_bits) noexcept {
  const std::size_t encoded = (modulus_bits + 6) / 8;  // RFC 8017, 8.1.1: of modulus_bits - 1
  const std::size_t hash = core::digest_size(digest);
  const std::size_t largest = encoded < hash + 2 ? 0 : encoded - hash - 2;
  return salt == PssSalt::kLargest ? largest : std::min(hash, largest);
}

Bytes prepare_input(const core::Libcrypto& crypto, const SignPlan& plan, const SignScheme& scheme,
                    ByteView input, const KeyTraits& key) {
  if (plan.command == Command::kHashSign) {
    if (!scheme.message)
      throw Error(Reason::kMechanismMissing,
                  core::scheme_text(scheme) +
                      ": the key is restricted: it signs only what the TPM hashed; hand in the "
                      "message, not its digest");
    return {input.begin(), input.end()};
  }
  const std::size_t expected = core::digest_size(scheme.digest);
  if (expected != 0 && input.size() != expected)
    throw Error(Reason::kBadParameter, std::string("a ") + core::digest_name(scheme.digest) +
                                           " digest has " + std::to_string(expected) +
                                           " bytes, not " + std::to_string(input.size()) +
                                           "; hand in the digest, not the message");
  if (plan.command == Command::kSign) {
    if (scheme.kind == Kind::kEcdsa) return fit_digest(input, hash_size(plan.hash), key);
    return {input.begin(), input.end()};
  }
  switch (scheme.kind) {
    case Kind::kRsaPkcs1:
      return core::emsa_pkcs1(core::digest_info(scheme.digest, input), key.field_size());
    case Kind::kRsaPss:
      return core::emsa_pss(crypto, scheme, input, key.bits);
    default:
      break;
  }
  if (input.size() != key.field_size())
    throw Error(Reason::kBadParameter,
                "RSA without padding takes " + std::to_string(key.field_size()) + " bytes, not " +
                    std::to_string(input.size()) + "; pad the data to the size of the key");
  return {input.begin(), input.end()};
}

Bytes signature_bytes(const TPMT_SIGNATURE& signature, const KeyTraits& key) {
  Bytes out;
  const std::size_t width = key.field_size();
  if (key.algorithm == core::Algorithm::kEc && signature.sigAlg == TPM2_ALG_ECDSA) {
    for (const TPM2B_ECC_PARAMETER* const part :
         {&signature.signature.ecdsa.signatureR, &signature.signature.ecdsa.signatureS})
      append_fixed(out, part->buffer, std::min<std::size_t>(part->size, sizeof part->buffer),
                   width);
  } else if (key.algorithm != core::Algorithm::kEc &&
             (signature.sigAlg == TPM2_ALG_RSASSA || signature.sigAlg == TPM2_ALG_RSAPSS)) {
    const TPM2B_PUBLIC_KEY_RSA& sig = signature.signature.rsassa.sig;
    append_fixed(out, sig.buffer, std::min<std::size_t>(sig.size, sizeof sig.buffer), width);
  } else {
    throw Error(Reason::kDeviceError, "TPM2_Sign: the TPM answered a signature by " +
                                          algorithm_text(signature.sigAlg) +
                                          "; check that the key is the one that was loaded");
  }
  return out;
}

}  // namespace hwid::tpm2
