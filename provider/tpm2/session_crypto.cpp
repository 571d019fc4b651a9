#include "provider/tpm2/session_crypto.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "provider/core/error.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

[[noreturn]] void raise_libcrypto(const char* call) {
  throw Error(Reason::kLibcrypto,
              std::string(call) + ": " + core::last_libcrypto_error() +
                  ": a session with the TPM cannot be protected; check OpenSSL's configuration");
}

void require(bool worked, const char* call) {
  if (!worked) raise_libcrypto(call);
}

using CipherCtx = std::unique_ptr<EVP_CIPHER_CTX, core::FreeWith<EVP_CIPHER_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER, core::FreeWith<EVP_CIPHER_free>>;

std::array<std::uint8_t, 4> big_endian(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

ByteView label_with_nul(std::string_view label) {
  // Labels are literals here, and their terminating zero is part of what is hashed.
  return {reinterpret_cast<const std::uint8_t*>(label.data()), label.size() + 1};
}

}  // namespace

core::EvpMd fetch_hash(const core::Libcrypto& crypto, TPMI_ALG_HASH algorithm) {
  const core::Digest digest = digest_of(algorithm);
  if (digest != core::Digest::kOther) return crypto.fetch_digest(core::digest_name(digest));
  throw Error(Reason::kUnsupported, "the hash " + algorithm_text(algorithm) +
                                        " is not one that OpenSSL has; use a key or session of "
                                        "another one, such as SHA-256");
}

void hash_into(const EVP_MD* md, Parts parts, std::span<std::uint8_t> out) {
  const core::EvpMdCtx hash(EVP_MD_CTX_new());
  require(hash && EVP_DigestInit_ex2(hash.get(), md, nullptr) == 1, "EVP_DigestInit");
  for (const ByteView part : parts)
    require(EVP_DigestUpdate(hash.get(), part.data(), part.size()) == 1, "EVP_DigestUpdate");
  require(EVP_DigestFinal_ex(hash.get(), out.data(), nullptr) == 1, "EVP_DigestFinal");
}

SessionCrypto::SessionCrypto(const core::Libcrypto& crypto, TPMI_ALG_HASH hash)
    : crypto_(crypto), md_(fetch_hash(crypto, hash)) {}

SessionDigest SessionCrypto::hash(Parts parts) const {
  SessionDigest digest(digest_size());
  hash_into(md_.get(), parts, digest);
  return digest;
}

SessionDigest SessionCrypto::hmac(ByteView key, Parts parts) const {
  Bytes data;
  for (const ByteView part : parts) data.insert(data.end(), part.begin(), part.end());
  const Secret mac = core::hmac(crypto_, EVP_MD_get0_name(md_.get()), key, data);
  return {mac.reveal().begin(), mac.reveal().end()};
}

Secret SessionCrypto::kdfa(ByteView key, std::string_view label, ByteView context_u,
                           ByteView context_v, std::size_t size) const {
  Secret derived(size);
  const std::span<std::uint8_t> out = derived.writable();
  const auto bits = big_endian(static_cast<std::uint32_t>(size * 8));
  std::size_t done = 0;
  for (std::uint32_t counter = 1; done < size; ++counter) {
    SessionDigest block =
        hmac(key, {big_endian(counter), label_with_nul(label), context_u, context_v, bits});
    const std::size_t part = std::min(block.size(), size - done);
    std::copy_n(block.begin(), part, out.begin() + static_cast<std::ptrdiff_t>(done));
    OPENSSL_cleanse(block.data(), block.size());
    done += part;
  }
  return derived;
}

void SessionCrypto::cfb(bool encrypt, ByteView key, ByteView iv,
                        std::span<std::uint8_t> data) const {
  const std::string name = "AES-" + std::to_string(key.size() * 8) + "-CFB";
  const Cipher cipher(EVP_CIPHER_fetch(crypto_.get(), name.c_str(), core::kNotHwid));
  const CipherCtx context(EVP_CIPHER_CTX_new());
  int size = 0;
  require(cipher && context &&
              EVP_CipherInit_ex2(context.get(), cipher.get(), key.data(), iv.data(),
                                 encrypt ? 1 : 0, nullptr) == 1 &&
              EVP_CipherUpdate(context.get(), data.data(), &size, data.data(),
                               static_cast<int>(data.size())) == 1 &&
              static_cast<std::size_t>(size) == data.size(),
          "EVP_CipherUpdate");
}

void SessionCrypto::random(std::span<std::uint8_t> bytes) const {
  require(RAND_bytes_ex(crypto_.get(), bytes.data(), bytes.size(), 0) == 1, "RAND_bytes");
}

Bytes handle_name(TPM2_HANDLE handle) {
  const auto bytes = big_endian(handle);
  return {bytes.begin(), bytes.end()};
}

bool is_hierarchy(TPM2_HANDLE handle) noexcept {
  return handle >> TPM2_HR_SHIFT == TPM2_HT_PERMANENT;
}

bool is_nv(TPM2_HANDLE handle) noexcept { return handle >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX; }

}  // namespace hwid::tpm2
