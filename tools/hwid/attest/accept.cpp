// hwid attest accept: the AK is believed from now on.
#include <ctime>

#include "provider/core/error.h"
#include "tools/attest/challenge.h"
#include "tools/attest/checks.h"
#include "tools/attest/evidence.h"
#include "tools/hwid/attest/claimed_state.h"
#include "tools/hwid/ca/issue.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

constexpr long kDefaultDays = 365;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("state", po::value<std::string>()->value_name("FILE")->required(),
      "what `hwid attest challenge` kept; it is removed once the AK is accepted");
  add("ca", po::bool_switch(), "certify the AK by `hwid ca`, and print the certificate");
  ca::add_directory_option(options);
  add("subject", po::value<std::string>()->value_name("NAME"),
      "of that certificate (default: CN=AK and the beginning of its name)");
  add("days", po::value<long>()->value_name("N"), "how long it is good (default: 365)");
  add_delivery_options(options);
}

x509::Name subject_for(const Invocation& invocation, const core::Bytes& name) {
  constexpr std::size_t kDigits = 16;
  return x509::parse_subject(invocation.has("subject")
                                 ? invocation.text("subject")
                                 : "CN=AK " + core::to_hex(name).substr(4, kDigits));
}

void require_ca_options(const Invocation& invocation) {
  if (invocation.flag("ca")) return;
  for (const char* const option : {"dir", "subject", "days"}) {
    if (invocation.has(option))
      throw UsageError(std::string("--") + option + " is for a certificate; give --ca as well");
  }
}

struct Certified {
  std::string pem;
  std::string file;  // of the CA's
};

// `ek`: SHA-256 of the EK's certificate, so that who believes the CA knows which TPM it is.
Certified certify(Invocation& invocation, const attest::Pending& pending, const core::Bytes& name,
                  const core::Bytes& ek) {
  const core::PublicKey key = tpm2::public_key(invocation.software(), pending.ak.publicArea);
  const std::string fault = ca::fault_of_key(key.pkey());
  if (!fault.empty()) throw Error(Reason::kUnsupported, "AK: " + fault + "; make another AK");
  const x509::Name subject = subject_for(invocation, name);
  const long days = x509::parse_days(invocation.value<long>("days").value_or(kDefaultDays));
  ca::Authority authority(invocation);
  const ca::Order order{subject.get(), key.pkey(), days, "the AK"};
  const x509::Certificate certificate =
      ca::issue(authority, order, invocation.crypto(), [&](x509::Extensions& extensions) {
        extensions.add_attestation_usage();
        extensions.add_other(attest::kAkEkOid, attest::ek_digest_value(ek));
      });
  const std::string serial = ca::record(authority, certificate.get());
  return {x509::pem(certificate.get()), authority.path("certs/" + serial + ".pem")};
}

// There, whatever becomes of --out.
void deliver_certificate(Invocation& invocation, const Product& product, const std::string& file) {
  try {
    deliver(invocation, product);
  } catch (const Error&) {
    Output::note("The AK is accepted all the same, and the state used up: its certificate is " +
                 file + ".");
    throw;
  }
}

Exit run(Invocation& invocation) {
  require_ca_options(invocation);
  const std::string& file = invocation.arguments()[0];
  const std::string state = invocation.text("state");
  if (state == "-") throw UsageError("--state -: name the file: it is removed once it has served");
  check_delivery(invocation, {file, state});
  outlive_reader();
  const std::string kept = read_file(state);
  const attest::Pending pending = attest::parse_pending(kept, state);
  std::string content = read_file(file);
  const core::Cleansed guard(content);
  const attest::Answer answer = attest::parse_answer(content, file);
  const core::Libcrypto& crypto = invocation.software();
  const std::string fault = attest::fault_of(crypto, pending, answer, std::time(nullptr));
  if (!fault.empty())
    throw Error(Reason::kUnsupported,
                "answer=" + file + ": " + fault +
                    "; the AK is not accepted: begin anew with `hwid attest request`");
  const core::Bytes name = tpm2::object_name(crypto, pending.ak.publicArea);
  attestation::ClaimedState claimed(state, kept);  // a challenge is for one answer
  Product product;
  const core::Bytes ek = attest::sha256(crypto, {pending.ek_certificate});
  product.facts = {{"name", core::to_hex(name)}, {"ek_sha256", core::to_hex(ek)}};
  if (invocation.flag("ca")) {
    const Certified certified = certify(invocation, pending, name, ek);
    claimed.use_up();
    product.key = "pem";
    product.title = "Certificate of the AK";
    product.content = certified.pem;
    deliver_certificate(invocation, product, certified.file);
    return kGood;
  }
  product.key = "ak";
  product.title = "Accepted AK";
  product.content = attest::trusted_text(crypto, pending.ak, pending.ek_certificate);
  deliver(invocation, product);
  claimed.use_up();
  return kGood;
}

}  // namespace

const Command kAttestAccept = {
    "attest accept",
    "ANSWER --state FILE [--ca] [OPTION...]",
    "verifier: believe an AK that its TPM answered for",
    "Compares the answer with what `hwid attest challenge` kept: only the TPM of the EK "
    "certificate, "
    "with\n"
    "this very AK in it, could give it. Writes the AK for --trusted-ak of `hwid "
    "verify-attestation`, "
    "or,\n"
    "with --ca, a certificate of an attestation key (extended key usage 2.23.133.8.3) for "
    "--ak-ca.\n"
    "Either says which EK certificate it was. ANSWER may be what tpm2_activatecredential -o wrote. "
    "Needs no\n"
    "TPM. A state serves once.",
    "  hwid attest accept answer.json --state state.json --out ak.json\n"
    "  hwid attest accept answer.json --state state.json --ca --out ak.pem\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
