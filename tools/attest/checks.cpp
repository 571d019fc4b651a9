#include "tools/attest/checks.h"

#include <openssl/crypto.h>
#include <tss2/tss2_mu.h>

#include <algorithm>

#include "provider/core/error.h"
#include "provider/tpm2/policy_conf.h"
#include "provider/tpm2/session_crypto.h"
#include "provider/tpm2/sign_scheme.h"
#include "tools/attest/distinguished_name.h"

namespace hwid::attest {

using core::Bytes;
using core::ByteView;
using core::Libcrypto;
using core::SignScheme;

namespace {

bool is_set(const TPMT_PUBLIC& area, TPMA_OBJECT attribute) noexcept {
  return (area.objectAttributes & attribute) != 0;
}

// Those that are wanted and not set, and those that must not be and are.
std::string wrong_attributes(const TPMT_PUBLIC& area, TPMA_OBJECT wanted, TPMA_OBJECT forbidden) {
  constexpr std::pair<TPMA_OBJECT, const char*> kNames[] = {
      {TPMA_OBJECT_FIXEDTPM, "fixedTPM"},
      {TPMA_OBJECT_FIXEDPARENT, "fixedParent"},
      {TPMA_OBJECT_SENSITIVEDATAORIGIN, "sensitiveDataOrigin"},
      {TPMA_OBJECT_RESTRICTED, "restricted"},
      {TPMA_OBJECT_SIGN_ENCRYPT, "sign"},
      {TPMA_OBJECT_DECRYPT, "decrypt"}};
  std::string text;
  for (const auto& [attribute, name] : kNames) {
    const bool is_missing = (wanted & attribute) != 0 && !is_set(area, attribute);
    const bool is_too_much = (forbidden & attribute) != 0 && is_set(area, attribute);
    if (!is_missing && !is_too_much) continue;
    text +=
        (text.empty() ? "" : ", ") + std::string(name) + (is_missing ? " is not set" : " is set");
  }
  return text;
}

// A name stands for the public area only as far as its hash does.
std::string weak_name(const TPMT_PUBLIC& area) {
  if (tpm2::hash_size(area.nameAlg) >= tpm2::hash_size(TPM2_ALG_SHA256)) return {};
  return "nameAlg is " + tpm2::algorithm_text(area.nameAlg) + ", weaker than SHA-256";
}

std::string fault_of_area(const TPMT_PUBLIC& area, TPMA_OBJECT wanted, TPMA_OBJECT forbidden) {
  const std::string wrong = wrong_attributes(area, wanted, forbidden);
  return wrong.empty() ? weak_name(area) : wrong;
}

constexpr TPMA_OBJECT kStays =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;

std::string type_text(TPMI_ST_ATTEST type) {
  switch (type) {
    case TPM2_ST_ATTEST_CERTIFY:
      return "TPM_ST_ATTEST_CERTIFY";
    case TPM2_ST_ATTEST_CREATION:
      return "TPM_ST_ATTEST_CREATION";
    case TPM2_ST_ATTEST_QUOTE:
      return "TPM_ST_ATTEST_QUOTE";
    default:
      return "type " + core::to_hex(Bytes{static_cast<std::uint8_t>(type >> 8),
                                          static_cast<std::uint8_t>(type)});
  }
}

template <typename Sized>
ByteView view(const Sized& sized) {
  return {sized.buffer, std::min<std::size_t>(sized.size, sizeof sized.buffer)};
}
ByteView view(const TPM2B_NAME& name) {
  return {name.name, std::min<std::size_t>(name.size, sizeof name.name)};
}

bool is_same(ByteView left, ByteView right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

// Of the same type, size and curve. (A TPM may have two, by TCG's low and high templates.)
bool is_same_kind(const EVP_PKEY* left, const EVP_PKEY* right) {
  const core::ErrorMark mark;
  return EVP_PKEY_get_bits(left) == EVP_PKEY_get_bits(right) &&
         EVP_PKEY_parameters_eq(left, right) == 1;
}

// Who is believed to have signed.
struct Ak {
  std::optional<TPMT_PUBLIC> area;  // unset: its certificate alone speaks for it
  std::optional<core::PublicKey> key;
};

// The TPM hashes by the AK's scheme; SHA-1 is nobody's any more.
std::optional<TPMI_ALG_HASH> hash_of(const TPMT_SIGNATURE& signature) {
  switch (signature.sigAlg) {
    case TPM2_ALG_RSASSA:
    case TPM2_ALG_RSAPSS:
    case TPM2_ALG_ECDSA:
      return signature.signature.any.hashAlg;
    default:
      return std::nullopt;
  }
}

class Verifier {
 public:
  Verifier(const Libcrypto& crypto, const Evidence& evidence, const Expectation& expected)
      : crypto_(crypto), evidence_(evidence), expected_(expected) {}

  Verification run() {
    ak();
    ek();
    key();
    quote();
    return std::move(result_);
  }

 private:
  void add(std::string name, bool good, std::string detail) {
    result_.checks.push_back({std::move(name), good, std::move(detail)});
  }
  // Good where there is no fault.
  void judge(std::string name, const std::string& fault, const std::string& detail) {
    add(std::move(name), fault.empty(), fault.empty() ? detail : fault);
  }
  void strength(std::string name, const core::PublicKey& key) {
    judge(std::move(name), weakness_of(key.pkey()),
          std::to_string(EVP_PKEY_get_security_bits(key.pkey())) + " bits");
  }

  // --- who attests

  void ak() {
    if (expected_.ak)
      trusted_ak();
    else if (expected_.ak_anchors != nullptr)
      certified_ak();
    else
      add("AK trust", false, kNotBound);
    if (ak_.area) {
      judge("AK attributes", fault_of_ak(*ak_.area), "restricted, sign, fixedTPM");
      try {
        if (!ak_.key) ak_.key = tpm2::public_key(crypto_, *ak_.area);
      } catch (const core::Error& error) {
        add("AK key", false, error.what());
      }
    } else if (ak_.key) {
      add("AK attributes", true,
          std::string("its certificate says that it attests only (") + kAkPurpose + ")");
    }
    if (!ak_.key) return;
    strength("AK strength", *ak_.key);
  }

  // Only who accepted the AK knows which EK that was: the evidence's certificate is signed by
  // nobody who saw the AK.
  std::string fault_of_ek_certificate(ByteView der) const {
    if (result_.ek_digest.empty())
      return "nothing says which EK the AK was accepted beside, so a certificate of any TPM would "
             "do; have the AK accepted by `hwid attest accept`, which notes it";
    if (sha256(crypto_, {der}) == result_.ek_digest) return {};
    return "it is not the one that the AK was accepted beside (SHA-256 " +
           core::to_hex(result_.ek_digest) +
           "): of another TPM, or of another EK of this one; have the evidence made with that EK's "
           "(hwid attest evidence --ek or --ek-cert), or the AK accepted by this one";
  }

  // The evidence may have that of another EK of this TPM, or none, where it is known from
  // elsewhere.
  const Bytes& accepted_ek_certificate() const {
    for (const Bytes* const der :
         {&evidence_.ek_certificate, &expected_.ek_certificate, &expected_.wanted_ek}) {
      if (!der->empty() && fault_of_ek_certificate(*der).empty()) return *der;
    }
    return evidence_.ek_certificate;
  }

  // That of another type or size may be of the same TPM, and says nothing; another key of the same
  // may be, too, but then nothing tells it from another TPM's.
  std::string fault_of_own_ek(ByteView accepted) const {
    const core::Certificate own = core::parse_certificate(crypto_, evidence_.ek_certificate);
    const core::Certificate known = core::parse_certificate(crypto_, accepted);
    const EVP_PKEY* const key = own ? X509_get0_pubkey(own.get()) : nullptr;
    const EVP_PKEY* const known_key = known ? X509_get0_pubkey(known.get()) : nullptr;
    if (key == nullptr || known_key == nullptr || !is_same_kind(key, known_key) ||
        key_difference(key, known_key).empty())
      return {};
    return "that of the evidence: " + fault_of_ek_certificate(evidence_.ek_certificate);
  }

  void ek() {
    if (!expected_.wanted_ek.empty()) {
      std::string fault = fault_of_ek_certificate(expected_.wanted_ek);
      if (fault.empty()) fault = fault_of_own_ek(expected_.wanted_ek);
      judge("EK", fault, "it is the one that the AK was accepted beside");
    }
    if (expected_.ek_anchors == nullptr) return;
    const Bytes& der = accepted_ek_certificate();
    std::string fault =
        der.empty()
            ? "the evidence has none; have it made with --ek or --ek-cert, or give --ek-cert"
            : fault_of_ek_certificate(der);
    if (fault.empty()) fault = fault_of_own_ek(der);
    if (fault.empty()) {
      const core::Certificate certificate = core::parse_certificate(crypto_, der);
      fault = certificate ? fault_of(crypto_, certificate.get(), *expected_.ek_anchors, kEkPurpose,
                                     "an endorsement key")
                          : "it is damaged";
    }
    judge("EK certificate", fault,
          "by " + expected_.ek_anchors->path + ", and the AK was accepted beside it" +
              (evidence_.ek_certificate.empty() || is_same(evidence_.ek_certificate, der)
                   ? ""
                   : " (the evidence has another one, which says nothing)"));
  }

  std::string name_text(const TPMT_PUBLIC& area) {
    try {
      return core::to_hex(tpm2::object_name(crypto_, area));
    } catch (const core::Error& error) {
      return error.what();
    }
  }

  void trusted_ak() {
    const std::string name = name_text(expected_.ak->publicArea);
    const bool is_it = !evidence_.ak || name_text(evidence_.ak->publicArea) == name;
    add("AK trust", is_it,
        is_it ? "the AK " + name + " is the trusted one"
              : "the AK is " + name_text(evidence_.ak->publicArea) + ", and " + name +
                    " is trusted: it was swapped, or the evidence is of another machine");
    result_.ak = name;
    if (!is_it) return;
    // What it may sign is known of the trusted one, whatever the evidence says.
    ak_.area = expected_.ak->publicArea;
    if (!expected_.ek_certificate.empty())
      result_.ek_digest = sha256(crypto_, {expected_.ek_certificate});
  }

  void certified_ak() {
    if (evidence_.ak_certificate.empty()) {
      add("AK trust", false,
          evidence_.ek_certificate.empty()
              ? "the evidence has no certificate of the AK; give it with --ak-cert"
              : kNotBound);
      return;
    }
    const core::Certificate certificate =
        core::parse_certificate(crypto_, evidence_.ak_certificate);
    EVP_PKEY* const certified = certificate ? X509_get0_pubkey(certificate.get()) : nullptr;
    if (certified == nullptr) {
      add("AK trust", false, "the AK's certificate is damaged");
      return;
    }
    if (has_purpose(certificate.get(), kEkPurpose)) {
      add("AK trust", false, kNotBound);
      return;
    }
    const std::string fault = fault_of(crypto_, certificate.get(), *expected_.ak_anchors,
                                       kAkPurpose, "an attestation key");
    judge("AK trust", fault.empty() ? "" : "the AK's certificate: " + fault,
          "certified by " + expected_.ak_anchors->path);
    if (!fault.empty()) return;
    certified_area(certificate.get(), certified);
    try {
      if (ak_.area || ak_.key) result_.ek_digest = ek_digest_in(certificate.get());
    } catch (const core::Error& error) {
      add("AK certificate's EK", false, error.what());
    }
  }

  // The private half of a certified key is in its TPM, with the attributes that its certifier saw.
  void certified_area(X509* certificate, EVP_PKEY* certified) {
    if (!evidence_.ak) {
      result_.ak = "certificate " + distinguished_name(X509_get_subject_name(certificate));
      try {
        ak_.key = core::PublicKey::from_spki(crypto_, spki(certified));
      } catch (const core::Error& error) {
        add("AK certificate's key", false, std::string("no TPM has such a key: ") + error.what());
      }
      return;
    }
    result_.ak = name_text(evidence_.ak->publicArea);
    const std::string fault = fault_of_ak_certificate(crypto_, certified, evidence_.ak->publicArea);
    judge("AK certificate's key", fault, "it is the AK's");
    if (fault.empty()) ak_.area = evidence_.ak->publicArea;
  }

  static Bytes spki(EVP_PKEY* key) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key, &der);
    if (size <= 0) return {};
    Bytes bytes(der, der + size);
    OPENSSL_free(der);
    return bytes;
  }

  // --- what it says

  // The four questions of every statement; nullopt where it cannot be read.
  std::optional<TPMS_ATTEST> statement(const std::string& what, const Statement& given,
                                       TPMI_ST_ATTEST type) {
    constexpr std::array<std::uint8_t, 4> kGenerated = {0xff, 0x54, 0x43, 0x47};
    const ByteView bytes = given.attest;
    const bool is_generated =
        bytes.size() > 4 && std::ranges::equal(bytes.first(kGenerated.size()), kGenerated);
    add(what + ": TPM_GENERATED", is_generated,
        is_generated ? "it begins with ff544347"
                     : "it does not begin with ff544347: no TPM said it, somebody had it signed");
    signature(what, given);
    Bytes readable = given.attest;  // tpm2-tss 4 reads nothing that begins in another way
    if (readable.size() > kGenerated.size()) std::ranges::copy(kGenerated, readable.begin());
    const std::optional<TPMS_ATTEST> attest = unmarshal_attest(readable);
    const bool is_type = attest && attest->type == type;
    add(what + ": type", is_type,
        is_type  ? type_text(type)
        : attest ? type_text(attest->type) + ", and " + type_text(type) + " is wanted"
                 : "it is no TPMS_ATTEST");
    if (!attest) return std::nullopt;
    if (expected_.nonce) {
      const bool is_fresh = is_same(view(attest->extraData), *expected_.nonce);
      add(what + ": nonce", is_fresh,
          is_fresh ? "extraData is the nonce"
                   : "extraData is " + core::to_hex(view(attest->extraData)) + ", and " +
                         core::to_hex(*expected_.nonce) +
                         " is wanted: it is old, or was made for somebody else");
    }
    return is_type && is_generated ? attest : std::nullopt;
  }

  void signature(const std::string& what, const Statement& given) {
    std::string fault;
    try {
      fault = fault_of_signature(given);
    } catch (const core::Error& error) {
      fault = error.what();
    }
    judge(what + ": signature", fault, "it is the AK's");
  }

  tpm2::KeyTraits ak_traits() const {
    if (ak_.area) return tpm2::key_traits(*ak_.area);
    tpm2::KeyTraits traits;
    traits.algorithm = ak_.key->algorithm();
    traits.bits = ak_.key->bits();
    return traits;
  }

  // As a TPM makes it, or plain, as others write it (`tpm2_certify -f plain`, the sample of the
  // draft for requests): then it is by the AK's scheme, or where only a certificate speaks for the
  // AK by TCG's template for keys of that size.
  std::optional<TPMT_SIGNATURE> read_signature(ByteView bytes) const {
    std::optional<TPMT_SIGNATURE> signature = unmarshal_signature(bytes);
    if (signature || !ak_.key) return signature;
    const tpm2::KeyTraits traits = ak_traits();
    const bool is_ec = traits.algorithm == core::Algorithm::kEc;
    TPMT_PUBLIC signer{};
    signer.type = is_ec ? TPM2_ALG_ECC : TPM2_ALG_RSA;
    if (!is_ec) signer.parameters.rsaDetail.keyBits = static_cast<TPMI_RSA_KEY_BITS>(traits.bits);
    signer.nameAlg = is_ec && traits.bits > 256 ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256;
    if (ak_.area) signer.nameAlg = traits.scheme_hash;
    signature = tpm2::parse_signature(signer, bytes);
    if (signature && ak_.area) signature->sigAlg = traits.scheme;  // RSASSA and PSS look the same
    return signature;
  }

  std::string fault_of_signature(const Statement& given) {
    if (!ak_.key) return "there is no AK to verify it with";
    const std::optional<TPMT_SIGNATURE> signature = read_signature(given.signature);
    const std::optional<TPMI_ALG_HASH> hash = signature ? hash_of(*signature) : std::nullopt;
    if (!hash) return "it is no RSA or ECDSA TPMT_SIGNATURE";
    if (tpm2::hash_size(*hash) < tpm2::hash_size(TPM2_ALG_SHA256))
      return "it is by " + tpm2::algorithm_text(*hash) + ", which is too weak";
    const tpm2::KeyTraits traits = ak_traits();
    if (ak_.area && (signature->sigAlg != traits.scheme || *hash != traits.scheme_hash))
      return "it is by another scheme than the AK's";
    Bytes value;
    try {
      value = tpm2::signature_bytes(*signature, traits);
    } catch (const core::Error&) {  // which speaks of a TPM that was asked
      return "it is one by " + tpm2::algorithm_text(signature->sigAlg) +
             ", of another kind or size than the AK makes";
    }
    const core::Digest digest = tpm2::digest_of(*hash);
    const Bytes hashed = tpm2::SessionCrypto(crypto_, *hash).hash({given.attest});
    for (const SignScheme& scheme : schemes(*signature, digest, traits.bits)) {
      if (core::verifies(crypto_, *ak_.key, scheme, hashed, value)) return {};
    }
    return "the AK did not make it: it was changed, or another key signed";
  }

  static std::vector<SignScheme> schemes(const TPMT_SIGNATURE& signature, core::Digest digest,
                                         std::size_t bits) {
    if (signature.sigAlg == TPM2_ALG_ECDSA) return {{SignScheme::Kind::kEcdsa, digest}};
    if (signature.sigAlg == TPM2_ALG_RSASSA) return {{SignScheme::Kind::kRsaPkcs1, digest}};
    std::vector<SignScheme> all;
    for (const tpm2::PssSalt salt : {tpm2::PssSalt::kDigestSize, tpm2::PssSalt::kLargest})
      all.push_back(
          {SignScheme::Kind::kRsaPss, digest, digest, tpm2::pss_salt_size(salt, digest, bits)});
    return all;
  }

  // --- about a key

  void key() {
    if (!evidence_.key || !evidence_.certify) {
      if (expected_.needs_key || expected_.certified != nullptr || evidence_.key)
        add("key", false,
            "no key was proven: the evidence has no certification of one (TPM2_Certify)");
      return;
    }
    const TPMT_PUBLIC& area = evidence_.key->publicArea;
    try {
      result_.key_name = tpm2::object_name(crypto_, area);
      result_.key = tpm2::public_key(crypto_, area);
    } catch (const core::Error& error) {
      add("key", false, error.what());
      return;
    }
    const std::optional<TPMS_ATTEST> attest =
        statement("certify", *evidence_.certify, TPM2_ST_ATTEST_CERTIFY);
    const bool is_name = attest && is_same(view(attest->attested.certify.name), result_.key_name);
    add("certify: name", is_name,
        is_name  ? "the hash of the key's public area"
        : attest ? "it names " + core::to_hex(view(attest->attested.certify.name)) +
                       ", and the public area is that of " + core::to_hex(result_.key_name) +
                       ": it is about another key"
                 : "there is none");
    judge("key attributes", fault_of_area(area, kStays, 0),
          "fixedTPM, fixedParent, sensitiveDataOrigin");
    strength("key strength", *result_.key);
    if (expected_.certified != nullptr) {
      const std::string difference = key_difference(expected_.certified, result_.key->pkey());
      const bool is_it = difference.empty();
      add("certificate's key", is_it,
          is_it ? "it is the attested one"
                : "it is another key than the attested one: " + difference);
    }
    creation();
  }

  void creation() {
    if (!evidence_.creation) return;
    const std::optional<TPMS_ATTEST> attest =
        statement("creation", *evidence_.creation, TPM2_ST_ATTEST_CREATION);
    if (!attest) return;
    const TPMS_CREATION_INFO& info = attest->attested.creation;
    const bool is_name = is_same(view(info.objectName), result_.key_name);
    add("creation: name", is_name,
        is_name ? "the hash of the key's public area" : "it is about another key");
    const Bytes hashed = tpm2::SessionCrypto(crypto_, evidence_.key->publicArea.nameAlg)
                             .hash({evidence_.creation_data});
    const bool is_data = is_same(view(info.creationHash), hashed);
    add("creation: data", is_data,
        is_data ? "the creation data are what was hashed"
                : "the creation data are not what the TPM hashed");
  }

  // --- about the machine

  void quote() {
    if (!evidence_.quote) {
      if (!expected_.pcrs.empty())
        add("quote", false, "the evidence has none, and values of PCRs are expected");
      else if (!expected_.needs_key && !evidence_.key)
        add("quote", false, "the evidence has none, and no key either");
      return;
    }
    const std::optional<TPMS_ATTEST> attest =
        statement("quote", *evidence_.quote, TPM2_ST_ATTEST_QUOTE);
    if (!attest) return;
    const TPMS_QUOTE_INFO& info = attest->attested.quote;
    pcr_digest(info);
    pcr_values();
  }

  // The values are in the order in which the TPM hashed them, or they are other values.
  void pcr_digest(const TPMS_QUOTE_INFO& info) {
    std::vector<std::pair<TPMI_ALG_HASH, unsigned>> selected;
    tpm2::each_pcr(info.pcrSelect,
                   [&](TPMI_ALG_HASH bank, unsigned pcr) { selected.emplace_back(bank, pcr); });
    const bool same_pcrs = std::ranges::equal(
        selected, evidence_.pcrs, {}, {},
        [](const tpm2::PcrValue& value) { return std::pair(value.bank, value.pcr); });
    add("quote: PCRs", same_pcrs,
        same_pcrs ? tpm2::pcrs_text(info.pcrSelect)
                  : "the quote is of " + tpm2::pcrs_text(info.pcrSelect) +
                        ", and the values are of others");
    // By the hash of the signature's scheme (Part 2, 10.12.1).
    const std::optional<TPMT_SIGNATURE> signature = read_signature(evidence_.quote->signature);
    const std::optional<TPMI_ALG_HASH> hash = signature ? hash_of(*signature) : std::nullopt;
    const bool can_hash = hash && tpm2::digest_of(*hash) != core::Digest::kOther;
    const bool is_digest =
        can_hash && is_same(view(info.pcrDigest), tpm2::pcr_digest(crypto_, *hash, evidence_.pcrs));
    add("quote: PCR digest", is_digest,
        is_digest ? "the values are what the TPM quoted"
                  : "the values are not what the TPM quoted");
  }

  void pcr_values() {
    for (const tpm2::PcrValue& wanted : expected_.pcrs) {
      const auto it = std::ranges::find_if(evidence_.pcrs, [&](const tpm2::PcrValue& value) {
        return value.bank == wanted.bank && value.pcr == wanted.pcr;
      });
      const bool is_there = it != evidence_.pcrs.end();
      const bool good = is_there && it->value == wanted.value;
      std::string detail = "it is as expected";
      if (!is_there) detail = "the quote has no such PCR";
      if (is_there && !good)
        detail = "it is " + core::to_hex(it->value) + ", and " + core::to_hex(wanted.value) +
                 " is expected";
      add("PCR " + std::to_string(wanted.pcr) + " of bank " + tpm2::bank_text(wanted.bank), good,
          detail);
    }
  }

  const Libcrypto& crypto_;
  const Evidence& evidence_;
  const Expectation& expected_;
  Ak ak_;
  Verification result_;
};

}  // namespace

bool Verification::good() const noexcept {
  return !checks.empty() && std::ranges::all_of(checks, &Check::good);
}

std::string Verification::fault() const {
  const auto bad = std::ranges::find(checks, false, &Check::good);
  return bad == checks.end() ? "" : bad->name + ": " + bad->detail;
}

Verification verify(const Libcrypto& crypto, const Evidence& evidence,
                    const Expectation& expected) {
  return Verifier(crypto, evidence, expected).run();
}

std::string fault_of_ak(const TPMT_PUBLIC& area) {
  std::string fault = fault_of_area(
      area, kStays | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT, TPMA_OBJECT_DECRYPT);
  if (!fault.empty()) return fault;
  const bool is_rsa = area.type == TPM2_ALG_RSA;
  const TPMI_ALG_HASH hash = is_rsa ? area.parameters.rsaDetail.scheme.details.anySig.hashAlg
                                    : area.parameters.eccDetail.scheme.details.anySig.hashAlg;
  if (tpm2::hash_size(hash) >= tpm2::hash_size(TPM2_ALG_SHA256)) return {};
  return "it signs by " + tpm2::algorithm_text(hash) + ", weaker than SHA-256";
}

std::string fault_of_ak_certificate(const Libcrypto& crypto, const EVP_PKEY* certified,
                                    const TPMT_PUBLIC& ak) {
  if (certified == nullptr) return "OpenSSL does not read the certificate's key";
  try {
    const std::string difference = key_difference(certified, tpm2::public_key(crypto, ak).pkey());
    if (difference.empty()) return {};
    return "the certificate is another key's (" + difference +
           "): the AK was swapped, or the file is mixed up";
  } catch (const core::Error& error) {
    return error.what();
  }
}

std::string fault_of_ek(const TPMT_PUBLIC& area) {
  return fault_of_area(area, kStays | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
                       TPMA_OBJECT_SIGN_ENCRYPT);
}

std::string key_difference(const EVP_PKEY* found, const EVP_PKEY* wanted) {
  constexpr int kSame = 1;
  constexpr int kOtherValues = 0;  // below: other types, or such as OpenSSL cannot compare
  const core::ErrorMark mark;
  const int result = EVP_PKEY_eq(found, wanted);
  if (result == kSame) return {};
  const auto type_of = [](const EVP_PKEY* key) {
    const char* const name = EVP_PKEY_get0_type_name(key);
    return std::string(name != nullptr ? name : "unknown");
  };
  if (result == kOtherValues || type_of(found) == type_of(wanted)) return "their values differ";
  return "their types differ, " + type_of(found) + ", and " + type_of(wanted) + " is wanted";
}

std::string weakness_of(EVP_PKEY* key) {
  constexpr int kLeast = 112;
  const int bits = EVP_PKEY_get_security_bits(key);
  if (bits >= kLeast) return {};
  return "it has " + std::to_string(bits) + " bits of security, and " + std::to_string(kLeast) +
         " are wanted (RSA of 2048 bits)";
}

}  // namespace hwid::attest
