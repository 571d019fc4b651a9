#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>

#include <map>

#include "provider/core/error.h"
#include "provider/tpm2/sign_scheme.h"

using namespace hwid;
using core::Algorithm;
using core::Bytes;
using core::Digest;
using core::Error;
using core::Reason;
using core::SignScheme;
using tpm2::KeyTraits;
using tpm2::PssSalt;
using tpm2::SignPlan;
using tpm2::SignPlans;

namespace {

using Kind = SignScheme::Kind;
using Command = SignPlan::Command;

constexpr Digest kAllDigests[] = {Digest::kNone,       Digest::kMd5,        Digest::kMd5Sha1,
                                  Digest::kSha1,       Digest::kSha224,     Digest::kSha256,
                                  Digest::kSha384,     Digest::kSha512,     Digest::kSha3_224,
                                  Digest::kSha512_224, Digest::kSha512_256, Digest::kSha3_256,
                                  Digest::kSha3_384,   Digest::kSha3_512,   Digest::kRipemd160,
                                  Digest::kSm3,        Digest::kOther};

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

KeyTraits rsa_key(bool sign = true, bool decrypt = true) {
  KeyTraits key;
  key.bits = 2048;
  key.sign = sign;
  key.decrypt = decrypt;
  return key;
}

KeyTraits ec_key(std::size_t bits) {
  KeyTraits key = rsa_key();
  key.algorithm = Algorithm::kEc;
  key.bits = bits;
  return key;
}

KeyTraits fixed(KeyTraits key, TPM2_ALG_ID scheme, TPM2_ALG_ID hash, bool restricted = false) {
  key.scheme = scheme;
  key.scheme_hash = hash;
  key.decrypt = false;
  key.restricted = restricted;
  return key;
}

SignScheme pkcs1(Digest digest) { return {Kind::kRsaPkcs1, digest}; }
SignScheme pss(Digest digest, std::size_t salt) { return {Kind::kRsaPss, digest, digest, salt}; }
SignScheme ecdsa(Digest digest) { return {Kind::kEcdsa, digest}; }

// "Sign RSASSA SHA256, raw", "none: REASON", as a row of a table shows it.
std::string plan_text(const SignScheme& scheme, const KeyTraits& key,
                      PssSalt salt = PssSalt::kDigestSize) {
  const std::map<Command, std::string> commands = {
      {Command::kSign, "Sign"}, {Command::kHashSign, "HashSign"}, {Command::kRawRsa, "raw"}};
  const auto shorter = [](TPM2_ALG_ID algorithm) {
    return tpm2::algorithm_text(algorithm).substr(std::string("TPM2_ALG_").size());
  };
  try {
    std::string text;
    for (const SignPlan& plan : tpm2::plans_for(scheme, key, salt)) {
      if (!text.empty()) text += ", ";
      text += commands.at(plan.command);
      if (plan.command == Command::kRawRsa) continue;
      text += " " + shorter(plan.scheme.scheme) + " " + shorter(plan.hash);
      if (plan.scheme.scheme != TPM2_ALG_NULL) CHECK(plan.scheme.details.any.hashAlg == plan.hash);
    }
    return text;
  } catch (const Error& error) {
    CHECK((error.reason == Reason::kMechanismMissing || error.reason == Reason::kNotPermitted));
    const std::string what = error.what();
    CHECK(what.find(core::scheme_text(scheme) + ": ") == 0);
    CHECK(what.find("; ") != std::string::npos);  // the next step
    return error.reason == Reason::kNotPermitted ? "not permitted" : "none: " + what;
  }
}

bool is_tpm_rsa_digest(Digest digest) {
  return digest == Digest::kSha1 || digest == Digest::kSha256 || digest == Digest::kSha384 ||
         digest == Digest::kSha512;
}

std::string tpm_name(Digest digest) {
  return tpm2::algorithm_text(tpm2::hash_algorithm(digest)).substr(9);
}

bool begins(const std::string& text, const std::string& part) { return text.starts_with(part); }
bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// TPM2_Sign of an EC key, as far as the digest goes: it takes the leftmost bits.
bool verifies(const char* group, const Bytes& digest, const Bytes& as_given) {
  const core::EvpPkey pair(EVP_PKEY_Q_keygen(crypto().get(), nullptr, "EC", group));
  const core::EvpPkeyCtx signer(EVP_PKEY_CTX_new_from_pkey(crypto().get(), pair.get(), nullptr));
  REQUIRE(EVP_PKEY_sign_init(signer.get()) == 1);
  Bytes signature(256);
  std::size_t size = signature.size();
  REQUIRE(EVP_PKEY_sign(signer.get(), signature.data(), &size, as_given.data(), as_given.size()) ==
          1);
  REQUIRE(EVP_PKEY_verify_init(signer.get()) == 1);
  return EVP_PKEY_verify(signer.get(), signature.data(), size, digest.data(), digest.size()) == 1;
}

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(0x81 + i);
  return bytes;
}

}  // namespace

TEST_CASE("sign scheme: RSA PKCS#1 v1.5, every digest by every kind of key") {
  for (const Digest digest : kAllDigests) {
    CAPTURE(core::digest_name(digest));
    const std::string sign = "Sign RSASSA " + (is_tpm_rsa_digest(digest) ? tpm_name(digest) : "");
    const bool by_tpm = is_tpm_rsa_digest(digest);
    CHECK(plan_text(pkcs1(digest), rsa_key()) == (by_tpm ? sign + ", raw" : "raw"));
    CHECK(plan_text(pkcs1(digest), rsa_key(false)) == "raw");
    CHECK(plan_text(pkcs1(digest), rsa_key(false, false)) == "not permitted");
    const std::string alone = plan_text(pkcs1(digest), rsa_key(true, false));
    if (by_tpm)
      CHECK(alone == sign);
    else
      CHECK(says(alone, "the key has no decrypt attribute"));

    const KeyTraits rsassa = fixed(rsa_key(), TPM2_ALG_RSASSA, TPM2_ALG_SHA256);
    const KeyTraits restricted = fixed(rsa_key(), TPM2_ALG_RSASSA, TPM2_ALG_SHA256, true);
    const KeyTraits rsapss = fixed(rsa_key(), TPM2_ALG_RSAPSS, TPM2_ALG_SHA256);
    if (digest == Digest::kSha256) {
      CHECK(plan_text(pkcs1(digest), rsassa) == "Sign NULL SHA256");
      CHECK(plan_text(pkcs1(digest), restricted) == "HashSign NULL SHA256");
    } else {
      CHECK(
          says(plan_text(pkcs1(digest), rsassa), "for TPM2_ALG_RSASSA with TPM2_ALG_SHA256 only"));
      CHECK(says(plan_text(pkcs1(digest), restricted), "restricted"));
    }
    CHECK(begins(plan_text(pkcs1(digest), rsapss), "none: "));
  }
}

TEST_CASE("sign scheme: RSA-PSS, every digest and salt") {
  for (const Digest digest : kAllDigests) {
    CAPTURE(core::digest_name(digest));
    const std::size_t size = core::digest_size(digest);
    const bool by_tpm = is_tpm_rsa_digest(digest);
    const std::string sign = "Sign RSAPSS " + (by_tpm ? tpm_name(digest) : "");
    CHECK(plan_text(pss(digest, size), rsa_key()) == (by_tpm ? sign + ", raw" : "raw"));
    CHECK(plan_text(pss(digest, size + 1), rsa_key()) == "raw");
    CHECK(plan_text(pss(digest, 0), rsa_key()) == "raw");
    CHECK(plan_text(pss(digest, size), rsa_key(false)) == "raw");
    const std::string alone = plan_text(pss(digest, size), rsa_key(true, false));
    CHECK((by_tpm ? alone == sign : begins(alone, "none: ")));
    if (by_tpm)
      CHECK(says(plan_text(pss(digest, size + 1), rsa_key(true, false)),
                 "the TPM's salt has " + std::to_string(size) + " bytes"));

    // A chip with the largest salt cannot do TLS 1.3 but in software.
    CHECK(plan_text(pss(digest, size), rsa_key(), PssSalt::kLargest) == "raw");
    if (by_tpm) {
      const std::size_t largest = 256 - size - 2;
      CHECK(plan_text(pss(digest, largest), rsa_key(true, false), PssSalt::kLargest) == sign);
      CHECK(says(plan_text(pss(digest, size), rsa_key(true, false), PssSalt::kLargest),
                 std::to_string(largest)));
    }
    const KeyTraits rsapss = fixed(rsa_key(), TPM2_ALG_RSAPSS, TPM2_ALG_SHA256);
    const KeyTraits rsassa = fixed(rsa_key(), TPM2_ALG_RSASSA, TPM2_ALG_SHA256);
    CHECK((plan_text(pss(digest, 32), rsapss) == "Sign NULL SHA256") ==
          (digest == Digest::kSha256));
    CHECK(begins(plan_text(pss(digest, size), rsassa), "none: "));
    CHECK(begins(plan_text(pss(digest, 20), rsapss), "none: "));
  }
  SignScheme mixed = pss(Digest::kSha256, 32);
  mixed.mgf1_digest = Digest::kSha1;
  CHECK(plan_text(mixed, rsa_key()) == "raw");
  CHECK(says(plan_text(mixed, rsa_key(true, false)), "one digest for PSS and MGF1"));
  KeyTraits small = rsa_key(true, false);
  small.bits = 1024;
  CHECK(plan_text(pss(Digest::kSha512, 62), small) == "Sign RSAPSS SHA512");
  CHECK(begins(plan_text(pss(Digest::kSha512, 64), small), "none: "));
  CHECK(tpm2::pss_salt_size(PssSalt::kLargest, Digest::kSha256, 2048) == 222);
  CHECK(tpm2::pss_salt_size(PssSalt::kLargest, Digest::kSha512, 512) == 0);
}

TEST_CASE("sign scheme: RSA without padding needs decrypt") {
  const SignScheme raw{Kind::kRsaRaw};
  CHECK(plan_text(raw, rsa_key()) == "raw");
  CHECK(says(plan_text(raw, rsa_key(true, false)), "without padding"));
  CHECK(says(plan_text(raw, fixed(rsa_key(), TPM2_ALG_RSASSA, TPM2_ALG_SHA256)), "none: "));
  KeyTraits storage = rsa_key(false);
  storage.restricted = true;
  CHECK(plan_text(raw, storage) == "not permitted");
  KeyTraits rsaes = rsa_key(false);
  rsaes.scheme = TPM2_ALG_RSAES;
  CHECK(plan_text(pkcs1(Digest::kSha256), rsaes) == "not permitted");
}

TEST_CASE("sign scheme: ECDSA, every digest on every curve") {
  for (const std::size_t bits : {192, 224, 256, 384, 521}) {
    const KeyTraits key = ec_key(bits);
    for (const Digest digest : kAllDigests) {
      CAPTURE(bits);
      CAPTURE(core::digest_name(digest));
      std::size_t size = core::digest_size(digest);
      if (size == 0 || size > key.field_size()) size = key.field_size();
      const char* const hash = size <= 32 ? "SHA256" : size <= 48 ? "SHA384" : "SHA512";
      CHECK(plan_text(ecdsa(digest), key) == std::string("Sign ECDSA ") + hash);
    }
    CHECK(begins(plan_text(pkcs1(Digest::kSha256), key), "none: "));
  }
  CHECK(begins(plan_text(ecdsa(Digest::kSha256), rsa_key()), "none: "));
  KeyTraits no_sign = ec_key(256);
  no_sign.sign = false;
  CHECK(plan_text(ecdsa(Digest::kSha256), no_sign) == "not permitted");
}

TEST_CASE("sign scheme: EC keys with a scheme of their own") {
  for (const Digest digest : kAllDigests) {
    CAPTURE(core::digest_name(digest));
    const KeyTraits p256 = fixed(ec_key(256), TPM2_ALG_ECDSA, TPM2_ALG_SHA256);
    const KeyTraits p384 = fixed(ec_key(384), TPM2_ALG_ECDSA, TPM2_ALG_SHA256);
    const KeyTraits restricted = fixed(ec_key(256), TPM2_ALG_ECDSA, TPM2_ALG_SHA256, true);
    CHECK(plan_text(ecdsa(digest), p256) == "Sign NULL SHA256");  // cut to the curve, it fits
    if (std::min<std::size_t>(core::digest_size(digest), 48) <= 32)
      CHECK(plan_text(ecdsa(digest), p384) == "Sign NULL SHA256");
    else
      CHECK(says(plan_text(ecdsa(digest), p384), "which is shorter"));
    if (digest == Digest::kSha256)
      CHECK(plan_text(ecdsa(digest), restricted) == "HashSign NULL SHA256");
    else
      CHECK(says(plan_text(ecdsa(digest), restricted), "restricted"));
    CHECK(says(plan_text(ecdsa(digest), fixed(ec_key(256), TPM2_ALG_ECDAA, TPM2_ALG_SHA256)),
               "TPM2_ALG_ECDAA"));
  }
  CHECK(tpm2::sign_input(ec_key(256)) == core::SignInput::kDigest);
  CHECK(tpm2::sign_input(fixed(ec_key(256), TPM2_ALG_ECDSA, TPM2_ALG_SHA256, true)) ==
        core::SignInput::kMessage);
}

TEST_CASE("sign scheme: an ECDSA digest put into another size keeps its value") {
  const struct {
    const char* group;
    std::size_t bits;
  } curves[] = {{"P-192", 192}, {"P-224", 224}, {"P-256", 256}, {"P-384", 384}, {"P-521", 521}};
  for (const auto& curve : curves) {
    for (const Digest digest : kAllDigests) {
      CAPTURE(curve.group);
      CAPTURE(core::digest_name(digest));
      const Bytes input = counting(
          digest == Digest::kNone || digest == Digest::kOther ? 33 : core::digest_size(digest));
      for (const TPM2_ALG_ID hash :
           {TPM2_ALG_NULL, TPM2_ALG_SHA1, TPM2_ALG_SHA256, TPM2_ALG_SHA384, TPM2_ALG_SHA512}) {
        KeyTraits key = ec_key(curve.bits);
        if (hash != TPM2_ALG_NULL) key = fixed(key, TPM2_ALG_ECDSA, hash);
        CAPTURE(hash);
        try {
          const SignPlans plans = tpm2::plans_for(ecdsa(digest), key, PssSalt::kDigestSize);
          REQUIRE(plans.count == 1);
          const Bytes given =
              tpm2::prepare_input(crypto(), *plans.begin(), ecdsa(digest), input, key);
          CHECK(given.size() == tpm2::hash_size(plans.begin()->hash));
          CHECK(verifies(curve.group, input, given));
        } catch (const Error&) {
          CHECK(hash != TPM2_ALG_NULL);
          CHECK(std::min(input.size(), key.field_size()) > tpm2::hash_size(hash));
        }
      }
    }
  }
}

TEST_CASE("sign scheme: inputs of the wrong length") {
  const auto prepared = [](const SignScheme& scheme, const KeyTraits& key, std::size_t size,
                           std::size_t plan) {
    try {
      const SignPlans plans = tpm2::plans_for(scheme, key, PssSalt::kDigestSize);
      REQUIRE(plan < plans.count);
      return std::to_string(
          tpm2::prepare_input(crypto(), plans.plans[plan], scheme, counting(size), key).size());
    } catch (const Error& error) {
      CHECK(error.reason == Reason::kBadParameter);
      return std::string(error.what());
    }
  };
  CHECK(prepared(pkcs1(Digest::kSha256), rsa_key(), 32, 0) == "32");
  CHECK(prepared(pkcs1(Digest::kSha256), rsa_key(), 32, 1) == "256");
  CHECK(prepared(pkcs1(Digest::kMd5Sha1), rsa_key(), 36, 0) == "256");
  CHECK(prepared(pkcs1(Digest::kNone), rsa_key(), 245, 0) == "256");
  CHECK(says(prepared(pkcs1(Digest::kNone), rsa_key(), 246, 0), "does not fit"));
  CHECK(says(prepared(pkcs1(Digest::kSha256), rsa_key(), 31, 0), "32 bytes, not 31"));
  CHECK(says(prepared(pkcs1(Digest::kSha256), rsa_key(), 33, 1), "32 bytes, not 33"));
  CHECK(prepared(pss(Digest::kSha256, 222), rsa_key(), 32, 0) == "256");
  CHECK(says(prepared(pss(Digest::kSha256, 223), rsa_key(), 32, 0), "does not fit"));
  CHECK(says(prepared({Kind::kRsaRaw}, rsa_key(), 255, 0), "256 bytes, not 255"));
  CHECK(prepared({Kind::kRsaRaw}, rsa_key(), 256, 0) == "256");
  CHECK(says(prepared(ecdsa(Digest::kSha256), ec_key(256), 20, 0), "32 bytes, not 20"));
  CHECK(prepared(ecdsa(Digest::kNone), ec_key(256), 0, 0) == "32");
  CHECK(says(prepared(ecdsa(Digest::kNone), ec_key(521), 65, 0), "do not fit"));
  const KeyTraits restricted = fixed(rsa_key(), TPM2_ALG_RSASSA, TPM2_ALG_SHA256, true);
  SignScheme of_message = pkcs1(Digest::kSha256);
  of_message.message = true;
  CHECK(prepared(of_message, restricted, 5000, 0) == "5000");
  CHECK(prepared(of_message, restricted, 0, 0) == "0");
  // Else the TPM would hash the digest once more.
  CHECK_THROWS_WITH_AS(
      (void)tpm2::prepare_input(
          crypto(),
          *tpm2::plans_for(pkcs1(Digest::kSha256), restricted, PssSalt::kDigestSize).begin(),
          pkcs1(Digest::kSha256), counting(32), restricted),
      doctest::Contains("hand in the message, not its digest"), Error);
}

TEST_CASE("sign scheme: a padding made in software is the one that OpenSSL checks") {
  const core::EvpPkey pair(EVP_PKEY_Q_keygen(crypto().get(), nullptr, "RSA", size_t{2048}));
  const Bytes digest = counting(32);
  for (const std::size_t salt : {0, 20, 32, 222}) {
    const SignScheme scheme = pss(Digest::kSha256, salt);
    SignPlan plan;
    plan.command = Command::kRawRsa;
    const Bytes block = tpm2::prepare_input(crypto(), plan, scheme, digest, rsa_key());
    const core::EvpPkeyCtx raw(EVP_PKEY_CTX_new_from_pkey(crypto().get(), pair.get(), nullptr));
    Bytes signature(256);
    std::size_t size = signature.size();
    REQUIRE(EVP_PKEY_sign_init(raw.get()) == 1);
    REQUIRE(EVP_PKEY_CTX_set_rsa_padding(raw.get(), RSA_NO_PADDING) == 1);
    REQUIRE(EVP_PKEY_sign(raw.get(), signature.data(), &size, block.data(), block.size()) == 1);
    const core::EvpPkeyCtx judge(EVP_PKEY_CTX_new_from_pkey(crypto().get(), pair.get(), nullptr));
    REQUIRE(EVP_PKEY_verify_init(judge.get()) == 1);
    EVP_PKEY_CTX_set_rsa_padding(judge.get(), RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_signature_md(judge.get(), EVP_sha256());
    EVP_PKEY_CTX_set_rsa_pss_saltlen(judge.get(), static_cast<int>(salt));
    CHECK(EVP_PKEY_verify(judge.get(), signature.data(), size, digest.data(), digest.size()) == 1);
  }
}

TEST_CASE("sign scheme: the TPM's answer at fixed width") {
  TPMT_SIGNATURE answer{};
  answer.sigAlg = TPM2_ALG_ECDSA;
  TPMS_SIGNATURE_ECC& ec = answer.signature.ecdsa;
  ec.signatureR.size = 31;
  ec.signatureR.buffer[0] = 0x11;
  ec.signatureS.size = 33;  // a zero in front
  ec.signatureS.buffer[1] = 0x22;
  const Bytes out = tpm2::signature_bytes(answer, ec_key(256));
  REQUIRE(out.size() == 64);
  CHECK(out[0] == 0);
  CHECK(out[1] == 0x11);
  CHECK(out[32] == 0x22);
  ec.signatureS.buffer[0] = 1;
  CHECK_THROWS_AS(tpm2::signature_bytes(answer, ec_key(256)), Error);
  CHECK_THROWS_AS(tpm2::signature_bytes(answer, rsa_key()), Error);
  ec.signatureS.size = 0;
  CHECK_THROWS_AS(tpm2::signature_bytes(answer, ec_key(256)), Error);

  answer = {};
  answer.sigAlg = TPM2_ALG_RSAPSS;
  answer.signature.rsapss.sig.size = 256;
  CHECK(tpm2::signature_bytes(answer, rsa_key()).size() == 256);
  answer.signature.rsapss.sig.size = 384;
  answer.signature.rsapss.sig.buffer[0] = 1;
  CHECK_THROWS_AS(tpm2::signature_bytes(answer, rsa_key()), Error);
  answer.sigAlg = TPM2_ALG_HMAC;
  CHECK_THROWS_AS(tpm2::signature_bytes(answer, rsa_key()), Error);
}
