// hwid attest request: what a verifier must know to believe an attestation key.
#include "provider/core/error.h"
#include "tools/attest/challenge.h"
#include "tools/attest/checks.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/attest/endorsement.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/new_key.h"

namespace hwid::tool {
namespace {

using attestation::TpmKey;
using core::Error;
using core::Reason;

void add_options(po::options_description& options) {
  attestation::add_ak_option(options);
  attestation::add_endorsement_options(options);
  auto add = options.add_options();
  add("type,t", po::value<std::string>()->value_name("TYPE")->default_value("ec:P-256"),
      "of an AK that is made: ec:P-256, ec:P-384, rsa:2048, ...");
  add("auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of an AK that is made is (default: what the URI or openssl.cnf says of "
      "its keys, else none)");
  add("parent", po::value<std::string>()->value_name("HANDLE"),
      "of an AK that is made: endorsement, owner, or a persistent handle (default: endorsement)");
  add("owner-auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of the TPM's owner is, which an AK at a handle needs if there is one");
  attestation::add_ek_certificate_option(options);
  add_delivery_options(options);
}

core::KeySpec ak_spec(Invocation& invocation) {
  core::KeySpec spec = spec_of_type(invocation.text("type"));
  spec.attests = true;
  spec.parent = core::parse_parent(invocation.has("parent") ? invocation.text("parent")
                                                            : std::string("endorsement"));
  if (!spec.parent)
    throw UsageError("--parent " + invocation.text("parent") +
                     ": write endorsement, owner, or a persistent handle such as 0x81000001");
  spec.auth = invocation.secret("auth-source");
  if (spec.parent == TPM2_RH_ENDORSEMENT)
    spec.parent_auth = invocation.secret("endorsement-auth-source");
  spec.owner_auth = invocation.secret("owner-auth-source");
  return spec;
}

// The key that is there, or a new one, and by which URI.
struct Ak {
  TpmKey key;
  std::string uri;
  bool is_new = false;
};

Ak make_ak(Invocation& invocation, const std::string& source) {
  const std::string uri = is_key_uri(source) ? source : "tpm2:file=" + core::uri_escape(source);
  const NewKeyPlace place = place_for_new_key(invocation, uri, "");
  const core::Object made = make_new_key(invocation, place, ak_spec(invocation));
  if (dynamic_cast<const tpm2::Key*>(made.key.get()) == nullptr)
    throw Error(Reason::kUnsupported, source +
                                          ": an attestation key is in a TPM; name a handle or "
                                          "file of one");
  return {{made.key}, uri_for_use(place, made), true};
}

bool is_free_place(const std::string& source) {
  if (!is_key_uri(source)) return !file_exists(source);
  const core::KeyUri uri = core::KeyUri::parse(source);
  if (uri.file()) return !file_exists(*uri.file());
  return uri.scheme() == core::KeyUri::Scheme::kTpm2 && !uri.names_object();
}

Ak open_ak(Invocation& invocation) {
  const std::string source = attestation::ak_source(invocation);
  if (is_free_place(source)) return make_ak(invocation, source);
  try {
    return {attestation::open_tpm_key(invocation, source), source, false};
  } catch (const Error& error) {
    if (error.reason != Reason::kNoObject || !is_key_uri(source)) throw;
  }
  return make_ak(invocation, source);
}

Exit run(Invocation& invocation) {
  check_delivery(invocation);
  const core::Bytes given = attestation::given_ek_certificate(invocation);
  const Ak ak = open_ak(invocation);
  const attestation::Endorsement endorsement(invocation, ak.key.key());
  attest::Request request;
  request.ak = tpm2::Attester::public_area(ak.key.key());
  request.ek = endorsement.public_area();
  request.ek_certificate = given.empty() ? endorsement.certificate() : given;
  if (request.ek_certificate.empty())
    throw Error(Reason::kNoObject,
                "EK certificate: the TPM has none of its endorsement key " + endorsement.text() +
                    (endorsement.problem().empty() ? "" : " (" + endorsement.problem() + ")") +
                    "; get it from the TPM's maker and give it with --ek-cert FILE, or choose "
                    "another kind with --ek");
  const std::string fault = attest::fault_of_ak(request.ak.publicArea);
  if (!fault.empty())
    throw Error(Reason::kUnsupported, ak.uri + ": the key is no attestation key: " + fault +
                                          "; name another place, and one is made there");
  Product product;
  product.key = "request";
  product.title = "Request";
  product.content = attest::to_text(request);
  product.facts = {
      {"ak", ak.uri},
      {"name", core::to_hex(tpm2::object_name(invocation.software(), request.ak.publicArea))},
      {"made", ak.is_new ? "now" : "before"},
      {"ek", endorsement.text()}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kAttestRequest = {
    "attest request",
    "--ak URI [OPTION...]",
    "device: say which TPM and attestation key there are",
    "Writes what a verifier needs: the certificate of the TPM's endorsement key (EK) by its maker, "
    "from\n"
    "the TPM's NV memory, and the public areas of EK and attestation key (AK). Where no AK is at "
    "the "
    "place\n"
    "that --ak names, one is made there: at a handle, in a file that does not exist, or with tpm2: "
    "alone at\n"
    "the next free handle. By itself a request proves nothing.",
    "  hwid attest request --ak tpm2:handle=0x81010002 --out request.json\n"
    "  hwid attest request --ak ak.tss2.pem --type rsa:2048 --ek ecc --out request.json\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
