// The cryptography that sessions need on our side of the bus (TPM 2.0 Part 1, 11.4 and 19-21).
#pragma once

#include <openssl/evp.h>
#include <tss2/tss2_tpm2_types.h>

#include <initializer_list>
#include <string>

#include "provider/core/bytes.h"
#include "provider/core/libcrypto.h"
#include "provider/core/secret.h"

namespace hwid::tpm2 {

// Sessions use SHA-256, and AES-128-CFB for parameters: every TPM 2.0 has them (PC Client profile).
// Only policy sessions have the hash of the key that they authorize (Part 3, 11.1).
inline constexpr std::size_t kSessionKeyBits = 128;
using SessionDigest = core::Bytes;
using Parts = std::initializer_list<core::ByteView>;

// Fetched anew for each command (a microsecond each): what is fetched belongs to a library context,
// which may go while the session of the process stays. Never fetches in the default context or from
// ourselves. Not thread-safe. All methods throw kLibcrypto. What HMACs are made of is not secret.
class SessionCrypto {
 public:
  // `hash`: the session's. Throws kUnsupported for one that libcrypto has not.
  explicit SessionCrypto(const core::Libcrypto& crypto, TPMI_ALG_HASH hash = TPM2_ALG_SHA256);

  std::size_t digest_size() const noexcept {
    return static_cast<std::size_t>(EVP_MD_get_size(md_.get()));
  }
  SessionDigest hash(Parts parts) const;
  SessionDigest hmac(core::ByteView key, Parts parts) const;
  // KDFa (Part 1, 11.4.10.2), `size` bytes long.
  core::Secret kdfa(core::ByteView key, std::string_view label, core::ByteView context_u,
                    core::ByteView context_v, std::size_t size) const;
  // AES-CFB in place, with a key of 128, 192 or 256 bits.
  void cfb(bool encrypt, core::ByteView key, core::ByteView iv, std::span<std::uint8_t> data) const;
  void random(std::span<std::uint8_t> bytes) const;

 private:
  const core::Libcrypto& crypto_;
  core::EvpMd md_;
};

// The TPM's hash of that number. Throws kUnsupported for one that libcrypto has not.
core::EvpMd fetch_hash(const core::Libcrypto& crypto, TPMI_ALG_HASH algorithm);

// `out` is as long as the digest. Throws kLibcrypto.
void hash_into(const EVP_MD* md, Parts parts, std::span<std::uint8_t> out);

// The name of a handle that is its own: hierarchies, PCRs, sessions. (Of objects: object_name.)
core::Bytes handle_name(TPM2_HANDLE handle);
bool is_hierarchy(TPM2_HANDLE handle) noexcept;
bool is_nv(TPM2_HANDLE handle) noexcept;  // an index of NV memory

// A random secret that only the owner of `key` can decrypt (Part 1, annexes B.10.2 and C.6.1), for
// StartAuthSession. `key`: an RSA or EC key that may decrypt. Throws kUnsupported, kLibcrypto.
struct Salt {
  core::Secret value;
  TPM2B_ENCRYPTED_SECRET encrypted{};
};
Salt make_salt(const core::Libcrypto& crypto, const TPMT_PUBLIC& key);

// The same for another use: `label` is that of the standard; `whose` and `next` say, in messages,
// which key it is and what to do about it.
struct SeedUse {
  std::string_view label;  // a literal
  const char* whose;
  const char* next;
};
Salt make_seed(const core::Libcrypto& crypto, const TPMT_PUBLIC& key, const SeedUse& use);

}  // namespace hwid::tpm2
