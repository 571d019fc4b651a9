#include "tools/hwid/verify/possession.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "provider/core/error.h"
#include "provider/core/rsa_padding.h"
#include "tools/hwid/crypto_error.h"
#include "transport/certificate_text.h"

namespace hwid::tool::verify {
namespace {

using core::Bytes;
using core::DecryptScheme;
using core::Digest;
using core::Error;
using core::Reason;
using core::Secret;
using core::SignScheme;

// The key may not, or cannot, do that: another use is tried.
bool is_not_for_that(const Error& error) noexcept {
  return error.reason == Reason::kMechanismMissing || error.reason == Reason::kNotPermitted ||
         error.reason == Reason::kUnsupported || error.reason == Reason::kBadParameter;
}

Bytes random_bytes(const core::Libcrypto& crypto, std::size_t size) {
  Bytes bytes(size);
  if (RAND_bytes_ex(crypto.get(), bytes.data(), size, 0) != 1)
    throw_crypto_error("RAND_bytes", "see that the system's random source works");
  return bytes;
}

// Says what it is, so that the signature is good for nothing else.
std::string fresh_message(const core::Libcrypto& crypto, std::time_t now) {
  constexpr std::size_t kNonce = 32;
  return "hwid verify: a challenge, no document\n" + transport::utc_text(now) + "\n" +
         core::to_hex(random_bytes(crypto, kNonce)) + "\n";
}

Signature as_openssl_has_it(const SignScheme& scheme, std::string message, Bytes value) {
  Signature signature{core::scheme_text(scheme), "", std::move(message), std::move(value)};
  if (scheme.digest != Digest::kNone) signature.digest = core::digest_name(scheme.digest);
  if (scheme.kind == SignScheme::Kind::kEcdsa) signature.value = core::ecdsa_der(signature.value);
  return signature;
}

std::optional<Signature> sign(const core::Libcrypto& crypto, const core::Key& key,
                              std::time_t now) {
  for (const SignScheme& scheme : signing_schemes(key)) {
    std::string message = fresh_message(crypto, now);
    try {
      Bytes value = sign_message(crypto, key, scheme, core::as_bytes(message));
      return as_openssl_has_it(scheme, std::move(message), std::move(value));
    } catch (const Error& error) {
      if (!is_not_for_that(error)) throw;
    }
  }
  return std::nullopt;
}

bool set_pss(EVP_PKEY_CTX* context, bool is_pss) {
  return !is_pss || (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
                     EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

bool verifies(const core::Libcrypto& crypto, EVP_PKEY* under, const Signature& signature) {
  const core::ErrorMark mark;
  const core::EvpMdCtx context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  const char* const digest = signature.digest.empty() ? nullptr : signature.digest.c_str();
  const core::ByteView message = core::as_bytes(signature.message);
  return context &&
         EVP_DigestVerifyInit_ex(context.get(), &key_context, digest, crypto.get(), core::kNotHwid,
                                 under, nullptr) == 1 &&
         set_pss(key_context, signature.algorithm.starts_with("RSA-PSS")) &&
         EVP_DigestVerify(context.get(), signature.value.data(), signature.value.size(),
                          message.data(), message.size()) == 1;
}

core::EvpPkeyCtx context_of(const core::Libcrypto& crypto, EVP_PKEY* key) {
  core::EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(crypto.get(), key, core::kNotHwid));
  if (!context) throw std::bad_alloc();
  return context;
}

// Nothing where the key does not decrypt by that scheme; else whether it did so rightly.
std::optional<bool> decrypts(const core::Libcrypto& crypto, const core::Key& key, EVP_PKEY* under,
                             DecryptScheme::Kind kind, int padding) {
  const Digest only = key.only_digest();
  const Digest digest = only == Digest::kNone ? Digest::kSha1 : only;  // of OAEP
  const core::ErrorMark mark;
  const bool is_raw = kind == DecryptScheme::Kind::kRsaRaw;
  Bytes secret = random_bytes(
      crypto, is_raw ? static_cast<std::size_t>(EVP_PKEY_get_size(under)) : std::size_t{32});
  if (is_raw) secret[0] = 0;  // below the modulus
  const core::EvpPkeyCtx context = context_of(crypto, under);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(under));
  Bytes ciphertext(size);
  if (EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), padding) != 1 ||
      (padding == RSA_PKCS1_OAEP_PADDING &&
       EVP_PKEY_CTX_set_rsa_oaep_md_name(context.get(), core::digest_name(digest), nullptr) != 1) ||
      EVP_PKEY_encrypt(context.get(), ciphertext.data(), &size, secret.data(), secret.size()) != 1)
    return std::nullopt;
  try {
    const Secret opened = key.decrypt({kind, digest, digest, {}}, ciphertext);
    return std::ranges::equal(opened.reveal(), secret);
  } catch (const Error& error) {
    if (error.reason == Reason::kDecryptionFailed) return false;
    if (!is_not_for_that(error)) throw;
    return std::nullopt;
  }
}

// Likewise of a secret that is agreed on with a key made for that.
std::optional<bool> agrees(const core::Libcrypto& crypto, const core::Key& key, EVP_PKEY* under) {
  const core::ErrorMark mark;
  const core::EvpPkeyCtx generation = context_of(crypto, under);
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_keygen_init(generation.get()) != 1 ||
      EVP_PKEY_generate(generation.get(), &made) != 1)
    return std::nullopt;
  const core::EvpPkey peer(made);
  unsigned char* encoded = nullptr;
  const std::size_t encoded_size = EVP_PKEY_get1_encoded_public_key(peer.get(), &encoded);
  const Bytes point(encoded, encoded + encoded_size);
  OPENSSL_free(encoded);
  const core::EvpPkeyCtx context = context_of(crypto, peer.get());
  std::size_t size = 0;
  if (EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), under) != 1 ||
      EVP_PKEY_derive(context.get(), nullptr, &size) != 1)
    return std::nullopt;
  Secret expected(size);
  if (EVP_PKEY_derive(context.get(), expected.writable().data(), &size) != 1) return std::nullopt;
  expected.truncate(size);
  try {
    return std::ranges::equal(key.derive(point).reveal(), expected.reveal());
  } catch (const Error& error) {
    if (!is_not_for_that(error)) throw;
    return std::nullopt;
  }
}

struct Use {
  const char* asked;
  bool is_right;
};

std::optional<Use> use_otherwise(const core::Libcrypto& crypto, const core::Key& key,
                                 EVP_PKEY* under) {
  using Kind = DecryptScheme::Kind;
  if (core::is_rsa(key.public_key().algorithm())) {
    for (const auto& [kind, padding] : {std::pair(Kind::kRsaOaep, RSA_PKCS1_OAEP_PADDING),
                                        std::pair(Kind::kRsaPkcs1, RSA_PKCS1_PADDING),
                                        std::pair(Kind::kRsaRaw, RSA_NO_PADDING)}) {
      if (const auto right = decrypts(crypto, key, under, kind, padding))
        return Use{"decryption of a fresh secret", *right};
    }
    return std::nullopt;
  }
  const auto right = agrees(crypto, key, under);
  return right ? std::optional(Use{"agreement on a fresh secret", *right}) : std::nullopt;
}

void add_use(const std::string& asked, bool is_right, bool is_certified, Report& report) {
  const std::string with = is_certified ? "the certificate's public key" : "the key's public half";
  report.add(Group::kCertificate, asked, is_right ? "right" : "wrong",
             is_right ? Finding::kGood : Finding::kBad,
             is_right ? "checked in software with " + with : "it does not fit " + with);
}

void add_signature(const core::Libcrypto& crypto, Signature signature, EVP_PKEY* under,
                   bool is_certified, Report& report) {
  add_use("signature of a fresh message, " + signature.algorithm,
          verifies(crypto, under, signature), is_certified, report);
  report.signature = std::move(signature);
}

void add_no_use(const char* why, Report& report) {
  report.add(Group::kCertificate, "use of the key", "not possible", Finding::kWarning, why);
}

}  // namespace

std::vector<SignScheme> signing_schemes(const core::Key& key) {
  using Kind = SignScheme::Kind;
  const Digest only = key.only_digest();
  const Digest digest = only == Digest::kNone ? Digest::kSha256 : only;
  const SignScheme pss{Kind::kRsaPss, digest, digest, core::digest_size(digest)};
  switch (key.public_key().algorithm()) {
    case core::Algorithm::kRsa:
      return {{Kind::kRsaPkcs1, digest}, pss};
    case core::Algorithm::kRsaPss:
      return {pss};
    case core::Algorithm::kEc:
      return {{Kind::kEcdsa, digest}};
    case core::Algorithm::kEd25519:
    case core::Algorithm::kEd448:
      return {SignScheme{.kind = Kind::kEddsa, .message = true}};
    default:
      return {};
  }
}

Bytes sign_message(const core::Libcrypto& crypto, const core::Key& key, SignScheme scheme,
                   core::ByteView message) {
  if (scheme.kind == SignScheme::Kind::kEddsa) return key.sign(scheme, message);
  const core::EvpMd md = crypto.fetch_digest(core::digest_name(scheme.digest));
  const Bytes digest = core::hash(md.get(), {message});
  scheme.message = key.sign_input(scheme) == core::SignInput::kMessage;
  try {
    return key.sign(scheme, scheme.message ? message : core::ByteView(digest));
  } catch (const Error& error) {
    if (error.reason != Reason::kMechanismMissing || scheme.message) throw;
    scheme.message = key.sign_input(scheme) == core::SignInput::kMessage;
    if (!scheme.message) throw;
    return key.sign(scheme, message);
  }
}

std::optional<bool> works(const core::Libcrypto& crypto, const core::Key& key) {
  EVP_PKEY* const own = key.public_key().pkey();
  if (const auto signature = sign(crypto, key, std::time(nullptr)))
    return verifies(crypto, own, *signature);
  const auto use = use_otherwise(crypto, key, own);
  return use ? std::optional(use->is_right) : std::nullopt;
}

void check_certificate(const GivenCertificate& given, EVP_PKEY* own, Report& report) {
  const core::ErrorMark mark;
  const X509* const certificate = given.certificate.get();
  const bool is_own = EVP_PKEY_eq(X509_get0_pubkey(certificate), own) == 1;
  report.add(Group::kCertificate, "certificate's public key",
             is_own ? "the key's" : "another key's", is_own ? Finding::kGood : Finding::kBad,
             is_own ? "it was issued for this key" : "it was issued for another key");
  const auto validity = transport::validity_of(certificate);
  const std::string begin = transport::utc_text(given.facts.begins);
  const std::string end = transport::utc_text(given.facts.ends);
  const bool is_valid = validity == transport::Validity::valid;
  report.add(Group::kCertificate, "certificate's dates", begin + " to " + end,
             is_valid ? Finding::kGood : Finding::kBad,
             is_valid                                   ? "it is valid now"
             : validity == transport::Validity::not_yet ? "it is not valid yet"
                                                        : "it has expired");
}

void check_use(const core::Libcrypto& crypto, const core::Key& key, EVP_PKEY* under,
               bool is_certified, Report& report) {
  if (std::optional<Signature> signature = sign(crypto, key, report.time))
    add_signature(crypto, std::move(*signature), under, is_certified, report);
  else if (const auto use = use_otherwise(crypto, key, under))
    add_use(use->asked, use->is_right, is_certified, report);
  else
    add_no_use("the key neither signs, nor decrypts, nor agrees on secrets here", report);
}

void check_use(const core::Libcrypto& crypto, EVP_PKEY* key, EVP_PKEY* under, bool is_certified,
               Report& report) {
  const core::ErrorMark mark;
  const bool is_edwards = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
  const bool is_pss = EVP_PKEY_is_a(key, "RSA-PSS") == 1;
  const char* const type = EVP_PKEY_get0_type_name(key);
  Signature signature{std::string(is_edwards        ? "EdDSA"
                                  : type != nullptr ? type
                                                    : "?") +
                          (is_edwards ? "" : " SHA2-256"),
                      is_edwards ? "" : "SHA2-256",
                      fresh_message(crypto, report.time),
                      {}};
  const core::EvpMdCtx context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  const core::ByteView message = core::as_bytes(signature.message);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(key));
  signature.value.resize(size);
  const bool is_signed =
      context &&
      EVP_DigestSignInit_ex(context.get(), &key_context, is_edwards ? nullptr : "SHA2-256",
                            crypto.get(), core::kNotHwid, key, nullptr) == 1 &&
      set_pss(key_context, is_pss) &&
      EVP_DigestSign(context.get(), signature.value.data(), &size, message.data(),
                     message.size()) == 1;
  if (!is_signed) return add_no_use("it does not sign", report);
  signature.value.resize(size);
  add_signature(crypto, std::move(signature), under, is_certified, report);
}

}  // namespace hwid::tool::verify
