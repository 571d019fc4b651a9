// hwid csr: a certificate request, or a certificate that signs itself, by a key that stays where it
// is.
#include "provider/core/error.h"
#include "tools/attest/request_evidence.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/x509/alt_names.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/extensions.h"
#include "tools/hwid/x509/name.h"
#include "tools/hwid/x509/request.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool {
namespace {

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("subject", po::value<std::string>()->value_name("NAME")->required(),
      "\"/C=US/O=Example/CN=device-7\", or \"CN=device-7,O=Example,C=US\"; UTF-8");
  add("san", po::value<std::vector<std::string>>()->value_name("LIST"),
      "alternative names: DNS:host,IP:address,URI:uri,email:mailbox; may be given again");
  add("usage", po::value<std::string>()->value_name("USAGE"),
      "what the certificate is for: client, server or both (default: a request does not say; a "
      "self-signed certificate is for both)");
  add("digest", po::value<std::string>()->value_name("DIGEST"),
      "sha256, sha384 or sha512 (default: as strong as the key)");
  add("pss", po::bool_switch(), "sign with RSA-PSS, where the key is RSA");
  add("evidence", po::value<std::string>()->value_name("FILE"),
      "what `hwid attest evidence` wrote about this key, to go into the request");
  add("evidence-form", po::value<std::string>()->value_name("FORM")->default_value("both"),
      "private: all of it, as this project's extension; draft: the certification alone, as "
      "draft-ietf-lamps-csr-attestation has it now; or both");
  add("self-signed", po::bool_switch(), "make a certificate, signed by its own key");
  add("days", po::value<long>()->value_name("N"),
      "how long the self-signed certificate is good (default: 365)");
  add_delivery_options(options);
}

// What the options say, checked before a token is asked for anything.
struct Wish {
  x509::Name subject;
  x509::AltNames alt_names;
  std::optional<x509::Usage> usage;
  std::optional<attest::Evidence> evidence;
  bool private_form = true;
  bool draft_form = true;
  bool self_signed = false;
  long days = 365;
};

void read_evidence(Invocation& invocation, Wish& wish) {
  const std::string form = invocation.text("evidence-form");
  if (form != "private" && form != "draft" && form != "both")
    throw UsageError("--evidence-form: \"" + form + "\" is none of private, draft, both");
  wish.private_form = form != "draft";
  wish.draft_form = form != "private";
  if (!invocation.has("evidence")) return;
  const std::string file = invocation.text("evidence");
  if (wish.self_signed)
    throw UsageError("--evidence: it is for a CA, so for a request; leave --self-signed out");
  wish.evidence = attest::parse_evidence(read_file(file), file);
  if (!wish.evidence->key || !wish.evidence->certify)
    throw core::Error(
        core::Reason::kBadParameter,
        "file=" + file + ": the evidence is about no key; make it with `hwid attest evidence URI`");
}

Wish read_wish(Invocation& invocation) {
  Wish wish;
  wish.subject = x509::parse_subject(invocation.text("subject"));
  wish.alt_names = x509::parse_alt_names(
      invocation.value<std::vector<std::string>>("san").value_or(std::vector<std::string>{}));
  if (invocation.has("usage")) wish.usage = x509::parse_usage("usage", invocation.text("usage"));
  wish.self_signed = invocation.flag("self-signed");
  if (invocation.has("days") && !wish.self_signed)
    throw UsageError("--days: a request has no end; the CA sets it (or give --self-signed)");
  wish.days = x509::parse_days(invocation.value<long>("days").value_or(wish.days));
  check_delivery(invocation, {invocation.arguments()[0]});
  read_evidence(invocation, wish);
  return wish;
}

// The extension is one of those that are asked for, the draft's attribute stands beside them.
void add_evidence(const Wish& wish, EVP_PKEY* key, const core::Libcrypto& software,
                  x509::Extensions& extensions, X509_REQ* request) {
  const attest::Evidence& evidence = *wish.evidence;
  const core::PublicKey attested = tpm2::public_key(software, evidence.key->publicArea);
  if (EVP_PKEY_eq(attested.pkey(), key) != 1)
    throw core::Error(
        core::Reason::kUnsupported,
        "--evidence: it is about another key than the request's; make it for this one");
  if (wish.private_form) extensions.add_other(attest::kPrivateOid, attest::private_value(evidence));
  if (!wish.draft_form) return;
  const std::string bundle = attest::draft_value(evidence);
  if (X509_REQ_add1_attr_by_txt(request, attest::kDraftOid, V_ASN1_SEQUENCE,
                                reinterpret_cast<const unsigned char*>(bundle.data()),
                                static_cast<int>(bundle.size())) != 1)
    throw_crypto_error("X509_REQ_add1_attr_by_txt", "leave the draft's form out");
}

std::string make_certificate(const Wish& wish, EVP_PKEY* key, const x509::SignatureForm& form,
                             OSSL_LIB_CTX* crypto) {
  const x509::Certificate certificate = x509::made(x509::Certificate(X509_new_ex(crypto, nullptr)));
  const x509::Integer serial = x509::random_serial(crypto);
  const x509::Time begin = x509::time_from_now(0, x509::kClockTolerance);
  const x509::Time end = x509::time_from_now(wish.days, 0);
  if (X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_serialNumber(certificate.get(), serial.get()) != 1 ||
      X509_set_subject_name(certificate.get(), wish.subject.get()) != 1 ||
      X509_set_issuer_name(certificate.get(), wish.subject.get()) != 1 ||
      X509_set1_notBefore(certificate.get(), begin.get()) != 1 ||
      X509_set1_notAfter(certificate.get(), end.get()) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1)
    throw_crypto_error("X509_set_pubkey", "see that the key has a public half");
  x509::Extensions extensions;
  extensions.add_end_entity();
  extensions.add_usage(key, wish.usage.value_or(x509::Usage::kBoth));
  extensions.add_alt_names(wish.alt_names.get(), false);
  extensions.add_subject_key_id(certificate.get(), crypto);
  extensions.add_authority_key_id(x509::key_id(certificate.get(), crypto).get());
  extensions.copy_into(certificate.get());
  x509::sign(certificate.get(), key, form, crypto);
  if (X509_verify(certificate.get(), key) != 1)
    throw_crypto_error("X509_verify",
                       "the key's public half is not that of its private one: make the key anew");
  return x509::pem(certificate.get());
}

Exit run(Invocation& invocation) {
  const Wish wish = read_wish(invocation);
  const core::EvpPkey key = open_private_key(invocation, invocation.arguments()[0]);
  OSSL_LIB_CTX* const crypto = invocation.crypto();
  const x509::SignatureForm form =
      x509::signature_form(key.get(), invocation.text("digest"), invocation.flag("pss"), crypto);
  Product product;
  product.key = "pem";
  product.title = wish.self_signed ? "Self-signed certificate" : "Certificate request";
  x509::RequestContent content{wish.subject.get(), wish.alt_names.get(), wish.usage};
  if (wish.evidence)
    content.more = [&](x509::Extensions& extensions, X509_REQ* request) {
      add_evidence(wish, key.get(), invocation.software(), extensions, request);
    };
  product.content = wish.self_signed ? make_certificate(wish, key.get(), form, crypto)
                                     : x509::make_request(content, key.get(), form, crypto);
  product.facts = {{"subject", x509::name_text(wish.subject.get())},
                   {"alt_names", x509::alt_name_texts(wish.alt_names.get())},
                   {"usage", wish.usage         ? x509::usage_text(*wish.usage)
                             : wish.self_signed ? "both"
                                                : ""},
                   {"key", algorithm_text(key.get())},
                   {"digest", form.digest},
                   {"evidence", !wish.evidence      ? ""
                                : !wish.draft_form  ? "private extension"
                                : wish.private_form ? "private extension, and the draft's form"
                                                    : "the draft's form"}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kCsr = {
    "csr",
    "URI --subject NAME [OPTION...]",
    "a certificate request, or a self-signed certificate",
    "Asks the key that URI names (hwid:NAME, pkcs11:, tpm2:, or a file: key reference, TSS2 PEM) "
    "for\n"
    "one signature, and prints the request as PEM. The request is verified before it is given out. "
    "With\n"
    "--evidence it carries the proof that the key is in a TPM, for `hwid ca sign "
    "--require-attested`.",
    "  hwid csr hwid:device --subject /O=Example/CN=device-7 --usage client --out device.csr\n"
    "  hwid csr 'pkcs11:token=line-7;object=web' --subject CN=web.example \\\n"
    "      --san DNS:web.example,IP:192.0.2.7 --usage server\n"
    "  hwid csr tpm2:handle=0x81000002 --subject CN=gateway --self-signed --days 30\n"
    "  hwid csr hwid:device --subject CN=device-7 --evidence evidence.json --out device.csr\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
