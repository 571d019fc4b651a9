// The backend-neutral middle: what the OpenSSL layer knows of a private key.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "provider/core/bytes.h"
#include "provider/core/key_reference.h"
#include "provider/core/pin.h"
#include "provider/core/protection.h"
#include "provider/core/public_key.h"
#include "provider/core/secret.h"

namespace hwid::core {

// Message digests by the names that OpenSSL gives them. kNone: the caller's bytes are signed as
// they are (RSA PKCS#1 v1.5 without DigestInfo, ECDSA of anything).
enum class Digest {
  kNone,
  kMd5,
  kMd5Sha1,
  kSha1,
  kSha224,
  kSha256,
  kSha384,
  kSha512,
  kSha512_224,
  kSha512_256,
  kSha3_224,
  kSha3_256,
  kSha3_384,
  kSha3_512,
  kRipemd160,
  kSm3,
  kOther,
};
Digest digest_by_name(std::string_view openssl_name) noexcept;  // kOther if it is none of ours
const char* digest_name(Digest digest) noexcept;                // OpenSSL's name
std::size_t digest_size(Digest digest) noexcept;                // bytes; 0 for kNone and kOther
int digest_nid(Digest digest) noexcept;                         // NID_undef without an identifier

struct SignScheme {
  enum class Kind { kRsaPkcs1, kRsaPss, kRsaRaw, kEcdsa, kEddsa };
  Kind kind;
  Digest digest = Digest::kNone;
  Digest mgf1_digest = Digest::kNone;  // PSS only
  std::size_t salt_size = 0;           // PSS only, bytes
  bool message = false;                // the input is the message: see Key::sign_input; EdDSA's is
  bool prehash = false;                // EdDSA only: Ed25519ph, Ed448ph (RFC 8032, 5.1 and 5.2)
  ByteView context = {};               // EdDSA only, at most 255 bytes; borrowed
};
enum class SignInput { kDigest, kMessage, kUnsure };
// How a ciphertext is opened. kRsaRaw: the encoded message comes back, as long as the modulus.
struct DecryptScheme {
  enum class Kind { kRsaRaw, kRsaPkcs1, kRsaOaep };
  Kind kind;
  Digest oaep_digest = Digest::kSha1;
  Digest mgf1_digest = Digest::kSha1;
  Bytes label;  // OAEP only
};

// Verified in software. `digest`: what was signed (without padding: the whole block; of EdDSA: the
// message); `signature`: as Key::sign gives it. False also for what libcrypto cannot verify.
bool verifies(const Libcrypto& crypto, const PublicKey& key, const SignScheme& scheme,
              ByteView digest, ByteView signature);

// r||s as ECDSA-Sig-Value (RFC 3279, 2.2.3).
Bytes ecdsa_der(ByteView signature);

std::string scheme_text(const SignScheme& scheme);  // "RSA-PSS SHA2-256 salt 32", for messages

// Which object on which token, for texts and references. `uri` is the normal form of what opened
// it: a hwid: name stays a name; never a PIN.
struct KeyDescription {
  std::string backend;      // "pkcs11", "tpm2", "software"
  std::string token;        // label of the token
  std::string label;        // CKA_LABEL
  Bytes id;                 // CKA_ID; empty in a TPM
  std::string uri;          // empty: it came as a file of its own (Key::wrapped)
  std::string traits = {};  // what its device allows, in the device's own words; empty: not known
  std::string policy = {};  // of a key made just now: what openssl.cnf says of its policy, in lines
};

// The object's label; where it has none, its id in hexadecimal digits, or its URI.
std::string name_of(const KeyDescription& key);

// A key that OpenSSL sees: a private key that stays on its token, or (software() true) an ordinary
// one. Immutable and safe to use from several threads; each call leases what it needs.
// All methods throw Error.
class Key {
 public:
  virtual ~Key() = default;
  virtual const PublicKey& public_key() const noexcept = 0;
  virtual const KeyDescription& description() const noexcept = 0;

  // `input` is already hashed (the message itself where the scheme has no digest, or says so).
  // Returns the RSA or EdDSA signature, or ECDSA r||s, each field_size() bytes: DER is the OpenSSL
  // layer's business. The token's state is rebuilt and the call repeated once by itself where that
  // helps (a lost session, a removed and returned token).
  virtual Bytes sign(const SignScheme& scheme, ByteView input) const = 0;

  // What sign() is to be given: the digest, or, where the device must hash for itself (it forbids
  // the raw mechanism), the whole message with a scheme that says so. Asks the token nothing, so
  // before the first signature it may be unsure: keep the message then, and sign it where the
  // digest is refused with kMechanismMissing and the answer has become kMessage.
  virtual SignInput sign_input(const SignScheme& scheme) const noexcept = 0;

  // Asked of the device now, as far as it may answer otherwise than before (PKCS#11: one call). The
  // token's state is rebuilt as by sign().
  virtual Protection protection() const = 0;

  // The one digest that the key signs, which is part of it; kNone: any.
  virtual Digest only_digest() const noexcept { return Digest::kNone; }

  // RSA decryption by the device. Throws kMechanismMissing where it lacks this form (raw and a
  // padding taken off in software may do), kDecryptionFailed where it does not like the
  // ciphertext.
  virtual Secret decrypt(const DecryptScheme& scheme, ByteView ciphertext) const = 0;

  // ECDH (SP 800-56A, 5.7.1.2) with `peer`, an uncompressed point of the same curve, or X25519 and
  // X448 (RFC 7748) with the bytes of such a key: the shared x coordinate, field_size() bytes.
  virtual Secret derive(ByteView peer) const = 0;

  // As long as what is returned lives, the key counts as open: the PIN in use is kept, for healing
  // and for forked children. Where none is in use, one that `pins` yields without asking anybody
  // is taken. Null if the key needs none.
  virtual std::shared_ptr<const void> hold(const PinChain& pins) const = 0;

  // What the key is kept as outside of its token, wrapped by it; nullopt where a URI is all there
  // is to write.
  virtual std::optional<KeyReference> wrapped() const { return std::nullopt; }
};

}  // namespace hwid::core
