// hwid attest challenge: a secret that only one TPM gives out, and only with one AK in it.
#include "tools/attest/challenge.h"

#include <unistd.h>

#include <chrono>
#include <ctime>

#include "provider/core/error.h"
#include "tools/attest/checks.h"
#include "tools/hwid/attest/trusted.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/time_words.h"
#include "transport/certificate_text.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

constexpr std::chrono::seconds kDefaultLifetime{3600};
constexpr std::chrono::seconds kMostLifetime{30L * 24 * 3600};

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("ek-ca", po::value<std::string>()->value_name("DIR")->required(),
      "certificates of the TPM makers' CAs, roots and intermediates: a directory, or a file");
  add("state", po::value<std::string>()->value_name("FILE")->required(),
      "a new file, for `hwid attest accept`: keep it to yourself");
  add("lifetime", po::value<std::string>()->value_name("DURATION"),
      "how long an answer is waited for: 15m, 2h, 3d (default: 1h)");
  add("tools", po::bool_switch(),
      "write the challenge as tpm2_makecredential does, for tpm2_activatecredential");
  add_delivery_options(options);
}

std::time_t expiry_of(const Invocation& invocation) {
  const std::string text = invocation.text("lifetime");
  const auto lifetime = text.empty() ? kDefaultLifetime : parse_duration("lifetime", text);
  if (lifetime.count() < 1 || lifetime > kMostLifetime)
    throw UsageError("--lifetime " + text + ": 1s to 30d are possible");
  return std::time(nullptr) + lifetime.count();
}

Exit run(Invocation& invocation) {
  const std::string& file = invocation.arguments()[0];
  const std::string state = invocation.text("state");
  const std::time_t expires = expiry_of(invocation);
  check_delivery(invocation, {file, state});
  outlive_reader();
  require_writable(state, Existing::kRefuse);
  const attest::Request request = attest::parse_request(read_file(file), file);
  const attest::Anchors anchors = attestation::anchors_at(invocation, invocation.text("ek-ca"));
  const core::Libcrypto& crypto = invocation.software();
  const std::string fault = attest::fault_of(crypto, request, anchors);
  if (!fault.empty())
    throw Error(Reason::kUnsupported,
                "request=" + file + ": " + fault + "; no challenge is made for it");
  const attest::Made made = attest::make_challenge(crypto, request, expires);
  write_file(state, attest::to_text(made.pending), 0600, Existing::kRefuse);
  Product product;
  product.key = "challenge";
  product.title = "Challenge";
  product.binary = invocation.flag("tools");
  if (product.binary) {
    const core::Bytes bytes = tpm2::tools_credential(made.challenge.credential);
    product.content.assign(bytes.begin(), bytes.end());
  } else {
    product.content = attest::to_text(made.challenge);
  }
  product.facts = {{"ak", core::to_hex(made.challenge.ak_name)},
                   {"expires", transport::utc_text(expires)},
                   {"state", state}};
  try {
    deliver(invocation, product);
  } catch (...) {  // a state without its challenge would only be in the way of the next one
    ::unlink(state.c_str());
    throw;
  }
  return kGood;
}

}  // namespace

const Command kAttestChallenge = {
    "attest challenge",
    "REQUEST --ek-ca DIR --state FILE [OPTION...]",
    "verifier: ask a TPM to prove that an AK is in it",
    "Checks what `hwid attest request` wrote: that a TPM maker certified the endorsement key (EK), "
    "and\n"
    "that the attestation key (AK) signs nothing but what a TPM says. Then makes a secret that "
    "only "
    "the\n"
    "TPM of this EK can open, and that it gives out only where this AK is in it. Needs no TPM.",
    "  hwid attest challenge request.json --ek-ca /etc/hwid/tpm-makers --state state.json \\\n"
    "      --out challenge.json\n",
    1,
    1,
    add_options,
    run,
    false};

}  // namespace hwid::tool
