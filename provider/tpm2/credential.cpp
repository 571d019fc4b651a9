#include "provider/tpm2/credential.h"

#include <algorithm>
#include <array>

#include "provider/core/error.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

constexpr const char* kWhose = "the endorsement key";
constexpr const char* kNext = "use another endorsement key of that TPM";

// TPM2B_DIGEST, TPM2B_ID_OBJECT, ...: the size, and the bytes.
void append_sized(Bytes& to, ByteView bytes) {
  to.push_back(static_cast<std::uint8_t>(bytes.size() >> 8));
  to.push_back(static_cast<std::uint8_t>(bytes.size()));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Takes one off the front; nullopt: it is cut short.
std::optional<ByteView> take_sized(ByteView& bytes) {
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t size = std::size_t{bytes[0]} << 8 | bytes[1];
  if (bytes.size() - 2 < size) return std::nullopt;
  const ByteView taken = bytes.subspan(2, size);
  bytes = bytes.subspan(2 + size);
  return taken;
}

// Bytes of the key that encrypts for what is below `key`.
std::size_t symmetric_size(const TPMT_PUBLIC& key) {
  const TPMT_SYM_DEF_OBJECT& symmetric = key.parameters.asymDetail.symmetric;
  const unsigned bits = symmetric.keyBits.aes;
  const bool is_size = bits == 128 || bits == 192 || bits == 256;
  if (symmetric.algorithm != TPM2_ALG_AES || symmetric.mode.aes != TPM2_ALG_CFB || !is_size)
    throw Error(Reason::kBadParameter,
                std::string(kWhose) + " is no storage key of AES in CFB mode; " + kNext);
  return bits / 8;
}

constexpr std::array<std::uint8_t, 8> kToolsHeader = {0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1};

}  // namespace

Credential make_credential(const core::Libcrypto& crypto, const TPMT_PUBLIC& endorsement_key,
                           ByteView name, const Secret& secret) {
  const bool is_pair = endorsement_key.type == TPM2_ALG_RSA || endorsement_key.type == TPM2_ALG_ECC;
  if (!is_pair || (endorsement_key.objectAttributes & TPMA_OBJECT_RESTRICTED) == 0)
    throw Error(Reason::kBadParameter, std::string(kWhose) + " is no storage key; " + kNext);
  const std::size_t key_size = symmetric_size(endorsement_key);
  if (secret.empty() || secret.size() > hash_size(endorsement_key.nameAlg))
    throw Error(Reason::kInternal,
                "TPM2_MakeCredential: the secret is longer than nameAlg; this is a mistake of the "
                "program");
  Salt seed = make_seed(crypto, endorsement_key, {"IDENTITY", kWhose, kNext});
  const SessionCrypto hash(crypto, endorsement_key.nameAlg);
  const Secret key = hash.kdfa(seed.value.reveal(), "STORAGE", name, {}, key_size);
  const Secret hmac_key = hash.kdfa(seed.value.reveal(), "INTEGRITY", {}, {}, hash.digest_size());
  constexpr std::array<std::uint8_t, 16> kZeroIv{};
  Secret inner(2 + secret.size());  // a TPM2B_DIGEST, which never stands here in clear
  inner.writable()[1] = static_cast<std::uint8_t>(secret.size());
  std::ranges::copy(secret.reveal(), inner.writable().begin() + 2);
  hash.cfb(true, key.reveal(), kZeroIv, inner.writable());
  Credential made;
  append_sized(made.blob, hash.hmac(hmac_key.reveal(), {inner.reveal(), name}));
  made.blob.insert(made.blob.end(), inner.reveal().begin(), inner.reveal().end());
  made.secret = seed.encrypted;
  return made;
}

Bytes tools_credential(const Credential& credential) {
  Bytes file(kToolsHeader.begin(), kToolsHeader.end());
  append_sized(file, credential.blob);
  append_sized(file, {credential.secret.secret, credential.secret.size});
  return file;
}

std::optional<Credential> parse_tools_credential(ByteView bytes) {
  if (bytes.size() < kToolsHeader.size() ||
      !std::ranges::equal(bytes.first(kToolsHeader.size()), kToolsHeader))
    return std::nullopt;
  bytes = bytes.subspan(kToolsHeader.size());
  const std::optional<ByteView> blob = take_sized(bytes);
  const std::optional<ByteView> secret = blob ? take_sized(bytes) : std::nullopt;
  Credential read;
  if (!secret || !bytes.empty() || secret->size() > sizeof read.secret.secret) return std::nullopt;
  read.blob.assign(blob->begin(), blob->end());
  read.secret.size = static_cast<UINT16>(secret->size());
  std::ranges::copy(*secret, read.secret.secret);
  return read;
}

}  // namespace hwid::tpm2
