#include "tools/attest/certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "provider/core/error.h"
#include "provider/core/pem_block.h"
#include "tools/attest/distinguished_name.h"

namespace hwid::attest {

using core::Error;
using core::Reason;

namespace {

using StoreCtx = std::unique_ptr<X509_STORE_CTX, core::FreeWith<X509_STORE_CTX_free>>;
using Purposes = std::unique_ptr<EXTENDED_KEY_USAGE, core::FreeWith<EXTENDED_KEY_USAGE_free>>;
using Crl = std::unique_ptr<X509_CRL, core::FreeWith<X509_CRL_free>>;
using Scope = std::unique_ptr<ISSUING_DIST_POINT, core::FreeWith<ISSUING_DIST_POINT_free>>;
using OctetString = std::unique_ptr<ASN1_OCTET_STRING, core::FreeWith<ASN1_OCTET_STRING_free>>;
using Object = std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>>;

// Empty where the bytes are none, or there is more behind it.
template <typename Owner, typename Asn1>
Owner read_der(Asn1* empty, Asn1* (*read)(Asn1**, const unsigned char**, long),
               core::ByteView der) {
  if (empty == nullptr) throw std::bad_alloc();
  const unsigned char* at = der.data();
  read(&empty, &at, static_cast<long>(der.size()));  // which frees it where that fails
  Owner owner(empty);
  if (owner && at != der.data() + der.size()) owner.reset();
  return owner;
}

// What is critical in certificates of EKs, says nothing about how to verify, and is not known to
// OpenSSL: subjectDirectoryAttributes, which hold the TPM's specification (EK Credential Profile,
// 3.2.10).
bool is_harmless(const X509* certificate) {
  for (int index = 0; index < X509_get_ext_count(certificate); ++index) {
    auto* const extension = X509_get_ext(certificate, index);  // const in OpenSSL 4
    if (X509_EXTENSION_get_critical(extension) == 0 || X509_supported_extension(extension) == 1)
      continue;
    const Object known(OBJ_txt2obj("2.5.29.9", 1));
    if (!known || OBJ_cmp(X509_EXTENSION_get_object(extension), known.get()) != 0) return false;
  }
  return true;
}

using Borrowed =
    std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * some) { sk_X509_free(some); })>;
using CrlList = std::unique_ptr<STACK_OF(X509_CRL), decltype([](STACK_OF(X509_CRL) * all) {
                                  sk_X509_CRL_pop_free(all, X509_CRL_free);
                                })>;

// No CRL that was given is by the certificate's issuer. (One that is, and does not fit, is no
// reason to look away.)
bool is_without_crl(X509_STORE_CTX* ctx) {
  const X509* const certificate = X509_STORE_CTX_get_current_cert(ctx);
  const CrlList crls(X509_STORE_CTX_get1_crls(ctx, X509_get_issuer_name(certificate)));
  return !crls || sk_X509_CRL_num(crls.get()) == 0;
}

int judge(int is_good, X509_STORE_CTX* ctx) {
  if (is_good == 1) return 1;
  const int error = X509_STORE_CTX_get_error(ctx);
  const bool is_at_end = X509_STORE_CTX_get_error_depth(ctx) == 0;
  const bool is_nothing = (error == X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION && is_at_end &&
                           is_harmless(X509_STORE_CTX_get_current_cert(ctx))) ||
                          (error == X509_V_ERR_UNABLE_TO_GET_CRL && is_without_crl(ctx));
  if (!is_nothing) return 0;
  X509_STORE_CTX_set_error(ctx, X509_V_OK);
  return 1;
}

bool is_issued_by(X509* certificate, X509* issuer) {
  EVP_PKEY* const key = X509_get0_pubkey(issuer);
  return X509_check_issued(issuer, certificate) == X509_V_OK && key != nullptr &&
         X509_verify(certificate, key) == 1;
}

// By its name alone: its index goes on where the CA takes a new key.
bool is_of_ca(const X509* certificate, const X509* ca) {
  return X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(ca)) == 0;
}

// Why nobody here goes by such a CRL; empty: it is one like others. OpenSSL, as it is used here,
// would pass over it, and so revoke nobody, or asks for no other one where it finds none.
std::string fault_of_crl(const X509_CRL* crl) {
  if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
    return "a delta CRL, which has only what is new";
  if (X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) < 0) return {};
  const Scope scope(static_cast<ISSUING_DIST_POINT*>(
      X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, nullptr, nullptr)));
  if (!scope) return "one whose issuingDistributionPoint is damaged, or there twice";
  if (scope->indirectCRL > 0) return "an indirect CRL, which is about other issuers' certificates";
  if (scope->onlysomereasons != nullptr)
    return "a CRL for some reasons only (onlySomeReasons), which leaves the others open";
  return {};
}

constexpr std::string_view kBegin = "-----BEGIN ";

std::size_t count_blocks(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(kBegin); at != std::string_view::npos;
       at = text.find(kBegin, at + kBegin.size()))
    ++count;
  return count;
}

// What is wrong is a CRL, not the certificate.
bool is_of_crl(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
      return true;
    default:
      return false;
  }
}

std::string fault_of_chain(X509_STORE_CTX* ctx, const std::string& from) {
  const int error = X509_STORE_CTX_get_error(ctx);
  const bool is_own = X509_STORE_CTX_get_error_depth(ctx) == 0;
  const char* const scope = error == X509_V_ERR_DIFFERENT_CRL_SCOPE
                                ? ": its issuer's CRL is for other certificates "
                                  "(issuingDistributionPoint: of users or CAs "
                                  "alone, or of another distribution point)"
                                : "";
  std::string text = std::string("X509_verify_cert: ") + X509_verify_cert_error_string(error) +
                     scope + (is_own ? ", by " : " (of a CA above it), by ") + from;
  const X509* const current = X509_STORE_CTX_get_current_cert(ctx);
  if (is_of_crl(error) && current != nullptr)
    text += "; get a new CRL of " + distinguished_name(X509_get_issuer_name(current)) +
            ", or take it away";
  return text;
}

// Whom the index calls revoked: the certificate, or a CA on its way to the anchor, which itself is
// nobody's to judge. A serial number says nothing about the certificates of other issuers.
std::string fault_by_index(const STACK_OF(X509) * chain, const Anchors& anchors) {
  if (!anchors.index_issuer) return {};
  const int below_anchor = std::max(sk_X509_num(chain) - 1, 1);
  for (int depth = 0; depth < below_anchor; ++depth) {
    X509* const certificate = sk_X509_value(chain, depth);
    const std::string serial = serial_text(X509_get0_serialNumber(certificate));
    if (std::ranges::find(anchors.revoked, serial) != anchors.revoked.end() &&
        is_of_ca(certificate, anchors.index_issuer.get()))
      return (depth == 0 ? "it is revoked, by " : "a CA above it is revoked, by ") + anchors.path;
  }
  return {};
}

// Takes what is in the files, one after the other.
class Filling {
 public:
  Filling(const core::Libcrypto& crypto, Anchors& anchors) : crypto_(crypto), anchors_(anchors) {}

  void add(const AnchorFile& file) {
    if (file.content.find(kBegin) != std::string::npos)
      add_pem(file);
    else if (!add_certificate(core::as_bytes(file.content)) &&
             !add_crl(file, core::as_bytes(file.content)))
      fail(file, "it is neither a certificate nor a CRL, in PEM or DER, or damaged");
  }

  // A chain goes up as far as there are certificates: the CRL of a CA that is passed over would
  // count for nobody. False: there is no certificate at all.
  bool finish() {
    const bool is_any = !all_.empty();
    for (const core::Certificate& one : all_) {
      const bool is_below = std::ranges::any_of(all_, [&](const core::Certificate& other) {
        return X509_cmp(one.get(), other.get()) != 0 && is_issued_by(one.get(), other.get());
      });
      X509* const certificate = one.get();
      if (is_below && !is_issued_by(certificate, certificate)) {
        X509_up_ref(certificate);
        anchors_.between.emplace_back(certificate);
      } else if (X509_STORE_add_cert(anchors_.store.get(), certificate) != 1) {
        throw std::bad_alloc();
      }
    }
    return is_any;
  }

 private:
  [[noreturn]] static void fail(const AnchorFile& file, const std::string& why) {
    throw Error(Reason::kBadParameter,
                "file=" + file.path + ": " + why + "; get it anew, or take it away");
  }

  void add_pem(const AnchorFile& file) {
    const core::Bio in(BIO_new_mem_buf(file.content.data(), static_cast<int>(file.content.size())));
    if (!in) throw std::bad_alloc();
    for (std::size_t blocks = 0;; ++blocks) {
      core::PemBlock block;
      if (!block.read(in.get())) {
        if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
          fail(file, "a PEM block in it is damaged or cut off");
        if (blocks == count_blocks(file.content)) return;
        fail(file,
             "a PEM block in it does not begin its line, so nobody reads it (is it indented, or do "
             "its lines end by CR alone?)");
      }
      const bool is_crl = std::string_view(block.label) == PEM_STRING_X509_CRL;
      if (!block.is_certificate() && !is_crl) continue;
      const bool is_added = !block.is_encrypted() && (is_crl ? add_crl(file, block.bytes())
                                                             : add_certificate(block.bytes()));
      if (!is_added)
        fail(file, std::string("a ") + (is_crl ? "CRL" : "certificate") + " in it is damaged");
    }
  }

  bool add_certificate(core::ByteView der) {
    core::Certificate one =
        read_der<core::Certificate>(X509_new_ex(crypto_.get(), core::kNotHwid), &d2i_X509_AUX, der);
    if (!one) return false;
    all_.push_back(std::move(one));
    return true;
  }

  bool add_crl(const AnchorFile& file, core::ByteView der) {
    const Crl one =
        read_der<Crl>(X509_CRL_new_ex(crypto_.get(), core::kNotHwid), &d2i_X509_CRL, der);
    if (!one) return false;
    if (const std::string fault = fault_of_crl(one.get()); !fault.empty())
      fail(file, "the CRL of " + distinguished_name(X509_CRL_get_issuer(one.get())) + " in it is " +
                     fault + ", and is not gone by: give the issuer's complete CRL");
    if (X509_STORE_add_crl(anchors_.store.get(), one.get()) != 1) throw std::bad_alloc();
    return true;
  }

  const core::Libcrypto& crypto_;
  Anchors& anchors_;
  std::vector<core::Certificate> all_;
};

}  // namespace

std::string serial_text(const ASN1_INTEGER* serial) {
  const core::BigNum number(ASN1_INTEGER_to_BN(serial, nullptr));
  char* const text = number ? BN_bn2hex(number.get()) : nullptr;
  if (text == nullptr) throw std::bad_alloc();
  std::string hex = text;
  OPENSSL_free(text);
  return hex;
}

Anchors make_anchors(const core::Libcrypto& crypto, std::span<const AnchorFile> files,
                     const std::string& path) {
  const core::ErrorMark mark;
  Anchors anchors;
  anchors.path = path;
  anchors.store.reset(X509_STORE_new());
  if (!anchors.store) throw std::bad_alloc();
  Filling filling(crypto, anchors);
  for (const AnchorFile& file : files) filling.add(file);
  if (!filling.finish())
    throw Error(Reason::kBadParameter,
                "file=" + path +
                    ": there is no certificate in it; give the CA's certificate, or a directory "
                    "with those of root and intermediate CAs");
  X509_STORE_set_flags(anchors.store.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK |
                                                X509_V_FLAG_CRL_CHECK_ALL);
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
  if (X509_check_ca(certificate) != 0) return "it is a CA's own certificate";
  // Without the extension it is for all.
  const bool is_for_signatures = (X509_get_key_usage(certificate) & KU_DIGITAL_SIGNATURE) != 0;
  if (std::string_view(purpose) == kAkPurpose && !is_for_signatures)
    return "its key usage has no digitalSignature: it is for no key that attests";
  const Borrowed between(sk_X509_new_null());
  if (!between) throw std::bad_alloc();
  for (const core::Certificate& one : anchors.between) {
    if (sk_X509_push(between.get(), one.get()) <= 0) throw std::bad_alloc();
  }
  const StoreCtx ctx(X509_STORE_CTX_new_ex(crypto.get(), core::kNotHwid));
  if (!ctx || X509_STORE_CTX_init(ctx.get(), anchors.store.get(), certificate, between.get()) != 1)
    throw std::bad_alloc();
  X509_STORE_CTX_set_verify_cb(ctx.get(), judge);
  // No SHA-1, and nothing below 112 bits, as weakness_of() says of keys.
  X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx.get()), 2);
  if (X509_verify_cert(ctx.get()) != 1) return fault_of_chain(ctx.get(), anchors.path);
  return fault_by_index(X509_STORE_CTX_get0_chain(ctx.get()), anchors);
}

}  // namespace hwid::attest
