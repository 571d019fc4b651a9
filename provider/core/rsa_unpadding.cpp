#include "provider/core/rsa_unpadding.h"

#include <openssl/rand.h>

#include <array>

#include "provider/core/rsa_padding.h"

namespace hwid::core {
namespace {

// All ones for true, zero for false. No branch and no index below depends on a secret but through
// these; the compiler is kept from seeing that they are conditions.
using Mask = std::uint32_t;

Mask opaque(Mask mask) noexcept {
  asm volatile("" : "+r"(mask));  // NOLINT(hicpp-no-assembler): what a value barrier is
  return mask;
}
Mask is_zero(Mask x) noexcept { return opaque(0U - ((~x & (x - 1)) >> 31)); }
Mask equal(Mask a, Mask b) noexcept { return is_zero(a ^ b); }
Mask less(Mask a, Mask b) noexcept {  // of numbers below 2^31
  return opaque(0U - ((a - b) >> 31));
}
Mask pick(Mask mask, Mask yes, Mask no) noexcept { return (mask & yes) | (~mask & no); }

std::uint8_t pick_byte(Mask mask, std::uint8_t yes, std::uint8_t no) noexcept {
  return static_cast<std::uint8_t>(pick(mask, yes, no));
}

constexpr std::size_t kLeastPadding = 8;  // RFC 8017, 7.2.1
constexpr Mask kFirstMessageByte = 2 + kLeastPadding + 1;

struct Block {
  Mask good = 0;
  Mask message_at = 0;
};

// 00 02 PS 00 M.
Block read_block(ByteView encoded) noexcept {
  Mask separator = 0;
  Mask found = 0;
  for (Mask i = 2; i < encoded.size(); ++i) {
    const Mask zero = is_zero(encoded[i]);
    separator = pick(~found & zero, i, separator);
    found |= zero;
  }
  Block block;
  block.message_at = separator + 1;
  block.good = is_zero(encoded[0]) & equal(encoded[1], 2) & found &
               ~less(block.message_at, kFirstMessageByte);
  return block;
}

// Bytes from a key and a label: HMAC-SHA256 in counter mode (rsa-guidance draft, 7.1).
Secret expand(const Libcrypto& crypto, ByteView key, std::string_view label, std::size_t size) {
  Secret out(size);
  const std::size_t bits = size * 8;
  for (std::size_t at = 0, block = 0; at < size; ++block) {
    Bytes input = {static_cast<std::uint8_t>(block >> 8), static_cast<std::uint8_t>(block)};
    input.insert(input.end(), label.begin(), label.end());
    input.push_back(static_cast<std::uint8_t>(bits >> 8));
    input.push_back(static_cast<std::uint8_t>(bits));
    const Secret mac = hmac_sha256(crypto, key, input);
    for (const std::uint8_t byte : mac.reveal()) {
      if (at == size) break;
      out.writable()[at++] = byte;
    }
  }
  return out;
}

// A length for the synthetic message, below `limit`: the last of 128 candidates that is.
Mask synthetic_length(ByteView candidates, Mask limit) noexcept {
  Mask bits = limit;
  for (const unsigned shift : {1U, 2U, 4U, 8U, 16U}) bits |= bits >> shift;
  Mask length = 0;
  for (std::size_t i = 0; i + 1 < candidates.size(); i += 2) {
    const Mask candidate = ((Mask{candidates[i]} << 8) | candidates[i + 1]) & bits;
    length = pick(less(candidate, limit), candidate, length);
  }
  return length;
}

}  // namespace

Secret unpad_pkcs1(const Libcrypto& crypto, ByteView rejection_key, ByteView ciphertext,
                   ByteView encoded) {
  constexpr std::size_t kLengthBytes = 256;
  const auto size = static_cast<Mask>(encoded.size());
  const Secret key = hmac_sha256(crypto, rejection_key, ciphertext);
  const Secret synthetic = expand(crypto, key.reveal(), "message", size);
  const Secret lengths = expand(crypto, key.reveal(), "length", kLengthBytes);
  const Mask synthetic_at =
      size - synthetic_length(lengths.reveal(), size - (kFirstMessageByte - 1));
  const Block block = read_block(encoded);
  const Mask from = pick(block.good, block.message_at, synthetic_at);
  Secret message(size - from);
  for (Mask i = from; i < size; ++i)
    message.writable()[i - from] = pick_byte(block.good, encoded[i], synthetic.reveal()[i]);
  return message;
}

std::optional<Secret> unpad_pkcs1_strictly(ByteView encoded) {
  const Block block = read_block(encoded);
  if (block.good == 0) return std::nullopt;
  return Secret(encoded.subspan(block.message_at));
}

Secret unpad_tls_premaster(const Libcrypto& crypto, ByteView encoded, unsigned client_version,
                           unsigned negotiated_version) {
  constexpr std::size_t kPremaster = 48;
  Secret premaster(kPremaster);
  if (RAND_priv_bytes_ex(crypto.get(), premaster.writable().data(), kPremaster, 0) != 1)
    throw Error(Reason::kLibcrypto, "RAND_priv_bytes for a TLS premaster secret: " +
                                        last_libcrypto_error() + "; see its random source");
  if (encoded.size() < kFirstMessageByte + kPremaster) return premaster;
  const Block block = read_block(encoded);
  const std::size_t at = encoded.size() - kPremaster;
  const Mask version = (Mask{encoded[at]} << 8) | encoded[at + 1];
  const Mask has_negotiated = ~is_zero(negotiated_version);
  const Mask right_version =
      equal(version, client_version) | (has_negotiated & equal(version, negotiated_version));
  const Mask good = block.good & equal(block.message_at, static_cast<Mask>(at)) & right_version;
  for (std::size_t i = 0; i < kPremaster; ++i)
    premaster.writable()[i] = pick_byte(good, encoded[at + i], premaster.reveal()[i]);
  return premaster;
}

std::optional<Secret> unpad_oaep(const Libcrypto& crypto, const DecryptScheme& scheme,
                                 ByteView encoded) {
  const EvpMd digest = crypto.fetch_digest(digest_name(scheme.oaep_digest));
  const EvpMd mgf1 = crypto.fetch_digest(digest_name(scheme.mgf1_digest));
  const Bytes label = hash(digest.get(), {scheme.label});
  const std::size_t hashed = label.size();
  if (encoded.size() < 2 * hashed + 2) return std::nullopt;
  Secret seed(encoded.subspan(1, hashed));
  Secret data(encoded.subspan(1 + hashed));
  apply_mgf1(mgf1.get(), data.reveal(), seed.writable());
  apply_mgf1(mgf1.get(), seed.reveal(), data.writable());
  const ByteView block = data.reveal();
  Mask bad = ~is_zero(encoded[0]);
  for (std::size_t i = 0; i < hashed; ++i) bad |= ~equal(block[i], label[i]);
  Mask separator = 0;
  Mask found = 0;
  for (auto i = static_cast<Mask>(hashed); i < block.size(); ++i) {
    const Mask is_one = equal(block[i], 1);
    bad |= ~found & ~is_one & ~is_zero(block[i]);
    separator = pick(~found & is_one, i, separator);
    found |= is_one;
  }
  if ((bad | ~found) != 0) return std::nullopt;
  return Secret(block.subspan(separator + 1));
}

}  // namespace hwid::core
