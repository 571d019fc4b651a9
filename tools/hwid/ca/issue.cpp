#include "tools/hwid/ca/issue.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "provider/core/error.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool::ca {
namespace {

using core::Error;
using core::Reason;
using StoreCtx = std::unique_ptr<X509_STORE_CTX, core::FreeWith<X509_STORE_CTX_free>>;
using Store = std::unique_ptr<X509_STORE, core::FreeWith<X509_STORE_free>>;

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

void check_order(const Authority& ca, const Order& order) {
  if (x509::is_past(X509_get0_notAfter(ca.certificate())))
    throw Error(Reason::kUnsupported, "directory=" + ca.directory() + ": the CA ended at " +
                                          x509::time_text(X509_get0_notAfter(ca.certificate())) +
                                          "; make another one with `hwid ca init`");
  if (EVP_PKEY_eq(order.key, X509_get0_pubkey(ca.certificate())) == 1)
    throw Error(Reason::kUnsupported,
                std::string(order.whose) +
                    " is for the CA's own key; give each certificate a key of its own");
  if (X509_NAME_cmp(order.subject, X509_get_subject_name(ca.certificate())) == 0)
    throw Error(Reason::kUnsupported,
                std::string(order.whose) +
                    " has the CA's own name, and would be taken for it; give it another");
}

}  // namespace

x509::Certificate issue(Authority& ca, const Order& order, OSSL_LIB_CTX* crypto,
                        const std::function<void(x509::Extensions&)>& add_own) {
  check_order(ca, order);
  x509::Certificate certificate = x509::made(x509::Certificate(X509_new_ex(crypto, nullptr)));
  const x509::Integer serial = x509::random_serial(crypto);
  if (X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_serialNumber(certificate.get(), serial.get()) != 1 ||
      X509_set_subject_name(certificate.get(), order.subject) != 1 ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(ca.certificate())) != 1 ||
      X509_set_pubkey(certificate.get(), order.key) != 1)
    throw_crypto_error("X509_set_pubkey", "have it made anew");
  set_validity(certificate.get(), ca.certificate(), order.days);
  x509::Extensions extensions;
  extensions.add_end_entity();
  add_own(extensions);
  extensions.add_subject_key_id(certificate.get(), crypto);
  extensions.add_authority_key_id(x509::key_id(ca.certificate(), crypto).get());
  extensions.copy_into(certificate.get());
  x509::sign(certificate.get(), ca.key(), ca.form(), crypto);
  verify_strictly(certificate.get(), ca.certificate(), crypto);
  return certificate;
}

std::string record(Authority& ca, const X509* certificate) {
  std::string serial = x509::serial_text(X509_get0_serialNumber(certificate));
  ca.index().add(certificate);
  ca.index().write();
  write_file(ca.path("certs/" + serial + ".pem"), x509::pem(certificate), 0644, Existing::kRefuse);
  return serial;
}

}  // namespace hwid::tool::ca
