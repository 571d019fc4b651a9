// hwid attest evidence: what the TPM says of a key and of the machine, for somebody else.
#include "tools/attest/evidence.h"

#include "provider/core/error.h"
#include "tools/attest/checks.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/attest/endorsement.h"
#include "tools/hwid/attest/trusted.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"

namespace hwid::tool {
namespace {

void add_options(po::options_description& options) {
  attestation::add_ak_option(options);
  attestation::add_nonce_option(options,
                                "what the verifier chose, such as 16 bytes, in hexadecimal digits");
  auto add = options.add_options();
  add("pcrs", po::value<std::string>()->value_name("PCRS"),
      "and a quote over these PCRs: sha256:0,7");
  add("creation", po::value<std::string>()->value_name("FILE"),
      "and that the key was made in the TPM: what `hwid generate --creation` wrote");
  add("ak-cert", po::value<std::string>()->value_name("FILE"),
      "the AK's certificate, to go with the evidence");
  attestation::add_ek_option(options, "whose certificate goes with the evidence");
  attestation::add_ek_certificate_option(options);
  add("ak-pin-source", po::value<std::string>()->value_name("SOURCE"),
      "where the AK's auth value is, as --pin-source");
  add_delivery_options(options);
}

TPML_PCR_SELECTION pcrs_of(const Invocation& invocation) {
  if (!invocation.has("pcrs")) return {};
  const std::optional<tpm2::WrittenPcrs> written = tpm2::parse_pcrs(invocation.text("pcrs"));
  if (!written || !written->values.empty())
    throw UsageError("--pcrs: PCRs are expected as sha256:0,7 or sha256:0+sha1:4");
  return written->selection;
}

void require_certificate_of(Invocation& invocation, const tpm2::Key& ak,
                            const core::Bytes& certificate) {
  const core::Libcrypto& crypto = invocation.software();
  const core::Certificate given = core::parse_certificate(crypto, certificate);
  const std::string fault =
      given ? attest::fault_of_ak_certificate(crypto, X509_get0_pubkey(given.get()),
                                              tpm2::Attester::public_area(ak).publicArea)
            : "it is damaged";
  if (fault.empty()) return;
  throw core::Error(core::Reason::kUnsupported,
                    "certificate=" + invocation.text("ak-cert") + ": " + fault +
                        "; give the one that was made for this AK, as `hwid attest accept --ca` "
                        "does");
}

Exit run(Invocation& invocation) {
  attestation::Wish wish;
  if (!invocation.has("nonce"))
    throw UsageError("--nonce HEX is missing: the verifier says it, so that old evidence is none");
  wish.nonce = attestation::nonce_of(invocation);
  wish.pcrs = pcrs_of(invocation);
  const bool has_key = !invocation.arguments().empty();
  if (!has_key && (tpm2::selected_pcrs(wish.pcrs) == 0 || invocation.has("creation")))
    throw UsageError("name the key that the evidence is about (or --pcrs alone, for a quote)");
  if (invocation.has("ek") && invocation.has("ek-cert"))
    throw UsageError("--ek and --ek-cert: give one of them");
  check_delivery(invocation);
  if (invocation.has("creation")) {
    const std::string file = invocation.text("creation");
    wish.creation = attest::parse_creation(read_file(file), file);
  }
  if (invocation.has("ak-cert"))
    wish.ak_certificate = attestation::certificate_in(invocation, invocation.text("ak-cert"));
  const core::Bytes given = attestation::given_ek_certificate(invocation);
  const attestation::TpmKey ak =
      attestation::open_tpm_key(invocation, attestation::ak_source(invocation), "ak-pin-source");
  if (!wish.ak_certificate.empty())
    require_certificate_of(invocation, ak.key(), wish.ak_certificate);
  attestation::TpmKey key;
  if (has_key) {
    key = attestation::open_tpm_key(invocation, invocation.arguments()[0]);
    wish.key = &key.key();
  }
  attest::Evidence evidence = attestation::make_evidence(invocation, ak.key(), wish);
  evidence.ek_certificate =
      given.empty() ? attestation::ek_certificate_of(invocation, ak.key()) : given;
  const core::Libcrypto& crypto = invocation.software();
  Product product;
  product.key = "evidence";
  product.title = "Evidence";
  product.content = attest::to_text(evidence);
  product.facts = {
      {"key", has_key ? core::to_hex(tpm2::object_name(crypto, evidence.key->publicArea)) : ""},
      {"ak", core::to_hex(tpm2::object_name(crypto, evidence.ak->publicArea))},
      {"creation", evidence.creation ? "certified" : ""},
      {"pcrs", tpm2::values_text(evidence.pcrs)},
      {"nonce", core::to_hex(wish.nonce)}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kAttestEvidence = {
    "attest evidence",
    "[URI] --ak URI --nonce HEX [OPTION...]",
    "device: evidence that a key is in this TPM",
    "Has the attestation key (AK) certify the key that URI names: that it is in the same TPM, and "
    "with\n"
    "which attributes (TPM2_Certify); with --creation, that it was made there "
    "(TPM2_CertifyCreation);\n"
    "with --pcrs, which values PCRs have (TPM2_Quote). What is written was verified as `hwid "
    "verify-\n"
    "attestation` does. It holds no secret.",
    "  hwid attest evidence hwid:device --ak tpm2:handle=0x81010002 \\\n"
    "      --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613 --pcrs sha256:0,7 --out evidence.json\n"
    "  hwid attest evidence device.tss2.pem --ak ak.tss2.pem \\\n"
    "      --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613 --creation creation.json\n",
    0,
    1,
    add_options,
    run};

}  // namespace hwid::tool
