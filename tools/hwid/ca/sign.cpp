// hwid ca sign: a certificate for a request.
#include "provider/core/error.h"
#include "tools/attest/request_evidence.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/attest/trusted.h"
#include "tools/hwid/ca/issue.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/x509/alt_names.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/extensions.h"
#include "tools/hwid/x509/name.h"

namespace hwid::tool {
namespace {

using ca::Authority;
using core::Error;
using core::Reason;
using x509::Usage;

constexpr long kDefaultDays = 365;
using ExtensionList = STACK_OF(X509_EXTENSION);
struct FreeExtensions {
  void operator()(ExtensionList* list) const noexcept {
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
  }
};

void add_options(po::options_description& options) {
  ca::add_directory_option(options);
  auto add = options.add_options();
  add("profile", po::value<std::string>()->value_name("PROFILE")->required(),
      "what the certificate is for: client, server or both");
  add("days", po::value<long>()->value_name("N"),
      "how long it is good, at most as long as the CA (default: 365)");
  add("san", po::value<std::vector<std::string>>()->value_name("LIST"),
      "alternative names instead of the request's: DNS:host,IP:address,URI:uri,email:mailbox");
  add("require-attested", po::bool_switch(),
      "sign only where evidence in the request proves that its key is in a TPM");
  attestation::add_nonce_option(
      options,
      "that evidence must have this nonce (default: it may be old; the key is where it was)");
  attestation::add_trust_options(options);
  add_delivery_options(options);
}

// A request as this CA would sign it: its own signature is good, and so is what it says.
struct Wanted {
  x509::Request request;
  EVP_PKEY* key = nullptr;  // the request's
  x509::AltNames alt_names;
  Usage usage = Usage::kClient;
  long days = kDefaultDays;
};

[[noreturn]] void refuse(const std::string& file, const std::string& why) {
  throw Error(Reason::kUnsupported,
              "request=" + file + ": " + why + "; have it made anew, for instance by `hwid csr`");
}

x509::AltNames names_in(const X509_REQ* request, const std::string& file) {
  const core::ErrorMark mark;
  const std::unique_ptr<ExtensionList, FreeExtensions> extensions(
      X509_REQ_get_extensions(const_cast<X509_REQ*>(request)));
  int found = 0;
  x509::AltNames names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions.get(), NID_subject_alt_name, &found, nullptr)));
  if (!names && found != -1)  // -1: there is none; -2: several
    refuse(file, "its alternative names are damaged, or there twice");
  const std::string fault = names ? x509::fault_of_alt_names(names.get()) : "";
  if (!fault.empty()) refuse(file, "alternative names: " + fault + " (or give --san)");
  return names;
}

void check_request(const Wanted& wanted, const std::string& file, OSSL_LIB_CTX* crypto) {
  const X509_NAME* const subject = X509_REQ_get_subject_name(wanted.request.get());
  const std::string fault = x509::fault_of_name(subject);
  if (!fault.empty()) refuse(file, "subject: " + fault);
  const std::string key_fault = ca::fault_of_key(wanted.key);
  if (!key_fault.empty()) refuse(file, key_fault);
  {
    const core::ErrorMark mark;
    if (X509_REQ_verify_ex(wanted.request.get(), wanted.key, crypto, nullptr) != 1)
      refuse(file,
             "its signature is not good: whoever made it does not have the key, or it was "
             "changed on the way");
  }
  if (X509_NAME_entry_count(subject) == 0 && !wanted.alt_names)
    refuse(file, "it has neither a subject nor alternative names");
  if (wanted.usage == Usage::kServer && !wanted.alt_names)
    throw Error(Reason::kUnsupported,
                "request=" + file +
                    ": a server needs alternative names, clients look at nothing else; give --san "
                    "DNS:host");
}

// Without an option for it, AKs are believed that this CA certified (`hwid attest accept --ca`).
void check_attested(Invocation& invocation, const Wanted& wanted, const std::string& file) {
  if (!invocation.flag("require-attested")) {
    for (const char* const option : {"nonce", "trusted-ak", "ak-ca", "ak-cert"}) {
      if (invocation.has(option))
        throw UsageError(std::string("--") + option + " is for --require-attested; give that, too");
    }
    return;
  }
  std::optional<attest::Evidence> evidence = attest::evidence_in(wanted.request.get(), file);
  if (!evidence)
    throw Error(Reason::kUnsupported,
                "request=" + file +
                    ": it is not attested: there is no evidence in it that its key is in a TPM; "
                    "make one with `hwid csr --evidence`");
  attestation::Trust trust(invocation, ca::directory_of(invocation));
  if (invocation.has("nonce")) trust.expected.nonce = attestation::nonce_of(invocation);
  trust.expected.certified = wanted.key;
  if (!trust.ak_certificate.empty()) evidence->ak_certificate = trust.ak_certificate;
  const std::string fault =
      attest::verify(invocation.software(), *evidence, trust.expected).fault();
  if (!fault.empty())
    throw Error(Reason::kUnsupported, "request=" + file + ": it is not attested: " + fault +
                                          "; see `hwid attest` for what is missing");
}

Wanted read_wanted(Invocation& invocation) {
  Wanted wanted;
  wanted.usage = x509::parse_usage("profile", invocation.text("profile"));
  wanted.days = x509::parse_days(invocation.value<long>("days").value_or(kDefaultDays));
  wanted.alt_names = x509::parse_alt_names(
      invocation.value<std::vector<std::string>>("san").value_or(std::vector<std::string>{}));
  const std::string& file = invocation.arguments()[0];
  std::vector<std::string> needed = ca::own_files(ca::directory_of(invocation));
  needed.push_back(file);
  check_delivery(invocation, needed);
  OSSL_LIB_CTX* const crypto = invocation.crypto();
  wanted.request = x509::parse_request(read_file(file), file, crypto);
  wanted.key = X509_REQ_get0_pubkey(wanted.request.get());
  if (!wanted.alt_names) wanted.alt_names = names_in(wanted.request.get(), file);
  check_request(wanted, file, crypto);
  check_attested(invocation, wanted, file);
  return wanted;
}

x509::Certificate issue(const Wanted& wanted, Authority& ca, OSSL_LIB_CTX* crypto) {
  const X509_NAME* const subject = X509_REQ_get_subject_name(wanted.request.get());
  const ca::Order order{subject, wanted.key, wanted.days, "the request"};
  return ca::issue(ca, order, crypto, [&](x509::Extensions& extensions) {
    extensions.add_usage(wanted.key, wanted.usage);
    // RFC 5280, section 4.2.1.6: without a subject they are all there is.
    extensions.add_alt_names(wanted.alt_names.get(), X509_NAME_entry_count(subject) == 0);
  });
}

Exit run(Invocation& invocation) {
  const Wanted wanted = read_wanted(invocation);
  Authority ca(invocation);
  const x509::Certificate certificate = issue(wanted, ca, invocation.crypto());
  const std::string serial = ca::record(ca, certificate.get());
  if (wanted.usage == Usage::kBoth && !wanted.alt_names)
    Output::note(
        "Without alternative names the certificate is no use to a server: --san DNS:host.");
  Product product;
  product.key = "pem";
  product.title = "Certificate";
  product.content = x509::pem(certificate.get());
  product.facts = {{"subject", x509::name_text(X509_get_subject_name(certificate.get()))},
                   {"alt_names", x509::alt_name_texts(wanted.alt_names.get())},
                   {"serial", serial},
                   {"usage", x509::usage_text(wanted.usage)},
                   {"key", algorithm_text(wanted.key)},
                   {"issuer", x509::name_text(X509_get_issuer_name(certificate.get()))},
                   {"not_before", x509::time_text(X509_get0_notBefore(certificate.get()))},
                   {"not_after", x509::time_text(X509_get0_notAfter(certificate.get()))}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kCaSign = {
    "ca sign",
    "CSR --profile client|server|both [OPTION...]",
    "sign a certificate request",
    "Signs a request (PEM or DER; - is the standard input) after its own signature was verified. "
    "Of\n"
    "its extensions only alternative names are taken, and only well-formed ones; all else comes "
    "from\n"
    "the profile. The certificate is verified as a strict client would, entered into the index, "
    "and\n"
    "printed as PEM.",
    "  hwid ca sign device.csr --profile client --out device.pem\n"
    "  hwid ca sign web.csr --profile server --san DNS:web.example,IP:192.0.2.7 --days 90\n"
    "  hwid csr hwid:device --subject CN=device-7 | hwid ca sign - --profile client\n"
    "  hwid ca sign device.csr --profile client --require-attested \\\n"
    "      --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
