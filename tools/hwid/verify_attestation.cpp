// hwid verify-attestation: whether evidence holds, on any machine.
#include "provider/core/error.h"
#include "tools/attest/checks.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/attest/trusted.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool {
namespace {

void add_options(po::options_description& options) {
  attestation::add_nonce_option(options,
                                "what the evidence was asked with, 8 bytes or more; evidence "
                                "with another is old");
  attestation::add_trust_options(options);
  auto add = options.add_options();
  add("ek-ca", po::value<std::string>()->value_name("DIR"),
      "also: the EK certificate in it must be the one that the AK was accepted beside, and by one "
      "of these makers");
  add("ek-cert", po::value<std::string>()->value_name("FILE"),
      "also: it must be this TPM: the AK was accepted beside this EK certificate");
  add("cert", po::value<std::string>()->value_name("FILE"),
      "also: the attested key must be the key of this certificate");
  add("quote-only", po::bool_switch(), "a quote is enough: the evidence need not be about a key");
  add("pcrs", po::value<std::string>()->value_name("VALUES"),
      "also: the quoted PCRs must have these values: 'sha256:0=HEX sha256:7=HEX'");
}

std::vector<tpm2::PcrValue> expected_pcrs(const Invocation& invocation) {
  if (!invocation.has("pcrs")) return {};
  std::optional<tpm2::WrittenPcrs> written = tpm2::parse_pcrs(invocation.text("pcrs"));
  if (!written || written->values.empty())
    throw UsageError("--pcrs: values are expected as 'sha256:0=HEX sha256:7=HEX'");
  return std::move(written->values);
}

void print(Output& out, const attest::Verification& found, const attestation::Trust& trust) {
  out.heading("Attestation");
  if (found.key) {
    out.field("key", algorithm_text(found.key->pkey()));
    out.field("key's name", core::to_hex(found.key_name));
  }
  if (!found.ak.empty()) out.field("attested by", found.ak);
  if (!trust.text.empty()) out.field("believed", trust.text);
  if (!found.ek_digest.empty())
    out.field("accepted beside", "EK certificate, SHA-256 " + core::to_hex(found.ek_digest));
  out.line();
  for (const attest::Check& check : found.checks)
    out.line(
        "  " +
        out.coloured(check.good ? Colour::kGreen : Colour::kRed, check.good ? "good" : "BAD ") +
        "  " + printable(check.name) + ": " + printable(check.detail));
  out.line();
  const char* const holds =
      found.key ? "The evidence holds." : "The quote holds. No key was proven.";
  out.line(found.good() ? holds : "The evidence does not hold.");
}

Json to_json(const attest::Verification& found) {
  Json checks = Json::array();
  for (const attest::Check& check : found.checks)
    checks.push_back({{"check", check.name}, {"good", check.good}, {"detail", check.detail}});
  return {{"good", found.good()},
          {"key", found.key ? Json(public_key_pem(found.key->pkey())) : Json()},
          {"key_name", found.key_name.empty() ? Json() : Json(core::to_hex(found.key_name))},
          {"ak", found.ak.empty() ? Json() : Json(found.ak)},
          {"ek_sha256", found.ek_digest.empty() ? Json() : Json(core::to_hex(found.ek_digest))},
          {"checks", checks}};
}

Exit run(Invocation& invocation) {
  const std::string& file = invocation.arguments()[0];
  if (!invocation.has("nonce"))
    throw UsageError("--nonce HEX is missing: what the evidence was asked with");
  attestation::Trust trust(invocation);
  trust.expected.nonce = attestation::nonce_of(invocation);
  trust.expected.pcrs = expected_pcrs(invocation);
  trust.expected.needs_key = !invocation.flag("quote-only");
  if (!trust.expected.needs_key && invocation.has("cert"))
    throw UsageError("--quote-only and --cert: a certificate is for a key; give one of them");
  std::optional<attest::Anchors> makers;
  if (invocation.has("ek-ca")) {
    makers = attestation::anchors_at(invocation, invocation.text("ek-ca"));
    trust.expected.ek_anchors = &*makers;
  }
  if (invocation.has("ek-cert"))
    trust.expected.wanted_ek = attestation::certificate_in(invocation, invocation.text("ek-cert"));
  std::vector<x509::Certificate> given;
  if (invocation.has("cert")) {
    const std::string path = invocation.text("cert");
    given = x509::parse_certificates(read_file(path), path, invocation.software().get());
    trust.expected.certified = X509_get0_pubkey(given.front().get());
    if (trust.expected.certified == nullptr)
      throw_crypto_error("X509_get0_pubkey: file=" + path, "give another certificate");
  }
  attest::Evidence evidence = attest::parse_evidence(read_file(file), file);
  if (!trust.ak_certificate.empty()) evidence.ak_certificate = trust.ak_certificate;
  const attest::Verification found =
      attest::verify(invocation.software(), evidence, trust.expected);
  Output& out = invocation.out();
  if (!out.json()) print(out, found, trust);
  out.document(to_json(found));
  if (!found.good())
    Output::note("hwid verify-attestation: evidence=" + file + ": " + found.fault() +
                 (evidence.quote && !evidence.key && trust.expected.needs_key
                      ? "; a quote alone is enough with --quote-only"
                      : ""));
  return found.good() ? kGood : kAnswerIsNo;
}

}  // namespace

const Command kVerifyAttestation = {
    "verify-attestation",
    "FILE --nonce HEX (--trusted-ak FILE | --ak-ca DIR) [OPTION...]",
    "check evidence that a key is in a TPM, on any machine",
    "Checks what `hwid attest evidence` wrote: that a TPM said it (TPM_GENERATED), signed by an "
    "attestation\n"
    "key (AK) that is believed and signs nothing else, with this nonce; that it names this key, "
    "and "
    "the key\n"
    "can leave its TPM in no way (fixedTPM, fixedParent) and was made in it (sensitiveDataOrigin); "
    "that the\n"
    "PCRs' values are those that were quoted. Each check is shown; one that fails makes the exit "
    "code 1,\n"
    "and so does evidence that is about no key, unless --quote-only says that this is enough.\n"
    "An EK certificate alone proves nothing of the AK: `hwid attest` is the way from one to the "
    "other.",
    "  hwid verify-attestation evidence.json --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613 \\\n"
    "      --trusted-ak ak.json\n"
    "  hwid verify-attestation evidence.json --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613 \\\n"
    "      --ak-ca ~/.local/share/hwid/ca --cert device.pem --pcrs sha256:7=65CAF8DD...\n",
    1,
    1,
    add_options,
    run,
    false};

}  // namespace hwid::tool
