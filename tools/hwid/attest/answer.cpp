// hwid attest answer: the TPM gives out what was made for it.
#include "provider/core/error.h"
#include "tools/attest/challenge.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/attest/endorsement.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

void add_options(po::options_description& options) {
  attestation::add_ak_option(options);
  attestation::add_endorsement_options(
      options, "the one that the challenge names, else the one that has a certificate");
  add_delivery_options(options);
}

Exit run(Invocation& invocation) {
  const std::string& file = invocation.arguments()[0];
  check_delivery(invocation, {file});
  const attest::Challenge challenge = attest::parse_challenge(read_file(file), file);
  const attestation::TpmKey ak =
      attestation::open_tpm_key(invocation, attestation::ak_source(invocation));
  const core::Bytes name =
      tpm2::object_name(invocation.software(), tpm2::Attester::public_area(ak.key()).publicArea);
  if (!challenge.ak_name.empty() && challenge.ak_name != name)
    throw Error(Reason::kUnsupported, "challenge=" + file + ": it was made for the AK " +
                                          core::to_hex(challenge.ak_name) + ", and this one is " +
                                          core::to_hex(name) +
                                          "; name the AK of the request, or make a new request");
  const attestation::Endorsement endorsement(invocation, ak.key(), challenge.ek_name);
  attest::Answer answer{challenge.id, name, endorsement.activate(ak.key(), challenge.credential)};
  Product product;
  product.key = "answer";
  product.title = "Answer";
  product.mode = 0600;
  product.content = attest::to_text(answer);
  const core::Cleansed guard(product.content);
  product.facts = {{"ak", core::to_hex(name)}, {"ek", endorsement.text()}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kAttestAnswer = {
    "attest answer",
    "CHALLENGE --ak URI [OPTION...]",
    "device: the TPM's answer to a challenge",
    "Has the TPM open what `hwid attest challenge` (or tpm2_makecredential) made for its "
    "endorsement key\n"
    "and this attestation key: TPM2_ActivateCredential. Another TPM, or another AK, cannot.",
    "  hwid attest answer challenge.json --ak tpm2:handle=0x81010002 --out answer.json\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
