// hwid ca sign: a certificate for a request.
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "provider/core/error.h"
#include "tools/hwid/ca/authority.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/crypto_error.h"
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
using StoreCtx = std::unique_ptr<X509_STORE_CTX, core::FreeWith<X509_STORE_CTX_free>>;
using Store = std::unique_ptr<X509_STORE, core::FreeWith<X509_STORE_free>>;
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
  return wanted;
}

// From a little before now, or the CA's beginning, to the wanted end, or the CA's.
void set_validity(X509* certificate, const X509* ca, long days) {
  const x509::Time begin = x509::time_from_now(0, x509::kClockTolerance);
  const x509::Time end = x509::time_from_now(days, 0);
  const ASN1_TIME* first = begin.get();
  const ASN1_TIME* last = end.get();
  if (ASN1_TIME_compare(first, X509_get0_notBefore(ca)) < 0) first = X509_get0_notBefore(ca);
  if (ASN1_TIME_compare(last, X509_get0_notAfter(ca)) > 0) {
    last = X509_get0_notAfter(ca);
    Output::note("The certificate ends with the CA, at " + x509::time_text(last) + ".");
  }
  if (X509_set1_notBefore(certificate, first) != 1 || X509_set1_notAfter(certificate, last) != 1)
    throw std::bad_alloc();
}

// What a strict client does: OpenSSL's X509_V_FLAG_X509_STRICT, as Python 3.13 sets it.
void verify_strictly(X509* certificate, X509* ca, OSSL_LIB_CTX* crypto) {
  const Store store = x509::made(Store(X509_STORE_new()));
  const StoreCtx ctx = x509::made(StoreCtx(X509_STORE_CTX_new_ex(crypto, nullptr)));
  if (X509_STORE_add_cert(store.get(), ca) != 1 ||
      X509_STORE_set_flags(store.get(), X509_V_FLAG_X509_STRICT) != 1 ||
      X509_STORE_CTX_init(ctx.get(), store.get(), certificate, nullptr) != 1)
    throw_crypto_error("X509_STORE_CTX_init", "see that ca.pem is the CA's certificate");
  if (X509_verify_cert(ctx.get()) == 1) return;
  ERR_clear_error();
  throw Error(Reason::kLibcrypto,
              std::string("X509_verify_cert: what was signed does not verify: ") +
                  X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx.get())) +
                  "; see that ca.pem and ca.key are as `hwid ca init` made them");
}

x509::Certificate issue(const Wanted& wanted, Authority& ca, OSSL_LIB_CTX* crypto) {
  if (X509_cmp_current_time(X509_get0_notAfter(ca.certificate())) < 0)
    throw Error(Reason::kUnsupported, "directory=" + ca.directory() + ": the CA ended at " +
                                          x509::time_text(X509_get0_notAfter(ca.certificate())) +
                                          "; make another one with `hwid ca init`");
  if (EVP_PKEY_eq(wanted.key, X509_get0_pubkey(ca.certificate())) == 1)
    throw Error(Reason::kUnsupported,
                "the request is for the CA's own key; give each certificate a key of its own");
  x509::Certificate certificate = x509::made(x509::Certificate(X509_new_ex(crypto, nullptr)));
  const x509::Integer serial = x509::random_serial(crypto);
  const X509_NAME* const subject = X509_REQ_get_subject_name(wanted.request.get());
  if (X509_NAME_cmp(subject, X509_get_subject_name(ca.certificate())) == 0)
    throw Error(Reason::kUnsupported,
                "the request has the CA's own name, and would be taken for it; give it another");
  if (X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_serialNumber(certificate.get(), serial.get()) != 1 ||
      X509_set_subject_name(certificate.get(), subject) != 1 ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(ca.certificate())) != 1 ||
      X509_set_pubkey(certificate.get(), wanted.key) != 1)
    throw_crypto_error("X509_set_pubkey", "have the request made anew");
  set_validity(certificate.get(), ca.certificate(), wanted.days);
  x509::Extensions extensions;
  extensions.add_end_entity();
  extensions.add_usage(wanted.key, wanted.usage);
  // RFC 5280, section 4.2.1.6: without a subject they are all there is.
  extensions.add_alt_names(wanted.alt_names.get(), X509_NAME_entry_count(subject) == 0);
  extensions.add_subject_key_id(certificate.get(), crypto);
  extensions.add_authority_key_id(x509::key_id(ca.certificate(), crypto).get());
  extensions.copy_into(certificate.get());
  x509::sign(certificate.get(), ca.key(), ca.form(), crypto);
  verify_strictly(certificate.get(), ca.certificate(), crypto);
  return certificate;
}

Exit run(Invocation& invocation) {
  const Wanted wanted = read_wanted(invocation);
  Authority ca(invocation);
  const x509::Certificate certificate = issue(wanted, ca, invocation.crypto());
  // Before anybody has it: what is not in the index cannot be revoked.
  const std::string serial = x509::serial_text(X509_get0_serialNumber(certificate.get()));
  const std::string pem = x509::pem(certificate.get());
  ca.index().add(certificate.get());
  ca.index().write();
  write_file(ca.path("certs/" + serial + ".pem"), pem, 0644, Existing::kRefuse);
  if (wanted.usage == Usage::kBoth && !wanted.alt_names)
    Output::note(
        "Without alternative names the certificate is no use to a server: --san DNS:host.");
  Product product;
  product.key = "pem";
  product.title = "Certificate";
  product.content = pem;
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
    "  hwid csr hwid:device --subject CN=device-7 | hwid ca sign - --profile client\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
