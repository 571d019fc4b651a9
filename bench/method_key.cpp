// The methods are deprecated, and the only way to put a function in a key's place.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "bench/method_key.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace hwid::bench {
namespace {

using Way = PrivateOperation::Way;

// A key on a PKCS#11 token, and its sessions.
class HeldKey final : public PrivateOperation {
 public:
  HeldKey(const Token& token, const std::string& label)
      : token_(token), key_(token.find(token.session(), label)) {}

  std::size_t sign(Way way, std::span<const unsigned char> input,
                   std::span<unsigned char> signature) noexcept override {
    const CK_MECHANISM_TYPE type = way == Way::kEcdsa    ? CKM_ECDSA
                                   : way == Way::kRsaRaw ? CKM_RSA_X_509
                                                         : CKM_RSA_PKCS;
    CK_MECHANISM mechanism{type, nullptr, 0};
    CK_ULONG size = signature.size();
    const CK_SESSION_HANDLE session = take();
    const bool good = session != 0 && token_->C_SignInit(session, &mechanism, key_) == CKR_OK &&
                      token_->C_Sign(session, const_cast<unsigned char*>(input.data()),
                                     input.size(), signature.data(), &size) == CKR_OK;
    give_back(session);
    return good ? size : 0;
  }

 private:
  CK_SESSION_HANDLE take() noexcept {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      try {
        return token_.open_session();
      } catch (const std::exception&) {
        return 0;
      }
    }
    const CK_SESSION_HANDLE session = idle_.back();
    idle_.pop_back();
    return session;
  }
  void give_back(CK_SESSION_HANDLE session) noexcept {
    const std::lock_guard lock(mutex_);
    if (session != 0) idle_.push_back(session);
  }

  const Token& token_;
  const CK_OBJECT_HANDLE key_;
  std::mutex mutex_;
  std::vector<CK_SESSION_HANDLE> idle_;
};

std::span<const unsigned char> view(const unsigned char* bytes, int size) {
  return {bytes, static_cast<std::size_t>(size)};
}

int rsa_private(int size, const unsigned char* from, unsigned char* to, RSA* rsa, int padding) {
  auto* const key = static_cast<PrivateOperation*>(RSA_get_ex_data(rsa, 0));
  const Way way = padding == RSA_NO_PADDING ? Way::kRsaRaw : Way::kRsaPkcs1;
  const std::size_t made =
      key->sign(way, view(from, size), {to, static_cast<std::size_t>(RSA_size(rsa))});
  return made == 0 ? -1 : static_cast<int>(made);
}

ECDSA_SIG* ec_sign(const unsigned char* digest, int size, const BIGNUM*, const BIGNUM*,
                   EC_KEY* ec) {
  auto* const key = static_cast<PrivateOperation*>(EC_KEY_get_ex_data(ec, 0));
  unsigned char r_and_s[256];
  const std::size_t made = key->sign(Way::kEcdsa, view(digest, size), r_and_s);
  if (made == 0) return nullptr;
  const int half = static_cast<int>(made / 2);
  ECDSA_SIG* const signature = ECDSA_SIG_new();
  ECDSA_SIG_set0(signature, BN_bin2bn(r_and_s, half, nullptr),
                 BN_bin2bn(r_and_s + half, half, nullptr));
  return signature;
}

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what + (":\n" + test::openssl_errors()));
}

// The methods live as long as the process, as the keys may.
test::EvpPkey rsa_key(PrivateOperation* held, const EVP_PKEY* half) {
  RSA_METHOD* const method = RSA_meth_dup(RSA_get_default_method());
  RSA_meth_set_priv_enc(method, rsa_private);
  RSA* const rsa = EVP_PKEY_get1_RSA(const_cast<EVP_PKEY*>(half));
  test::EvpPkey key(EVP_PKEY_new());
  require(rsa != nullptr && RSA_set_method(rsa, method) == 1 &&
              RSA_set_ex_data(rsa, 0, held) == 1 && EVP_PKEY_assign_RSA(key.get(), rsa) == 1,
          "RSA_set_method");
  return key;
}

test::EvpPkey ec_key(PrivateOperation* held, const EVP_PKEY* half) {
  EC_KEY_METHOD* const method = EC_KEY_METHOD_new(EC_KEY_get_default_method());
  int (*sign)(int, const unsigned char*, int, unsigned char*, unsigned int*, const BIGNUM*,
              const BIGNUM*, EC_KEY*) = nullptr;
  int (*setup)(EC_KEY*, BN_CTX*, BIGNUM**, BIGNUM**) = nullptr;
  EC_KEY_METHOD_get_sign(method, &sign, &setup, nullptr);
  EC_KEY_METHOD_set_sign(method, sign, setup, ec_sign);
  EC_KEY* const ec = EVP_PKEY_get1_EC_KEY(const_cast<EVP_PKEY*>(half));
  test::EvpPkey key(EVP_PKEY_new());
  require(ec != nullptr && EC_KEY_set_method(ec, method) == 1 &&
              EC_KEY_set_ex_data(ec, 0, held) == 1 && EVP_PKEY_assign_EC_KEY(key.get(), ec) == 1,
          "EC_KEY_set_method");
  return key;
}

}  // namespace

test::EvpPkey method_key(std::unique_ptr<PrivateOperation> operation, EVP_PKEY* public_key) {
  // A copy that no provider has a hand in.
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(public_key, &der);
  const unsigned char* at = der;
  const test::EvpPkey half(size > 0 ? d2i_PUBKEY(nullptr, &at, size) : nullptr);
  OPENSSL_free(der);
  require(half != nullptr, "i2d_PUBKEY");
  // Never freed: OpenSSL's keys outlive what they borrow from.
  PrivateOperation* const held = operation.release();
  return EVP_PKEY_is_a(half.get(), "RSA") == 1 ? rsa_key(held, half.get())
                                               : ec_key(held, half.get());
}

test::EvpPkey method_key(const Token& token, const std::string& label, EVP_PKEY* public_key) {
  return method_key(std::make_unique<HeldKey>(token, label), public_key);
}

}  // namespace hwid::bench
