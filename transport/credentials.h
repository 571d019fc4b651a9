#pragma once

#include <hwid/device_config.h>
#include <openssl/ssl.h>

#include <string>
#include <string_view>
#include <vector>

#include "transport/openssl_handles.h"

namespace hwid::transport {

// The client certificate and key as paths, for a TLS library that takes nothing else.
//
// A path is handed on as it is, but for a symbolic link on the way to it, which is resolved once,
// so that key and certificate come from the same generation. A URI is opened with OSSL_STORE in the
// default library context, and what it names is written to a memfd: a certificate chain, or a key
// reference: PEM that names the key and holds no secret. A key whose PEM would hold the key itself
// is refused. The paths are valid as long as the object lives.
//
// Threads: one at a time.
class Credentials {
 public:
  // Opens what config.cert and config.key name, afresh at each call. Throws Error.
  static Credentials load(const DeviceConfig& config);

  Credentials() = default;
  Credentials(Credentials&& other) noexcept { swap(other); }
  Credentials& operator=(Credentials other) noexcept {
    swap(other);
    return *this;
  }
  ~Credentials();

  const std::string& cert_path() const noexcept { return cert_path_; }  // empty: no certificate
  const std::string& key_path() const noexcept { return key_path_; }

 private:
  void swap(Credentials& other) noexcept {
    cert_path_.swap(other.cert_path_);
    key_path_.swap(other.key_path_);
    descriptors_.swap(other.descriptors_);
  }
  std::string keep_in_memory(const char* name, const char* bytes, std::size_t size);

  std::string cert_path_;
  std::string key_path_;
  std::vector<int> descriptors_;
};

// For a TLS library that lets us at its SSL_CTX: gives it what config.cert and config.key name,
// opened afresh, without a way over PEM, so that the key of a URI may also be one in software.
// Throws Error, also where they do not belong together. Threads: any, with an SSL_CTX of its own.
void use_credentials(SSL_CTX* context, const DeviceConfig& config);

// The first certificate of config.cert, opened afresh. Throws Error.
X509Ptr load_certificate(const DeviceConfig& config);

// Whether the certificate that `context` sends goes with its key. libssl takes a key of another
// kind than the certificate without a word, and then sends no certificate. No signature is made.
// False: the reason is on OpenSSL's error queue.
bool key_fits_certificate(SSL_CTX* context);

// Lets `context` open no key with a passphrase: libssl would ask for it on the terminal, and a
// daemon would hang.
void ask_for_no_passphrase(SSL_CTX* context);

// Whether a value of `cert` or `key` is a URI: a scheme of two or more characters and a colon.
bool is_uri(const std::string& value);

// Whether PEM begins with a block that names a key and holds no secret: pkcs11-provider's,
// draft-bottomley-tpm2-keys', or hwid's own.
bool is_key_reference(std::string_view pem);

// A URI as it may be shown: without the values of pin-value and of tpm2-openssl's `?pass`.
std::string printable_uri(const std::string& uri);

}  // namespace hwid::transport
