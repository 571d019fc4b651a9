#include "tools/hwid/attest/device.h"

#include "provider/core/error.h"
#include "tools/attest/checks.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool::attestation {

using core::Bytes;
using core::Error;
using core::Reason;

TpmKey open_tpm_key(Invocation& invocation, const std::string& source, const char* pin_option) {
  const core::Object found = open_in_device(invocation, source, pin_option);
  if (dynamic_cast<const tpm2::Key*>(found.key.get()) == nullptr)
    throw Error(Reason::kUnsupported,
                source +
                    ": the key is in a PKCS#11 token, and only a TPM attests; name a key of "
                    "the TPM (tpm2:handle=..., or its file)");
  return {found.key};
}

void add_ak_option(po::options_description& options) {
  options.add_options()("ak", po::value<std::string>()->value_name("URI")->required(),
                        "the attestation key: tpm2:handle=0x81010002, its file, or hwid://NAME");
}

std::string ak_source(const Invocation& invocation) {
  std::string source = invocation.text("ak");
  if (source.empty()) throw UsageError("--ak: name the attestation key");
  return source;
}

Bytes parse_nonce(const std::string& text) {
  // Of fewer, evidence for all of them could be made while somebody has the device, and the right
  // one shown later.
  constexpr std::size_t kLeast = 8;
  constexpr std::size_t kMost = 64;  // TPM2B_DATA of a TPM that has SHA-512; others take less
  std::optional<Bytes> nonce = tpm2::parse_hex(text);
  if (!nonce || nonce->empty())
    throw UsageError(
        "--nonce: hexadecimal digits are expected, as `openssl rand -hex 16` makes them");
  if (nonce->size() < kLeast)
    throw UsageError("--nonce: it has " + std::to_string(nonce->size()) +
                     (nonce->size() == 1 ? " byte" : " bytes") + ", and at least " +
                     std::to_string(kLeast) +
                     " are needed, as evidence for all shorter ones could be made beforehand; take "
                     "`openssl rand -hex 16`");
  if (nonce->size() > kMost)
    throw UsageError("--nonce: it has " + std::to_string(nonce->size()) +
                     " bytes, and a TPM takes " + std::to_string(kMost) +
                     " at most (32, if it has no SHA-512); take fewer, as `openssl rand -hex 16`");
  return *std::move(nonce);
}

Bytes nonce_of(const Invocation& invocation) { return parse_nonce(invocation.text("nonce")); }

Bytes certificate_in(Invocation& invocation, const std::string& file) {
  const std::string der = x509::der(
      x509::parse_certificates(read_file(file), file, invocation.software().get()).front().get());
  return {core::as_bytes(der).begin(), core::as_bytes(der).end()};
}

namespace {

attest::Statement statement_of(const tpm2::Attested& attested) {
  return {attested.attest, attest::marshal_signature(attested.signature)};
}

// PCRs may change between the quote and the reading of them: then both are done once more.
void add_quote(const core::Libcrypto& crypto, const tpm2::Attester& attester, const Wish& wish,
               attest::Evidence& evidence) {
  constexpr int kMostTries = 3;
  for (int tries = 0; tries < kMostTries; ++tries) {
    const tpm2::Attested quoted = attester.quote(wish.pcrs, wish.nonce);
    evidence.quote = statement_of(quoted);
    evidence.pcrs = attester.pcr_values(wish.pcrs);
    const std::optional<TPMS_ATTEST> attest = attest::unmarshal_attest(quoted.attest);
    if (!attest || attest->type != TPM2_ST_ATTEST_QUOTE) return;  // the verification says it
    const TPM2B_DIGEST& digest = attest->attested.quote.pcrDigest;
    const Bytes read =
        tpm2::pcr_digest(crypto, quoted.signature.signature.any.hashAlg, evidence.pcrs);
    if (std::ranges::equal(read, std::span(digest.buffer, digest.size))) return;
  }
}

// No verifier believes evidence about such a key.
void require_strong(const core::Key& key) {
  const std::string weakness = attest::weakness_of(key.public_key().pkey());
  if (weakness.empty()) return;
  const core::KeyDescription& description = key.description();
  throw Error(
      Reason::kUnsupported,
      "TPM2_Certify: " + (description.uri.empty() ? core::name_of(description) : description.uri) +
          ": " + weakness + ", so evidence about it holds nowhere; make a stronger key");
}

}  // namespace

attest::Evidence make_evidence(Invocation& invocation, const tpm2::Key& ak, const Wish& wish) {
  const core::Libcrypto& crypto = invocation.software();
  const tpm2::Attester attester(ak);
  if (wish.key != nullptr) require_strong(*wish.key);
  attest::Evidence evidence;
  evidence.ak = tpm2::Attester::public_area(ak);
  evidence.ak_certificate = wish.ak_certificate;
  if (wish.key != nullptr) {
    evidence.key = tpm2::Attester::public_area(*wish.key);
    evidence.certify = statement_of(attester.certify(*wish.key, wish.nonce));
    if (wish.creation) {
      const tpm2::CreationProof proof{wish.creation->data, wish.creation->hash,
                                      wish.creation->ticket};
      evidence.creation = statement_of(attester.certify_creation(*wish.key, proof, wish.nonce));
      evidence.creation_data = wish.creation->data;
    }
  }
  if (tpm2::selected_pcrs(wish.pcrs) != 0) add_quote(crypto, attester, wish, evidence);
  attest::Expectation expected;
  expected.nonce = wish.nonce;
  expected.ak = evidence.ak;
  expected.needs_key = wish.key != nullptr;
  const std::string fault = attest::verify(crypto, evidence, expected).fault();
  if (!fault.empty())
    throw Error(Reason::kKeyChanged,
                "attestation: what the TPM made does not hold: " + fault +
                    "; see that the key is fixed to the TPM, and that no other program loads keys "
                    "at its handle (use a resource manager)");
  return evidence;
}

}  // namespace hwid::tool::attestation
