#include "transport/cloud/est_anchors.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <set>

#include "transport/certificate_text.h"

namespace hwid::transport::est {

namespace {

constexpr std::size_t kDigits = 64;  // of SHA-256

using StackPtr = std::unique_ptr<STACK_OF(X509),
                                 OpensslDelete<[](STACK_OF(X509) * list) { sk_X509_free(list); }>>;
using TrustPtr = std::unique_ptr<X509_STORE, OpensslDelete<X509_STORE_free>>;
using PathPtr = std::unique_ptr<X509_STORE_CTX, OpensslDelete<X509_STORE_CTX_free>>;

X509Ptr same(X509* certificate) {
  if (X509_up_ref(certificate) != 1) throw std::bad_alloc();
  return X509Ptr(certificate);
}

std::string colons(const std::string& digits) {
  std::string text;
  for (std::size_t at = 0; at < digits.size(); ++at) {
    if (at != 0 && at % 2 == 0) text += ':';
    text += static_cast<char>(std::toupper(static_cast<unsigned char>(digits[at])));
  }
  return text;
}

bool is_for(const X509* certificate, const EVP_PKEY* key) {
  const EVP_PKEY* const its = X509_get0_pubkey(certificate);
  const bool fits = its != nullptr && EVP_PKEY_eq(its, key) == 1;
  ERR_clear_error();
  return fits;
}

[[noreturn]] void refuse(const std::string& url, const std::string& why, const std::string& next) {
  throw Error(ErrorKind::refused, "EST", url, why, next);
}

X509* issued_for(const std::vector<X509Ptr>& answer, const EVP_PKEY* key, const std::string& url) {
  X509* found = nullptr;
  for (const X509Ptr& certificate : answer) {
    if (!is_for(certificate.get(), key)) continue;
    if (found != nullptr && X509_cmp(found, certificate.get()) != 0)
      refuse(url, "the answer has several certificates for our key",
             "the CA must issue one at a time");
    found = certificate.get();
  }
  if (found == nullptr)
    refuse(url,
           "the issued certificate is for another key than ours (subject " +
               subject_of(answer.front().get()) + ")",
           "it is thrown away; tell the CA's operator");
  return found;
}

void check_certificate(const X509* certificate, const std::string& url) {
  if (validity_of(certificate) == Validity::expired)
    refuse(url, "the issued certificate has ended already (" + dates_of(certificate) + ")",
           "check the clock of this machine, and the CA's");
  // (OpenSSL caches extensions in the object, so the function wants it without const.)
  if ((X509_get_extension_flags(const_cast<X509*>(certificate)) & EXFLAG_CA) != 0)
    refuse(url, "the issued certificate is that of a CA (" + subject_of(certificate) + ")",
           "the CA's profile for devices must say CA:FALSE");
}

// Clocks that differ a little must not matter: dates were looked at.
Issued path_of(X509* certificate, const std::vector<X509Ptr>& anchors,
               const std::vector<X509Ptr>& others, const std::string& url) {
  const TrustPtr trust(X509_STORE_new());
  const StackPtr untrusted(sk_X509_new_null());
  const PathPtr path(X509_STORE_CTX_new());
  if (!trust || !untrusted || !path) throw std::bad_alloc();
  for (const X509Ptr& anchor : anchors) X509_STORE_add_cert(trust.get(), anchor.get());
  for (const X509Ptr& other : others) sk_X509_push(untrusted.get(), other.get());
  if (X509_STORE_CTX_init(path.get(), trust.get(), certificate, untrusted.get()) != 1)
    throw std::bad_alloc();
  X509_STORE_CTX_set_flags(path.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
  const bool good = X509_verify_cert(path.get()) == 1;
  ERR_clear_error();
  if (!good)
    refuse(url,
           "no CA of cacerts vouches for the issued certificate (issuer " + issuer_of(certificate) +
               "): " + X509_verify_cert_error_string(X509_STORE_CTX_get_error(path.get())),
           "the CA's operator must let cacerts hold the whole chain");
  Issued issued{same(certificate), {}};
  const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(path.get());
  for (int i = 1; i < sk_X509_num(chain); ++i) {
    X509* const link = sk_X509_value(chain, i);
    // Who verifies has the root; an intermediate CA that cacerts names as anchor he may lack.
    if (i + 1 == sk_X509_num(chain) && X509_self_signed(link, 0) == 1) break;
    issued.chain.push_back(same(link));
  }
  ERR_clear_error();
  return issued;
}

void print(BIO* out, const X509Ptr& certificate) {
  if (PEM_write_bio_X509(out, certificate.get()) != 1) throw std::bad_alloc();
}

std::string text_of(const BioPtr& out) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  return {bytes, static_cast<std::size_t>(std::max(size, 0L))};
}

}  // namespace

std::string parse_fingerprint(const std::string& text) {
  constexpr std::string_view kPrefix = "sha256:";
  std::string digits;
  for (const unsigned char c : text) digits += static_cast<char>(std::tolower(c));
  if (digits.rfind(kPrefix, 0) == 0) digits.erase(0, kPrefix.size());
  std::erase(digits, ':');
  if (digits.size() != kDigits || digits.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw Error(ErrorKind::usage, "EST", "the fingerprint of the CA", "it is not one of SHA-256",
                "write 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` does");
  return digits;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) throw std::bad_alloc();
  std::string digits;
  constexpr const char* kHex = "0123456789abcdef";
  for (unsigned i = 0; i < size; ++i) {
    digits += kHex[digest[i] >> 4];
    digits += kHex[digest[i] & 15];
  }
  return digits;
}

std::vector<X509Ptr> pinned_anchor(const std::vector<X509Ptr>& offered,
                                   const std::string& fingerprint, const X509* server,
                                   const std::string& url) {
  std::string others;
  for (const X509Ptr& certificate : offered) {
    const std::string digits = fingerprint_of(certificate.get());
    if (digits == fingerprint) {
      std::vector<X509Ptr> anchor;
      anchor.push_back(same(certificate.get()));
      return anchor;
    }
    others += (others.empty() ? "" : ", ") + subject_of(certificate.get()) + " " + colons(digits);
  }
  if (server != nullptr && fingerprint_of(server) == fingerprint)
    refuse(url,
           "the fingerprint " + colons(fingerprint) + " is that of the server's own certificate, " +
               subject_of(server) + ", and not of a CA; it offers: " + others,
           "get the CA's fingerprint from its operator by another way, and give that "
           "(--fingerprint)");
  refuse(url,
         "no certificate that the server offers has the fingerprint " + colons(fingerprint) +
             "; it offers: " + others,
         "get the fingerprint from the CA's operator by another way, and compare: somebody may "
         "stand between");
}

std::vector<X509Ptr> anchors_in(const std::vector<X509Ptr>& certificates) {
  std::vector<X509Ptr> anchors;
  for (const X509Ptr& certificate : certificates)
    if (X509_self_signed(certificate.get(), 1) == 1) anchors.push_back(same(certificate.get()));
  ERR_clear_error();
  if (anchors.empty())
    for (const X509Ptr& certificate : certificates) anchors.push_back(same(certificate.get()));
  return anchors;
}

bool same_certificates(const std::vector<X509Ptr>& one, const std::vector<X509Ptr>& other) {
  const auto set_of = [](const std::vector<X509Ptr>& certificates) {
    std::set<std::string> set;
    for (const X509Ptr& certificate : certificates) set.insert(fingerprint_of(certificate.get()));
    return set;
  };
  return set_of(one) == set_of(other);
}

Issued judge_issued(const std::vector<X509Ptr>& answer, const EVP_PKEY* key,
                    const std::vector<X509Ptr>& authorities, const std::string& url) {
  X509* const certificate = issued_for(answer, key, url);
  check_certificate(certificate, url);
  std::vector<X509Ptr> others;
  for (const auto* const list : {&answer, &authorities})
    for (const X509Ptr& other : *list) others.push_back(same(other.get()));
  return path_of(certificate, anchors_in(authorities), others, url);
}

std::string pem_of(const std::vector<X509Ptr>& certificates) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!out) throw std::bad_alloc();
  for (const X509Ptr& certificate : certificates) print(out.get(), certificate);
  return text_of(out);
}

std::string pem_of(const Issued& issued) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!out) throw std::bad_alloc();
  print(out.get(), issued.certificate);
  for (const X509Ptr& certificate : issued.chain) print(out.get(), certificate);
  return text_of(out);
}

}  // namespace hwid::transport::est
