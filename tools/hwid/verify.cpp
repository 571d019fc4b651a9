// hwid verify: the proof that a private key stays where it is.
#include <unistd.h>

#include <array>
#include <ctime>

#include "provider/core/error.h"
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

void verify_in_device(Invocation& invocation, const std::string& uri, core::Router::Origin origin,
                      const std::optional<verify::GivenCertificate>& given, Report& report) {
  const core::KeyUri parsed = invocation.parse(uri);
  const std::vector<core::Object> found = invocation.router().open(
      parsed, core::Wanted{true, false, false}, Invocation::prompt(), origin);
  if (found.size() > 1)
    throw Error(Reason::kSeveralObjects,
                parsed.text() + ": " + std::to_string(found.size()) +
                    " private keys; name one by object= or id= (`hwid list` shows them)");
  if (found.empty())
    throw Error(Reason::kNoPrivateKey,
                parsed.text() +
                    ": there is no private key; `hwid list` shows the keys that are "
                    "there");
  const core::Key& key = *found.front().key;
  report.key.uri = parsed.text();
  report.key.name = core::name_of(key.description());
  describe_key(invocation, key.public_key().pkey(), report.key);
  check_with(invocation, given, key, key.public_key().pkey(), report);
  verify::examine(invocation.software(), key, report);
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
    "URI [--cert FILE|URI] [--require-hardware] [--html FILE]",
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
    "so does a certificate that is another key's or not valid now.",
    "  hwid verify hwid:device --cert hwid:device\n"
    "  hwid verify 'pkcs11:token=line-7;object=web' --cert web.pem --html web-key.html\n"
    "  hwid verify tpm2:handle=0x81000002 --require-hardware --json\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
