// hwid verify: the proof that a private key stays where it is.
#include <openssl/rand.h>
#include <unistd.h>

#include <array>
#include <ctime>

#include "provider/core/error.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/attest/trusted.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/stored_certificates.h"
#include "tools/hwid/verify/device_checks.h"
#include "tools/hwid/verify/html.h"
#include "tools/hwid/verify/possession.h"
#include "tools/hwid/verify/report.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;
using verify::Report;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("cert", po::value<std::string>()->value_name("FILE|URI"),
      "the key's certificate: it must be for this key, and what the key signs must fit it");
  add("require-hardware", po::bool_switch(),
      "the answer is no as well where the token or TPM is software, or the key was outside before");
  add("evidence", po::value<std::string>()->value_name("FILE"),
      "what `hwid attest evidence` wrote about the key; or make it now, by --ak");
  add("ak", po::value<std::string>()->value_name("URI"),
      "the attestation key that is to certify the key now");
  attestation::add_nonce_option(options, "with --evidence: what it was asked with");
  attestation::add_trust_options(options);
  add("html", po::value<std::string>()->value_name("FILE"),
      "write a report to file: one page, to be looked at or printed");
  add("force", po::bool_switch(), "replace the file of --html");
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

Existing existing(const Invocation& invocation) {
  return invocation.flag("force") ? Existing::kReplace : Existing::kRefuseWithoutForce;
}

std::optional<verify::GivenCertificate> read_certificate(Invocation& invocation) {
  if (!invocation.has("cert")) return std::nullopt;
  const std::string source = invocation.text("cert");
  std::vector<x509::Certificate> chain =
      is_key_uri(source)
          ? stored_certificates(invocation, invocation.parse(source))
          : x509::parse_certificates(read_file(source), source, invocation.software().get());
  if (is_key_uri(source) && chain.size() > 1)
    throw Error(Reason::kSeveralObjects, invocation.parse(source).text() + ": " +
                                             std::to_string(chain.size()) +
                                             " certificates; name one by object= or id=");
  const std::string der = x509::der(chain.front().get());
  return verify::GivenCertificate{
      std::move(chain.front()),
      certificate_facts(invocation.software(), core::as_bytes(der)).value()};
}

void describe_key(Invocation& invocation, EVP_PKEY* public_half, verify::KeyFacts& facts) {
  facts.type = algorithm_text(public_half);
  facts.public_key = public_key_pem(public_half);
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(public_half, &der);
  if (size > 0)
    facts.fingerprint =
        fingerprint_of(invocation.software(), {der, static_cast<std::size_t>(size)});
  OPENSSL_free(der);
}

// With the certificate's public key, where there is one of the same kind as the key's.
template <typename Key>
void check_with(Invocation& invocation, const std::optional<verify::GivenCertificate>& given,
                Key&& key, EVP_PKEY* own, Report& report) {
  EVP_PKEY* const certified = given ? X509_get0_pubkey(given->certificate.get()) : nullptr;
  if (given) {
    report.certificate = given->facts;
    verify::check_certificate(*given, own, report);
  }
  verify::check_use(invocation.software(), key, certified != nullptr ? certified : own,
                    certified != nullptr, report);
}

// Somebody else's word for the key: of an AK that the user has a reason to believe.
void check_evidence(Invocation& invocation, const core::Key& key, Report& report) {
  constexpr std::size_t kNonceBytes = 16;
  if (!invocation.has("evidence") && !invocation.has("ak")) return;
  attestation::Trust trust(invocation);
  attest::Evidence evidence;
  if (invocation.has("evidence")) {
    const std::string file = invocation.text("evidence");
    evidence = attest::parse_evidence(read_file(file), file);
    if (invocation.has("nonce")) trust.expected.nonce = attestation::nonce_of(invocation);
  } else {
    const auto* const tpm_key = dynamic_cast<const tpm2::Key*>(&key);
    if (tpm_key == nullptr)
      throw Error(Reason::kUnsupported,
                  "--ak: the key is in a PKCS#11 token, which attests nothing; leave it out");
    attestation::Wish wish;
    wish.key = tpm_key;
    wish.nonce.resize(kNonceBytes);
    if (RAND_bytes_ex(invocation.software().get(), wish.nonce.data(), wish.nonce.size(), 0) != 1)
      throw std::bad_alloc();
    const attestation::TpmKey ak = attestation::open_tpm_key(invocation, invocation.text("ak"));
    evidence = attestation::make_evidence(invocation, ak.key(), wish);
    trust.expected.nonce = wish.nonce;
  }
  if (!trust.ak_certificate.empty()) evidence.ak_certificate = trust.ak_certificate;
  trust.expected.certified = key.public_key().pkey();
  const attest::Verification found =
      attest::verify(invocation.software(), evidence, trust.expected);
  using verify::Finding;
  for (const attest::Check& check : found.checks)
    report.add(verify::Group::kEvidence, check.name, check.good ? "holds" : "does not hold",
               check.good ? Finding::kGood : Finding::kBad, check.detail);
  if (found.good())
    report.evidence.push_back({"TPM2_Certify", "the AK " + found.ak + " (" + trust.text + ")"});
}

void check_evidence_options(const Invocation& invocation) {
  if (invocation.has("evidence") && invocation.has("ak"))
    throw UsageError("--evidence and --ak: give one of them");
  if (invocation.has("evidence") || invocation.has("ak")) return;
  for (const char* const option : {"nonce", "trusted-ak", "ak-ca", "ak-cert"}) {
    if (invocation.has(option))
      throw UsageError(std::string("--") + option + " is for evidence; give --evidence or --ak");
  }
}

void verify_in_device(Invocation& invocation, const std::string& uri, core::Router::Origin origin,
                      const std::optional<verify::GivenCertificate>& given, Report& report) {
  const core::KeyUri parsed = invocation.parse(uri);
  const core::Object found = open_in_device(invocation, parsed, origin);
  const core::Key& key = *found.key;
  report.key.uri = parsed.text();
  report.key.name = core::name_of(key.description());
  describe_key(invocation, key.public_key().pkey(), report.key);
  check_with(invocation, given, key, key.public_key().pkey(), report);
  verify::examine(invocation.software(), key, report);
  check_evidence(invocation, key, report);
}

// An ordinary key: what it is does not matter much, it can leave.
void verify_in_file(Invocation& invocation, const std::string& file,
                    const std::optional<verify::GivenCertificate>& given, Report& report) {
  using verify::Finding;
  using verify::Group;
  report.key.uri = file;
  report.key.name = file;
  report.device.kind = verify::Device::Kind::kFile;
  report.device.info.module = file;
  report.device.software = "it is a file";
  const core::EvpPkey opened = open_private_key(invocation, file);
  std::string pem = private_key_pem(opened.get());
  const core::Cleansed guard(pem);
  const core::EvpPkey key = software_key_of(invocation, pem, file);
  describe_key(invocation, key.get(), report.key);
  check_with(invocation, given, key.get(), key.get(), report);
  report.add(Group::kAttempts, "reading the file", "the private key", Finding::kBad,
             "whoever reads it, a backup of it or its disk has the key");
}

Exit run(Invocation& invocation) {
  const std::string& source = invocation.arguments()[0];
  const std::string html = invocation.text("html");
  if (invocation.flag("force") && html.empty())
    throw UsageError("--force: it is for --html, which is not there");
  if (!html.empty()) require_writable(html, existing(invocation));
  check_evidence_options(invocation);
  const auto given = read_certificate(invocation);

  Report report;
  report.time = std::time(nullptr);
  report.host = host_name();
  report.require_hardware = invocation.flag("require-hardware");
  const bool is_uri = is_key_uri(source);
  if (!is_uri) require_readable(source);
  std::string content = is_uri ? "" : read_file(source);
  const core::Cleansed guard(content);
  const std::string uri = is_uri ? source : uri_in_file(source, content);
  using Origin = core::Router::Origin;
  if (uri.empty())
    verify_in_file(invocation, source, given, report);
  else  // what the user gives by --pin-source is read whoever wrote the rest
    verify_in_device(
        invocation, uri,
        is_uri || invocation.has("pin-source") ? Origin::kProgram : Origin::kReferenceFile, given,
        report);
  if (!html.empty()) write_file(html, verify::html_page(report), 0644, existing(invocation));
  Output& out = invocation.out();
  if (!out.json()) verify::print(out, report);
  out.document(verify::to_json(report));
  return verify::is_good(report) ? kGood : kAnswerIsNo;
}

}  // namespace

const Command kVerify = {
    "verify",
    "URI [--cert FILE|URI] [--ak URI --trusted-ak FILE] [OPTION...]",
    "the proof that a key stays where it is, for an auditor",
    "Asks the token or TPM what it says of the key, and then tries to get the key out: reads "
    "every\n"
    "private attribute, wraps the key by fresh session keys under each mechanism that the token "
    "offers,\n"
    "copies it and changes it to make it extractable; duplicates it out of a TPM. What comes out "
    "is\n"
    "wiped at once, and the token is left as it was. The key also signs a fresh message. URI may "
    "be a\n"
    "file: key reference, TSS2 PEM, or an ordinary key, which can leave.\n\n"
    "The verdict is one of hardware-attested (somebody else proves it), token-claims (the device's "
    "own\n"
    "word), software-token (SoftHSM, NSS, a software TPM), and can-leave, which makes the exit "
    "code 1;\n"
    "so does a certificate that is another key's or not valid now, and evidence that does not "
    "hold.\n"
    "The first is reached by --evidence or --ak with an attestation key that is believed "
    "(--trusted-ak,\n"
    "--ak-ca), where the TPM is no program.",
    "  hwid verify hwid:device --cert hwid:device\n"
    "  hwid verify 'pkcs11:token=line-7;object=web' --cert web.pem --html web-key.html\n"
    "  hwid verify tpm2:handle=0x81000002 --require-hardware --json\n"
    "  hwid verify hwid:device --ak tpm2:handle=0x81010002 --trusted-ak ak.json\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
