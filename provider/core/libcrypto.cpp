#include "provider/core/libcrypto.h"

#include <openssl/err.h>
#include <openssl/provider.h>

#include <array>
#include <new>

namespace hwid::core {

Libcrypto::Libcrypto(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls)
    : context_(OSSL_LIB_CTX_new_child(handle, upcalls)) {
  if (context_ == nullptr) throw std::bad_alloc();
}

Libcrypto::Libcrypto() : context_(OSSL_LIB_CTX_new()) {
  if (context_ == nullptr) throw std::bad_alloc();
}

Libcrypto::~Libcrypto() {
  OSSL_LIB_CTX_free(substitute_);
  OSSL_LIB_CTX_free(context_);
}

bool Libcrypto::can_hash() const noexcept {
  const ErrorMark mark;
  if (!EvpMd(EVP_MD_fetch(context_, "SHA256", kNotHwid))) return false;
  complete_.store(true, std::memory_order_release);
  return true;
}

// A context without any provider of its own has the default one.
OSSL_LIB_CTX* Libcrypto::substitute() const noexcept {
  OSSL_LIB_CTX* current = substitute_.load(std::memory_order_acquire);
  if (current != nullptr) return current;
  OSSL_LIB_CTX* const made = OSSL_LIB_CTX_new();
  if (made == nullptr) return context_;
  if (substitute_.compare_exchange_strong(current, made, std::memory_order_acq_rel)) return made;
  OSSL_LIB_CTX_free(made);  // another thread was first
  return current;
}

// Only a child of the application's context can use its streams.
Bio Libcrypto::bio(OSSL_CORE_BIO* stream) const {
  Bio bio(BIO_new_from_core_bio(context_, stream));
  if (!bio) throw std::bad_alloc();
  return bio;
}

void Libcrypto::require_base_provider() const {
  if (is_complete()) return;
  throw Error(
      Reason::kNoBaseProvider,
      "no base provider is active (SHA2-256 cannot be fetched), and PKCS#11 modules hash with "
      "OpenSSL; add `-provider default` to the command, or the default provider "
      "with `activate = 1` to openssl.cnf");
}

EvpMd Libcrypto::fetch_digest(const std::string& name, const std::string& properties) const {
  const std::string query =
      properties.empty() ? std::string(kNotHwid) : properties + "," + kNotHwid;
  EvpMd digest;
  {
    const ErrorMark mark;
    digest.reset(EVP_MD_fetch(get(), name.c_str(), query.c_str()));
    // A query such as provider=hwid chooses the key's provider, not the digest's.
    if (!digest && properties.find("provider") != std::string::npos)
      digest.reset(EVP_MD_fetch(get(), name.c_str(), kNotHwid));
  }
  if (!digest)
    throw Error(Reason::kUnsupported, "EVP_MD_fetch: digest " + name +
                                          " is not offered by the active providers; activate one "
                                          "that has it");
  return digest;
}

namespace {

// Some TPM makers certify an RSA endorsement key as id-RSAES-OAEP (RFC 4055, 4.1), which says what
// it may be used for, and OpenSSL reads no such key. It is an RSA key like others: decoded once
// more as that, in its place, while what was signed stays as it came.
void read_oaep_key(X509* certificate) {
  // OpenSSL 4 gives it out as const; the certificate is ours alone yet.
  auto* key = const_cast<X509_PUBKEY*>(X509_get_X509_PUBKEY(certificate));
  ASN1_OBJECT* algorithm = nullptr;
  const unsigned char* bits = nullptr;
  int size = 0;
  if (X509_PUBKEY_get0_param(&algorithm, &bits, &size, nullptr, key) != 1 ||
      OBJ_obj2nid(algorithm) != NID_rsaesOaep)
    return;
  using Key = std::unique_ptr<X509_PUBKEY, FreeWith<X509_PUBKEY_free>>;
  const Key plain(X509_PUBKEY_new());
  void* const copy = OPENSSL_memdup(bits, static_cast<std::size_t>(size));
  if (!plain || copy == nullptr ||
      X509_PUBKEY_set0_param(plain.get(), OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL, nullptr,
                             static_cast<unsigned char*>(copy), size) != 1) {
    OPENSSL_free(copy);
    throw std::bad_alloc();
  }
  unsigned char* der = nullptr;
  const int length = i2d_X509_PUBKEY(plain.get(), &der);
  if (length <= 0) throw std::bad_alloc();
  const unsigned char* at = der;
  d2i_X509_PUBKEY(&key, &at, length);
  OPENSSL_free(der);
}

}  // namespace

Certificate parse_certificate(const Libcrypto& crypto, ByteView der) {
  const std::uint8_t* at = der.data();
  X509* into = X509_new_ex(crypto.get(), kNotHwid);  // freed by d2i_X509 where that fails
  d2i_X509(&into, &at, static_cast<long>(der.size()));
  Certificate certificate(into);
  if (certificate) read_oaep_key(certificate.get());
  return certificate;
}

Secret hmac(const Libcrypto& crypto, const char* digest, ByteView key, ByteView data) {
  Secret mac(std::size_t{EVP_MAX_MD_SIZE});
  std::size_t size = 0;
  const unsigned char* const made =
      EVP_Q_mac(crypto.get(), "HMAC", kNotHwid, digest, nullptr, key.data(), key.size(),
                data.data(), data.size(), mac.writable().data(), mac.size(), &size);
  if (made == nullptr)
    throw Error(Reason::kLibcrypto, std::string("HMAC-") + digest + ": " + last_libcrypto_error());
  mac.truncate(size);
  return mac;
}

Secret hmac_sha256(const Libcrypto& crypto, ByteView key, ByteView data) {
  return hmac(crypto, "SHA256", key, data);
}

std::string last_libcrypto_error() {
  const char* text = nullptr;
  int flags = 0;
  const unsigned long code = ERR_peek_last_error_all(nullptr, nullptr, nullptr, &text, &flags);
  if (code == 0) return "no reason given";
  std::array<char, 256> line{};
  ERR_error_string_n(code, line.data(), line.size());
  std::string message = line.data();
  if ((flags & ERR_TXT_STRING) != 0 && text != nullptr && *text != '\0')
    message.append(" (").append(text).append(")");
  return message;
}

ErrorMark::ErrorMark() { ERR_set_mark(); }
ErrorMark::~ErrorMark() { ERR_pop_to_mark(); }

}  // namespace hwid::core
