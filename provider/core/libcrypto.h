// OpenSSL as the provider itself uses it: owners of its objects, and the one library context.
#pragma once

#include <openssl/bio.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "provider/core/bytes.h"
#include "provider/core/error.h"
#include "provider/core/secret.h"

namespace hwid::core {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using EvpPkey = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using EvpPkeyCtx = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using EvpMd = std::unique_ptr<EVP_MD, FreeWith<EVP_MD_free>>;
using EvpMdCtx = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using Params = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using BigNum = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using Bio = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;

// Every fetch of ours asks for this, so that it never comes back to us: the child context mirrors
// our own provider and the application's default properties. All our algorithms carry hwid.keys=yes
// (OpenSSL wants a dot in names that are not its own), whatever the name of the section that loaded
// us.
inline constexpr char kNotHwid[] = "hwid.keys!=yes";

// The library context in which the provider does its software work: a child of the application's,
// so it follows the application's choice of providers (FIPS). Where that is none which hashes, as
// in `openssl -provider tpm2 -provider base`, a context of its own with the default provider: keys
// in a TPM then work all the same. Thread-safe.
class Libcrypto {
 public:
  // Takes the handle and dispatch table of OSSL_provider_init.
  Libcrypto(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls);
  Libcrypto();  // with the default provider: for tools and unit tests
  ~Libcrypto();
  Libcrypto(const Libcrypto&) = delete;
  Libcrypto& operator=(const Libcrypto&) = delete;

  OSSL_LIB_CTX* get() const noexcept { return is_complete() ? context_ : substitute(); }

  // The child itself, whatever its providers can do.
  OSSL_LIB_CTX* child() const noexcept { return context_; }

  // Whether the application's providers hash (and so have all the rest). Once they do it is not
  // asked again; before, they may be activated at any time.
  bool is_complete() const noexcept {
    return complete_.load(std::memory_order_acquire) || can_hash();
  }

  // What OpenSSL hands to an encoder or decoder.
  Bio bio(OSSL_CORE_BIO* stream) const;

  // Throws kNoBaseProvider unless the application's providers have SHA-256. Called before the first
  // C_Initialize: SoftHSM hashes in the default context, answers CKR_PIN_INCORRECT when it cannot,
  // and a try is lost (seen with `openssl -provider hwid` alone).
  void require_base_provider() const;

  // `properties` are the application's, added to ours. Throws kUnsupported.
  EvpMd fetch_digest(const std::string& name, const std::string& properties = {}) const;

 private:
  bool can_hash() const noexcept;
  OSSL_LIB_CTX* substitute() const noexcept;

  OSSL_LIB_CTX* const context_;
  mutable std::atomic<bool> complete_{false};
  mutable std::atomic<OSSL_LIB_CTX*> substitute_{nullptr};
};

// Null where `der` is no certificate, and OpenSSL's queue says why. Its public key can be used in
// our context.
Certificate parse_certificate(const Libcrypto& crypto, ByteView der);

// HMAC with `key` and OpenSSL's digest of that name, in the provider's context.
Secret hmac(const Libcrypto& crypto, const char* digest, ByteView key, ByteView data);
Secret hmac_sha256(const Libcrypto& crypto, ByteView key, ByteView data);

// The newest error of OpenSSL's queue as text, for messages about a forwarded operation.
std::string last_libcrypto_error();

// Drops what is raised on OpenSSL's queue during its life: for calls that may fail.
class ErrorMark {
 public:
  ErrorMark();
  ~ErrorMark();
  ErrorMark(const ErrorMark&) = delete;
  ErrorMark& operator=(const ErrorMark&) = delete;
};

}  // namespace hwid::core
