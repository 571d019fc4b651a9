#include "provider/ossl/rand.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <algorithm>
#include <new>
#include <utility>

#include "provider/ossl/token_call.h"

namespace hwid::ossl::rand {
namespace {

using core::Error;
using core::Reason;

constexpr unsigned int kStrength = 256;
constexpr std::size_t kMostInOneCall = 65536;  // of OpenSSL's to us
constexpr std::size_t kMostAtOnce = 4096;      // of ours to the token

}  // namespace

void Generator::fill(std::span<std::uint8_t> out) {
  if (provider_.token_calls().has_this_thread())
    fill_in_software(out);
  else
    fill_from_token(out);
}

// The context of the provider has libcrypto's own generator, whatever the application's has.
void Generator::fill_in_software(std::span<std::uint8_t> out) {
  if (RAND_priv_bytes_ex(provider_.crypto().get(), out.data(), out.size(), 0) != 1)
    throw Error(Reason::kLibcrypto,
                "random numbers: the token's own module asks OpenSSL for them: RAND_priv_bytes: " +
                    core::last_libcrypto_error() +
                    "; activate the default provider beside this one in openssl.cnf");
}

void Generator::fill_from_token(std::span<std::uint8_t> out) {
  Source& source = source_.get();
  std::unique_lock lock(source.mutex);
  std::shared_ptr<core::Token> token = source.token;
  lock.unlock();
  try {
    fill_from(token, out);
  } catch (const Error&) {
    lock.lock();
    source.token = nullptr;  // the next call looks for one that is there
    throw;
  }
  lock.lock();
  source.token = std::move(token);
}

void Generator::fill_from(std::shared_ptr<core::Token>& token, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const std::size_t wanted = std::min(out.size(), kMostAtOnce);
    const TokenCall call(provider_);
    const core::Secret bytes = provider_.router().random(token, wanted);
    if (bytes.empty() || bytes.size() > wanted)
      throw Error(Reason::kDeviceError, "random numbers: token=" + token->label() + " answered " +
                                            std::to_string(bytes.size()) + " bytes for " +
                                            std::to_string(wanted) +
                                            "; its generator cannot be used");
    std::ranges::copy(bytes.reveal(), out.begin());
    out = out.subspan(bytes.size());
  }
}

Generator* newctx(Provider* provider, void*, const OSSL_DISPATCH*) {
  return new Generator(*provider);
}

void freectx(Generator* generator) { delete generator; }

int instantiate(Generator* generator, unsigned int strength, int, const unsigned char*, std::size_t,
                const OSSL_PARAM[]) {
  if (strength > kStrength) return 0;
  generator->set_state(EVP_RAND_STATE_READY);
  return 1;
}

int uninstantiate(Generator* generator) {
  generator->set_state(EVP_RAND_STATE_UNINITIALISED);
  return 1;
}

// A token's generator takes no additional input, and each of its bytes is fresh.
int generate(Generator* generator, unsigned char* out, std::size_t size, unsigned int strength, int,
             const unsigned char*, std::size_t) {
  if (strength > kStrength || generator->state() != EVP_RAND_STATE_READY) return 0;
  generator->fill({out, size});
  return 1;
}

int verify_zeroization(Generator*) { return 1; }  // there is nothing to be zero

int enable_locking(Generator*) { return 1; }
int lock(Generator*) { return 1; }
void unlock(Generator*) {}

int get_ctx_params(Generator* generator, OSSL_PARAM params[]) {
  OSSL_PARAM* const state = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);
  if (state != nullptr && OSSL_PARAM_set_int(state, generator->state()) != 1) return 0;
  OSSL_PARAM* const strength = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
  if (strength != nullptr && OSSL_PARAM_set_uint(strength, kStrength) != 1) return 0;
  OSSL_PARAM* const most = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
  if (most != nullptr && OSSL_PARAM_set_size_t(most, kMostInOneCall) != 1) return 0;
  return 1;
}

const OSSL_PARAM* gettable_ctx_params(Generator*, Provider*) {
  static const OSSL_PARAM kGettable[] = {OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, nullptr),
                                         OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, nullptr),
                                         OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, nullptr),
                                         OSSL_PARAM_END};
  return kGettable;
}

std::size_t get_seed(Generator* generator, unsigned char** seed, int entropy, std::size_t least,
                     std::size_t most, int, const unsigned char*, std::size_t) {
  const std::size_t size =
      std::max(least, (static_cast<std::size_t>(std::max(entropy, 0)) + 7) / 8);
  if (size > most || size == 0 || generator->state() != EVP_RAND_STATE_READY) return 0;
  core::Secret bytes(size);
  generator->fill(bytes.writable());
  auto* const copy = static_cast<unsigned char*>(OPENSSL_secure_malloc(size));
  if (copy == nullptr) throw std::bad_alloc();
  std::ranges::copy(bytes.reveal(), copy);
  *seed = copy;
  return size;
}

void clear_seed(Generator*, unsigned char* seed, std::size_t size) {
  OPENSSL_secure_clear_free(seed, size);
}

}  // namespace hwid::ossl::rand
