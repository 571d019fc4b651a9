#include "tools/hwid/x509/encoding.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "provider/core/error.h"
#include "tools/attest/structures.h"

namespace hwid::tool::x509 {
namespace {

using core::Error;
using core::Reason;

core::Bio reader(const std::string& content) {
  return made(core::Bio(BIO_new_mem_buf(content.data(), static_cast<int>(content.size()))));
}

bool is_pem(const std::string& content) { return content.find("-----BEGIN ") != std::string::npos; }

[[noreturn]] void fail(const std::string& file, const std::string& wanted) {
  const std::string why = ERR_peek_last_error() != 0 ? core::last_libcrypto_error() : "not found";
  ERR_clear_error();
  throw Error(Reason::kBadParameter, "file=" + file + ": it holds no " + wanted + " (" + why +
                                         "); give one in PEM or DER form");
}

// `read` fills an object that knows the library context, or frees it.
template <typename Owner, typename Object>
Owner parse_one(Object* empty, Object* (*read_pem)(BIO*, Object**, pem_password_cb*, void*),
                Object* (*read_der)(BIO*, Object**), BIO* in, bool as_pem, void (*free)(Object*)) {
  if (empty == nullptr) throw std::bad_alloc();
  Object* object = empty;
  Object* const done =
      as_pem ? read_pem(in, &object, &attest::no_passphrase, nullptr) : read_der(in, &object);
  if (done == nullptr) free(object);
  return Owner(done);
}

Certificate parse_certificate(BIO* in, bool as_pem, OSSL_LIB_CTX* crypto) {
  return parse_one<Certificate>(X509_new_ex(crypto, nullptr), &PEM_read_bio_X509, &d2i_X509_bio, in,
                                as_pem, &X509_free);
}

Crl parse_crl(BIO* in, bool as_pem, OSSL_LIB_CTX* crypto) {
  return parse_one<Crl>(X509_CRL_new_ex(crypto, nullptr), &PEM_read_bio_X509_CRL, &d2i_X509_CRL_bio,
                        in, as_pem, &X509_CRL_free);
}

// `what` names one of them.
template <typename Owner>
std::vector<Owner> parse_all(Owner (*parse)(BIO*, bool, OSSL_LIB_CTX*), const std::string& content,
                             const std::string& file, const char* what, OSSL_LIB_CTX* crypto) {
  ERR_clear_error();
  const core::Bio in = reader(content);
  const bool as_pem = is_pem(content);
  std::vector<Owner> all;
  while (Owner one = parse(in.get(), as_pem, crypto)) all.push_back(std::move(one));
  // The end of PEM is "no start line"; anything else is a damaged one.
  const bool at_end = !as_pem || ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (all.empty() || !at_end) fail(file, (at_end ? "" : "undamaged ") + std::string(what));
  ERR_clear_error();
  return all;
}

template <typename Object>
std::string written(int (*write)(BIO*, const Object*), const Object* object) {
  const core::Bio out = made(core::Bio(BIO_new(BIO_s_mem())));
  if (write(out.get(), object) != 1) throw std::bad_alloc();
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

Request parse_request(const std::string& content, const std::string& file, OSSL_LIB_CTX* crypto) {
  ERR_clear_error();
  const core::Bio in = reader(content);
  Request request =
      parse_one<Request>(X509_REQ_new_ex(crypto, nullptr), &PEM_read_bio_X509_REQ,
                         &d2i_X509_REQ_bio, in.get(), is_pem(content), &X509_REQ_free);
  if (!request) fail(file, "certificate request");
  return request;
}

std::vector<Certificate> parse_certificates(const std::string& content, const std::string& file,
                                            OSSL_LIB_CTX* crypto) {
  return parse_all<Certificate>(&parse_certificate, content, file, "certificate", crypto);
}

std::vector<Crl> parse_crls(const std::string& content, const std::string& file,
                            OSSL_LIB_CTX* crypto) {
  return parse_all<Crl>(&parse_crl, content, file, "CRL", crypto);
}

std::string pem(const X509_REQ* request) { return written(&PEM_write_bio_X509_REQ, request); }
std::string pem(const X509* certificate) { return written(&PEM_write_bio_X509, certificate); }
std::string pem(const X509_CRL* crl) { return written(&PEM_write_bio_X509_CRL, crl); }
std::string der(const X509* certificate) { return written(&i2d_X509_bio, certificate); }

}  // namespace hwid::tool::x509
