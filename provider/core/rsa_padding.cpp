#include "provider/core/rsa_padding.h"

#include <openssl/objects.h>
#include <openssl/rand.h>

#include <algorithm>

namespace hwid::core {
namespace {

constexpr std::uint8_t kSequence = 0x30;
constexpr std::uint8_t kOctetString = 0x04;
constexpr std::uint8_t kNull = 0x05;

[[noreturn]] void too_long(const std::string& what, std::size_t bits) {
  throw Error(Reason::kBadParameter, what + " does not fit into an RSA key of " +
                                         std::to_string(bits) +
                                         " bits; use a shorter digest or salt, or a larger key");
}

}  // namespace

Bytes hash(const EVP_MD* md, std::initializer_list<ByteView> parts) {
  const EvpMdCtx ctx(EVP_MD_CTX_new());
  Bytes digest(static_cast<std::size_t>(EVP_MD_get_size(md)));
  bool good = ctx && EVP_DigestInit_ex2(ctx.get(), md, nullptr) == 1;
  for (const ByteView part : parts)
    good = good && EVP_DigestUpdate(ctx.get(), part.data(), part.size()) == 1;
  if (!good || EVP_DigestFinal_ex(ctx.get(), digest.data(), nullptr) != 1)
    throw Error(Reason::kLibcrypto, "hashing for an RSA padding: " + last_libcrypto_error());
  return digest;
}

void apply_mgf1(const EVP_MD* md, ByteView seed, std::span<std::uint8_t> into) {
  for (std::uint32_t counter = 0, at = 0; at < into.size(); ++counter) {
    const Bytes count = {
        static_cast<std::uint8_t>(counter >> 24), static_cast<std::uint8_t>(counter >> 16),
        static_cast<std::uint8_t>(counter >> 8), static_cast<std::uint8_t>(counter)};
    for (const std::uint8_t byte : hash(md, {seed, count})) {
      if (at == into.size()) break;
      into[at++] ^= byte;
    }
  }
}

Bytes digest_info(Digest algorithm, ByteView digest) {
  const std::size_t size = digest_size(algorithm);
  if (size != 0 && digest.size() != size)
    throw Error(Reason::kBadParameter, std::string("a ") + digest_name(algorithm) + " digest has " +
                                           std::to_string(size) + " bytes, not " +
                                           std::to_string(digest.size()) +
                                           "; hand in the digest, not the message");
  if (algorithm == Digest::kNone || algorithm == Digest::kMd5Sha1)
    return {digest.begin(), digest.end()};
  const ASN1_OBJECT* const named = OBJ_nid2obj(digest_nid(algorithm));
  if (named == nullptr || OBJ_length(named) == 0)
    throw Error(Reason::kUnsupported, std::string("digest ") + digest_name(algorithm) +
                                          " has no object identifier for PKCS#1 v1.5; use a SHA-2 "
                                          "or SHA-3 digest");
  const auto length = static_cast<std::uint8_t>(OBJ_length(named));
  const auto hashed = static_cast<std::uint8_t>(digest.size());
  const auto inner = static_cast<std::uint8_t>(length + 4);
  Bytes der = {kSequence, static_cast<std::uint8_t>(inner + hashed + 4), kSequence, inner, 0x06,
               length};
  der.insert(der.end(), OBJ_get0_data(named), OBJ_get0_data(named) + length);
  der.insert(der.end(), {kNull, 0, kOctetString, hashed});
  der.insert(der.end(), digest.begin(), digest.end());
  return der;
}

Bytes emsa_pkcs1(ByteView digest_info, std::size_t modulus_bytes) {
  if (digest_info.size() + 11 > modulus_bytes) too_long("the digest", modulus_bytes * 8);
  Bytes encoded(modulus_bytes, 0xff);
  encoded[0] = 0;
  encoded[1] = 1;
  encoded[modulus_bytes - digest_info.size() - 1] = 0;
  std::copy(digest_info.begin(), digest_info.end(),
            encoded.end() - static_cast<std::ptrdiff_t>(digest_info.size()));
  return encoded;
}

Bytes emsa_pss(const Libcrypto& crypto, const SignScheme& scheme, ByteView digest,
               std::size_t modulus_bits) {
  const EvpMd md = crypto.fetch_digest(digest_name(scheme.digest));
  const EvpMd mgf1 = crypto.fetch_digest(digest_name(scheme.mgf1_digest));
  const std::size_t hash_size = digest_size(scheme.digest);
  const std::size_t encoded_bits = modulus_bits - 1;
  const std::size_t encoded_size = (encoded_bits + 7) / 8;
  if (digest.size() != hash_size || encoded_size < hash_size + scheme.salt_size + 2)
    too_long(scheme_text(scheme), modulus_bits);
  Bytes salt(scheme.salt_size);
  if (RAND_bytes_ex(crypto.get(), salt.data(), salt.size(), 0) != 1)
    throw Error(Reason::kLibcrypto, "RAND_bytes for an RSA-PSS salt: " + last_libcrypto_error());
  const Bytes zeros(8, 0);
  const Bytes h = hash(md.get(), {zeros, digest, salt});
  Bytes encoded(encoded_size, 0);
  const std::size_t masked_size = encoded_size - hash_size - 1;
  encoded[masked_size - salt.size() - 1] = 1;
  std::copy(salt.begin(), salt.end(),
            encoded.begin() + static_cast<std::ptrdiff_t>(masked_size - salt.size()));
  apply_mgf1(mgf1.get(), h, std::span(encoded).first(masked_size));
  encoded[0] &= static_cast<std::uint8_t>(0xff >> (8 * encoded_size - encoded_bits));
  std::copy(h.begin(), h.end(), encoded.begin() + static_cast<std::ptrdiff_t>(masked_size));
  encoded.back() = 0xbc;
  // One byte shorter than the modulus where its size is 8k+1 bits.
  encoded.insert(encoded.begin(), (modulus_bits + 7) / 8 - encoded_size, 0);
  return encoded;
}

}  // namespace hwid::core
