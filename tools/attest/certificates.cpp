#include "tools/attest/certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "provider/core/error.h"
#include "tools/attest/structures.h"

namespace hwid::attest {

using core::Error;
using core::Reason;

namespace {

using StoreCtx = std::unique_ptr<X509_STORE_CTX, core::FreeWith<X509_STORE_CTX_free>>;
using Purposes = std::unique_ptr<EXTENDED_KEY_USAGE, core::FreeWith<EXTENDED_KEY_USAGE_free>>;
using Crl = std::unique_ptr<X509_CRL, core::FreeWith<X509_CRL_free>>;
using OctetString = std::unique_ptr<ASN1_OCTET_STRING, core::FreeWith<ASN1_OCTET_STRING_free>>;
using Object = std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>>;

core::Bio reader(const std::string& content) {
  core::Bio in(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  if (!in) throw std::bad_alloc();
  return in;
}

core::Certificate read_certificate(BIO* in, bool as_pem, OSSL_LIB_CTX* crypto) {
  X509* certificate = X509_new_ex(crypto, core::kNotHwid);
  X509* const done = as_pem ? PEM_read_bio_X509(in, &certificate, &no_passphrase, nullptr)
                            : d2i_X509_bio(in, &certificate);
  if (done == nullptr) X509_free(certificate);
  return core::Certificate(done);
}

Crl read_crl(BIO* in, bool as_pem, OSSL_LIB_CTX* crypto) {
  X509_CRL* crl = X509_CRL_new_ex(crypto, core::kNotHwid);
  X509_CRL* const done = as_pem ? PEM_read_bio_X509_CRL(in, &crl, &no_passphrase, nullptr)
                                : d2i_X509_CRL_bio(in, &crl);
  if (done == nullptr) X509_CRL_free(crl);
  return Crl(done);
}

// What is critical in certificates of EKs, says nothing about how to verify, and is not known to
// OpenSSL: subjectDirectoryAttributes, which hold the TPM's specification (EK Credential Profile,
// 3.2.10).
bool is_harmless(const X509* certificate) {
  for (int index = 0; index < X509_get_ext_count(certificate); ++index) {
    X509_EXTENSION* const extension = X509_get_ext(certificate, index);
    if (X509_EXTENSION_get_critical(extension) == 0 || X509_supported_extension(extension) == 1)
      continue;
    const Object known(OBJ_txt2obj("2.5.29.9", 1));
    if (!known || OBJ_cmp(X509_EXTENSION_get_object(extension), known.get()) != 0) return false;
  }
  return true;
}

int judge(int is_good, X509_STORE_CTX* ctx) {
  const bool is_unknown = X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION;
  if (is_good == 1 || !is_unknown || X509_STORE_CTX_get_error_depth(ctx) != 0 ||
      !is_harmless(X509_STORE_CTX_get_current_cert(ctx)))
    return is_good;
  X509_STORE_CTX_set_error(ctx, X509_V_OK);
  return 1;
}

std::string serial_of(const X509* certificate) {
  const core::BigNum number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* const hex = number ? BN_bn2hex(number.get()) : nullptr;
  std::string text = hex != nullptr ? hex : "";
  OPENSSL_free(hex);
  return text;
}

}  // namespace

Anchors make_anchors(const core::Libcrypto& crypto, const std::vector<std::string>& contents,
                     const std::string& path) {
  const core::ErrorMark mark;
  Anchors anchors;
  anchors.path = path;
  anchors.store.reset(X509_STORE_new());
  if (!anchors.store) throw std::bad_alloc();
  X509_STORE* const store = anchors.store.get();
  std::size_t certificates = 0;
  bool has_crl = false;
  for (const std::string& content : contents) {
    const bool as_pem = content.find("-----BEGIN ") != std::string::npos;
    const core::Bio in = reader(content);
    while (const core::Certificate one = read_certificate(in.get(), as_pem, crypto.get())) {
      ++certificates;
      if (X509_STORE_add_cert(store, one.get()) != 1) throw std::bad_alloc();
    }
    const core::Bio again = reader(content);
    while (const Crl crl = read_crl(again.get(), as_pem, crypto.get())) {
      has_crl = true;
      if (X509_STORE_add_crl(store, crl.get()) != 1) throw std::bad_alloc();
    }
  }
  if (certificates == 0)
    throw Error(Reason::kBadParameter,
                "file=" + path +
                    ": there is no certificate in it; give the CA's certificate, or a directory "
                    "with those of root and intermediate CAs");
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | (has_crl ? X509_V_FLAG_CRL_CHECK : 0UL));
  return anchors;
}

std::string ek_digest_value(core::ByteView digest) {
  const OctetString text(ASN1_OCTET_STRING_new());
  unsigned char* data = nullptr;
  if (!text ||
      ASN1_OCTET_STRING_set(text.get(), digest.data(), static_cast<int>(digest.size())) != 1)
    throw std::bad_alloc();
  const int size = i2d_ASN1_OCTET_STRING(text.get(), &data);
  if (size <= 0) throw std::bad_alloc();
  std::string der(reinterpret_cast<char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(data);
  return der;
}

core::Bytes ek_digest_in(const X509* ak_certificate) {
  constexpr int kDigestSize = 32;
  const core::ErrorMark mark;
  const Object oid(OBJ_txt2obj(kAkEkOid, 1));
  if (!oid) throw std::bad_alloc();
  const int index = X509_get_ext_by_OBJ(ak_certificate, oid.get(), -1);
  if (index < 0) return {};
  const ASN1_OCTET_STRING* const value =
      X509_EXTENSION_get_data(X509_get_ext(ak_certificate, index));
  const unsigned char* at = ASN1_STRING_get0_data(value);
  const unsigned char* const end = at + ASN1_STRING_length(value);
  const OctetString digest(d2i_ASN1_OCTET_STRING(nullptr, &at, ASN1_STRING_length(value)));
  if (!digest || at != end || ASN1_STRING_length(digest.get()) != kDigestSize ||
      X509_get_ext_by_OBJ(ak_certificate, oid.get(), index) >= 0)
    throw Error(Reason::kBadParameter,
                std::string("the AK's certificate says in a damaged form which EK it was accepted "
                            "beside (") +
                    kAkEkOid + "); have the AK certified anew");
  const unsigned char* const bytes = ASN1_STRING_get0_data(digest.get());
  return {bytes, bytes + kDigestSize};
}

bool has_purpose(const X509* certificate, const char* purpose) {
  const Purposes purposes(static_cast<EXTENDED_KEY_USAGE*>(
      X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr)));
  const Object wanted(OBJ_txt2obj(purpose, 1));
  if (!purposes || !wanted) return false;
  for (int index = 0; index < sk_ASN1_OBJECT_num(purposes.get()); ++index) {
    if (OBJ_cmp(sk_ASN1_OBJECT_value(purposes.get(), index), wanted.get()) == 0) return true;
  }
  return false;
}

std::string fault_of(const core::Libcrypto& crypto, X509* certificate, const Anchors& anchors,
                     const char* purpose, const char* what) {
  const core::ErrorMark mark;
  if (!has_purpose(certificate, purpose))
    return std::string("it is no certificate of ") + what + " (extended key usage " + purpose + ")";
  if (X509_check_ca(certificate) == 1) return "it is a CA's own certificate";
  const StoreCtx ctx(X509_STORE_CTX_new_ex(crypto.get(), core::kNotHwid));
  if (!ctx || X509_STORE_CTX_init(ctx.get(), anchors.store.get(), certificate, nullptr) != 1)
    throw std::bad_alloc();
  X509_STORE_CTX_set_verify_cb(ctx.get(), judge);
  if (X509_verify_cert(ctx.get()) != 1)
    return std::string("X509_verify_cert: ") +
           X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx.get())) + ", by " +
           anchors.path;
  if (std::ranges::find(anchors.revoked, serial_of(certificate)) != anchors.revoked.end())
    return "it is revoked, by " + anchors.path;
  return {};
}

}  // namespace hwid::attest
