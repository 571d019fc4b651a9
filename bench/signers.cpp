#include "bench/signers.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <array>
#include <stdexcept>

namespace hwid::bench {
namespace {

const unsigned char* bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what + (":\n" + test::openssl_errors()));
}

bool set_padding(EVP_PKEY_CTX* context, Scheme scheme) {
  return scheme != Scheme::kRsaPss ||
         (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
          EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

// As a program does it: a context for each signature.
std::string evp_sign(OSSL_LIB_CTX* context, EVP_PKEY* key, Scheme scheme) {
  const std::string& message = message_to_sign();
  const test::EvpMdCtx operation(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  std::array<unsigned char, 512> signature{};
  std::size_t size = signature.size();
  require(EVP_DigestSignInit_ex(operation.get(), &parameters, "SHA256", context, nullptr, key,
                                nullptr) == 1 &&
              set_padding(parameters, scheme) &&
              EVP_DigestSign(operation.get(), signature.data(), &size, bytes(message),
                             message.size()) == 1,
          "EVP_DigestSign");
  return {reinterpret_cast<const char*>(signature.data()), size};
}

std::string to_der(const std::string& r_and_s) {
  const int half = static_cast<int>(r_and_s.size() / 2);
  ECDSA_SIG* const signature = ECDSA_SIG_new();
  ECDSA_SIG_set0(signature, BN_bin2bn(bytes(r_and_s), half, nullptr),
                 BN_bin2bn(bytes(r_and_s) + half, half, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature, &der);
  ECDSA_SIG_free(signature);
  require(size > 0, "i2d_ECDSA_SIG");
  std::string text(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return text;
}

// A session and a key's handle for each thread, held.
struct Held {
  CK_SESSION_HANDLE session;
  CK_OBJECT_HANDLE key;
};

}  // namespace

const std::string& message_to_sign() {
  static const std::string message(64, 'm');
  return message;
}

std::string digest_to_sign() {
  const std::string& message = message_to_sign();
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(bytes(message), message.size(), reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

void require_good(EVP_PKEY* public_key, Scheme scheme, const std::string& signature, bool r_and_s) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(public_key, &der);
  const unsigned char* at = der;
  const test::EvpPkey judge(size > 0 ? d2i_PUBKEY(nullptr, &at, size) : nullptr);
  OPENSSL_free(der);
  const std::string text = r_and_s ? to_der(signature) : signature;
  const std::string& message = message_to_sign();
  const test::EvpMdCtx operation(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  require(judge &&
              EVP_DigestVerifyInit_ex(operation.get(), &parameters, "SHA256", nullptr, nullptr,
                                      judge.get(), nullptr) == 1 &&
              set_padding(parameters, scheme) &&
              EVP_DigestVerify(operation.get(), bytes(text), text.size(), bytes(message),
                               message.size()) == 1,
          "the signature does not verify");
}

Contender evp_signer(std::string name, OSSL_LIB_CTX* context, EVP_PKEY* key, Scheme scheme) {
  // Several: the second signature may take another way than the first.
  for (int i = 0; i < 3; ++i) require_good(key, scheme, evp_sign(context, key, scheme), false);
  Contender made;
  made.name = std::move(name);
  made.worker = [=](int) { return [=] { evp_sign(context, key, scheme); }; };
  return made;
}

Contender raw_signer(std::string name, const Token& token, const std::string& label,
                     EVP_PKEY* public_key, Scheme scheme, bool with_copy) {
  const auto signing = std::make_shared<const RawSigning>(scheme, digest_to_sign());
  const auto held = std::make_shared<std::vector<Held>>();
  for (int i = 0; i < kMostThreads; ++i) {
    const CK_SESSION_HANDLE session = token.open_session();
    CK_OBJECT_HANDLE key = token.find(session, label);
    if (with_copy) key = token.copy(session, key);
    held->push_back({session, key});
  }
  const CK_FUNCTION_LIST* const functions = token.operator->();
  const bool r_and_s = scheme == Scheme::kEcdsa;
  for (const Held& one : *held)
    require_good(public_key, scheme, signing->sign(functions, one.session, one.key), r_and_s);
  Contender made;
  made.name = std::move(name);
  made.worker = [=](int thread) {
    const Held mine = held->at(static_cast<std::size_t>(thread));
    return [=] { signing->sign(functions, mine.session, mine.key); };
  };
  return made;
}

}  // namespace hwid::bench
