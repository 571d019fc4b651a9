#include "tools/hwid/x509/signing.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <array>
#include <cstdio>
#include <ctime>

#include "provider/core/error.h"
#include "tools/hwid/command.h"
#include "tools/hwid/crypto_error.h"

namespace hwid::tool::x509 {
namespace {

constexpr char kNext[] = "see that the key may sign, and that its token is there";

bool is_rsa(EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "RSA") == 1 || EVP_PKEY_is_a(key, "RSA-PSS") == 1;
}

// NIST SP 800-57 part 1, table 3: a digest as strong as the curve.
const char* digest_by_key(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "EC") != 1) return "SHA256";
  const int bits = EVP_PKEY_get_bits(key);
  return bits > 384 ? "SHA512" : bits > 256 ? "SHA384" : "SHA256";
}

bool same_digest(const std::string& a, const char* b, OSSL_LIB_CTX* crypto) {
  const core::ErrorMark mark;
  const core::EvpMd digest(EVP_MD_fetch(crypto, a.c_str(), nullptr));
  return digest && EVP_MD_is_a(digest.get(), b) == 1;
}

core::EvpMdCtx begin(EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto) {
  ERR_clear_error();
  core::EvpMdCtx ctx = made(core::EvpMdCtx(EVP_MD_CTX_new()));
  EVP_PKEY_CTX* parameters = nullptr;  // belongs to ctx
  const char* const digest = form.digest.empty() ? nullptr : form.digest.c_str();
  if (EVP_DigestSignInit_ex(ctx.get(), &parameters, digest, crypto, nullptr, key, nullptr) != 1)
    throw_crypto_error("EVP_DigestSignInit", kNext);
  if (form.pss && (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) <= 0 ||
                   EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) <= 0))
    throw_crypto_error("EVP_PKEY_CTX_set_rsa_padding: PSS", kNext);
  return ctx;
}

template <typename Object>
void sign_with(int (*function)(Object*, EVP_MD_CTX*), Object* object, EVP_PKEY* key,
               const SignatureForm& form, OSSL_LIB_CTX* crypto, const char* call) {
  const core::EvpMdCtx ctx = begin(key, form, crypto);
  if (function(object, ctx.get()) <= 0) throw_crypto_error(call, kNext);
}

}  // namespace

SignatureForm signature_form(EVP_PKEY* key, const std::string& digest, bool pss,
                             OSSL_LIB_CTX* crypto) {
  SignatureForm form;
  form.pss = pss || EVP_PKEY_is_a(key, "RSA-PSS") == 1;
  if (pss && !is_rsa(key)) throw UsageError("--pss: the key is no RSA key");
  std::array<char, 64> preferred{};
  const core::ErrorMark mark;
  const bool only = EVP_PKEY_get_default_digest_name(key, preferred.data(), preferred.size()) == 2;
  if (only && std::string_view(preferred.data()) == "UNDEF") {
    if (!digest.empty()) throw UsageError("--digest: the key's algorithm has its own");
    return form;
  }
  if (only && !digest.empty() && !same_digest(digest, preferred.data(), crypto))
    throw UsageError("--digest: the key signs " + std::string(preferred.data()) + " alone");
  form.digest = only ? preferred.data() : digest.empty() ? digest_by_key(key) : digest;
  const core::EvpMd fetched(EVP_MD_fetch(crypto, form.digest.c_str(), nullptr));
  if (!fetched)
    throw UsageError("--digest: \"" + digest + "\" is not known; use sha256, sha384 or sha512");
  if (EVP_MD_get_size(fetched.get()) < 28 || (EVP_MD_get_flags(fetched.get()) & EVP_MD_FLAG_XOF))
    throw UsageError("--digest: " + digest +
                     " is too weak for a certificate, or no digest of fixed length; use sha256, "
                     "sha384 or sha512");
  return form;
}

void sign(X509_REQ* request, EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto) {
  sign_with(&X509_REQ_sign_ctx, request, key, form, crypto, "X509_REQ_sign_ctx");
}
void sign(X509* certificate, EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto) {
  sign_with(&X509_sign_ctx, certificate, key, form, crypto, "X509_sign_ctx");
}
void sign(X509_CRL* crl, EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto) {
  sign_with(&X509_CRL_sign_ctx, crl, key, form, crypto, "X509_CRL_sign_ctx");
}

Integer random_serial(OSSL_LIB_CTX* crypto) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes_ex(crypto, bytes.data(), bytes.size(), 0) != 1)
    throw_crypto_error("RAND_bytes", "activate the default provider in openssl.cnf");
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3f) | 0x40);
  const core::BigNum number = made(core::BigNum(BN_bin2bn(bytes.data(), bytes.size(), nullptr)));
  return made(Integer(BN_to_ASN1_INTEGER(number.get(), nullptr)));
}

long parse_days(long days) {
  if (days < 1 || days > 36500)
    throw UsageError("--days: " + std::to_string(days) + " is not between 1 and 36500");
  return days;
}

Time time_from_now(long days, long seconds) {
  return made(Time(ASN1_TIME_adj(nullptr, std::time(nullptr), static_cast<int>(days), seconds)));
}

bool is_past(const ASN1_TIME* time) noexcept {
  if (time == nullptr) return false;
  const int order = ASN1_TIME_cmp_time_t(time, std::time(nullptr));
  return order == -1 || order == 0;  // as X509_verify_cert() counts; -2: no time
}

std::string time_text(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return "?";
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace hwid::tool::x509
