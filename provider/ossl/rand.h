// OSSL_OP_RAND: a token's own random generator (provider-rand(7)).
#pragma once

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "provider/core/backend.h"
#include "provider/core/process.h"
#include "provider/ossl/provider.h"

namespace hwid::ossl::rand {

// Bytes of the first token that is there, as they come: no generator in software stands between.
// The token is looked for at the first byte. Thread-safe, also without OpenSSL's lock.
class Generator {
 public:
  explicit Generator(Provider& provider) noexcept : provider_(provider) {}
  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  int state() const noexcept { return state_.load(std::memory_order_acquire); }
  void set_state(int state) noexcept { state_.store(state, std::memory_order_release); }
  // What a token's own module asks for, while it is at work for us, comes from libcrypto's own
  // generator: the token would be asked again, and again.
  void fill(std::span<std::uint8_t> out);

 private:
  void fill_in_software(std::span<std::uint8_t> out);
  void fill_from_token(std::span<std::uint8_t> out);
  void fill_from(std::shared_ptr<core::Token>& token, std::span<std::uint8_t> out);

  struct Source {
    explicit Source(const Source*) {}
    std::mutex mutex;
    std::shared_ptr<core::Token> token;
  };
  Provider& provider_;
  std::atomic<int> state_{EVP_RAND_STATE_UNINITIALISED};
  core::EpochLocal<Source> source_;
};

Generator* newctx(Provider* provider, void* parent, const OSSL_DISPATCH* parent_calls);
void freectx(Generator* generator);
int instantiate(Generator* generator, unsigned int strength, int prediction_resistance,
                const unsigned char* personalization, std::size_t size, const OSSL_PARAM params[]);
int uninstantiate(Generator* generator);
int generate(Generator* generator, unsigned char* out, std::size_t size, unsigned int strength,
             int prediction_resistance, const unsigned char* addition, std::size_t addition_size);
int verify_zeroization(Generator* generator);
int enable_locking(Generator* generator);
int lock(Generator* generator);
void unlock(Generator* generator);
int get_ctx_params(Generator* generator, OSSL_PARAM params[]);
const OSSL_PARAM* gettable_ctx_params(Generator* generator, Provider* provider);
// What a generator in software takes from this one, its parent.
std::size_t get_seed(Generator* generator, unsigned char** seed, int entropy, std::size_t least,
                     std::size_t most, int prediction_resistance, const unsigned char* addition,
                     std::size_t addition_size);
void clear_seed(Generator* generator, unsigned char* seed, std::size_t size);

}  // namespace hwid::ossl::rand
