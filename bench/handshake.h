// Full TLS handshakes with certificates on both sides, without a network.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "bench/rounds.h"
#include "tests/fixture/library_context.h"

namespace hwid::bench {

// One side: where its keys and its cryptography come from, and who it is.
struct Side {
  OSSL_LIB_CTX* context;
  std::string certificate_file;
  EVP_PKEY* key;
};

// Both sides in one thread, through memory; neither resumes. Thread-safe. What the sides name must
// outlive it. Throws std::runtime_error.
class Handshake {
 public:
  Handshake(int version, const Side& client, const Side& server, const std::string& ca_file);
  void perform() const;

 private:
  struct Free {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
    void operator()(SSL* connection) const noexcept { SSL_free(connection); }
  };
  using Context = std::unique_ptr<SSL_CTX, Free>;
  using Connection = std::unique_ptr<SSL, Free>;

  static Context make(const SSL_METHOD* method, int version, const Side& side,
                      const std::string& ca_file);
  Context client_;
  Context server_;
};

// One after the other, in any number of threads. Throws if the first fails.
Contender handshakes(std::string name, const std::shared_ptr<const Handshake>& handshake);

}  // namespace hwid::bench
