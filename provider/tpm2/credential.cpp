#include "provider/tpm2/credential.h"

#include <tss2/tss2_mu.h>

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

// `marshal`: a Tss2_MU_TYPE_Marshal.
template <typename T>
void append(Bytes& to, TSS2_RC (*marshal)(const T*, std::uint8_t[], std::size_t, std::size_t*),
            const T& value) {
  std::size_t at = to.size();
  to.resize(at + sizeof value);
  if (marshal(&value, to.data(), to.size(), &at) != TSS2_RC_SUCCESS)
    throw Error(Reason::kInternal,
                "Tss2_MU: a part of a credential has no form; this is a mistake of the program");
  to.resize(at);
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

std::string fault_of_size(ByteView bytes, std::size_t most) {
  if (bytes.empty()) return "it is empty";
  if (bytes.size() <= most) return {};
  return "it has " + std::to_string(bytes.size()) + " bytes, and a TPM takes " +
         std::to_string(most) + " at most";
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
  const Bytes mac = hash.hmac(hmac_key.reveal(), {inner.reveal(), name});
  TPM2B_DIGEST integrity{};
  integrity.size = static_cast<UINT16>(mac.size());
  std::ranges::copy(mac, integrity.buffer);
  append(made.blob, &Tss2_MU_TPM2B_DIGEST_Marshal, integrity);
  made.blob.insert(made.blob.end(), inner.reveal().begin(), inner.reveal().end());
  made.secret = seed.encrypted;
  return made;
}

// An HMAC, and the secret behind it, whose size is encrypted as well (Part 2, 12.4.2).
std::string fault_of_blob(ByteView blob) {
  std::string fault = fault_of_size(blob, sizeof TPM2B_ID_OBJECT::credential);
  if (!fault.empty()) return fault;
  TPM2B_DIGEST integrity{};
  std::size_t at = 0;
  const bool is_read =
      Tss2_MU_TPM2B_DIGEST_Unmarshal(blob.data(), blob.size(), &at, &integrity) == TSS2_RC_SUCCESS;
  const bool is_whole = is_read && integrity.size > 0 && blob.size() - at >= sizeof(UINT16);
  return is_whole ? "" : "it is no TPMS_ID_OBJECT";
}

std::string fault_of_seed(ByteView secret) {
  return fault_of_size(secret, sizeof TPM2B_ENCRYPTED_SECRET::secret);
}

Bytes tools_credential(const Credential& credential) {
  Bytes file(kToolsHeader.begin(), kToolsHeader.end());
  TPM2B_ID_OBJECT blob{};
  if (credential.blob.size() > sizeof blob.credential)
    throw Error(Reason::kBadParameter, "the credential is longer than any of a TPM; get a new one");
  blob.size = static_cast<UINT16>(credential.blob.size());
  std::ranges::copy(credential.blob, blob.credential);
  append(file, &Tss2_MU_TPM2B_ID_OBJECT_Marshal, blob);
  append(file, &Tss2_MU_TPM2B_ENCRYPTED_SECRET_Marshal, credential.secret);
  return file;
}

std::optional<Credential> parse_tools_credential(ByteView bytes) {
  if (bytes.size() < kToolsHeader.size() ||
      !std::ranges::equal(bytes.first(kToolsHeader.size()), kToolsHeader))
    return std::nullopt;
  Credential read;
  TPM2B_ID_OBJECT blob{};
  std::size_t at = kToolsHeader.size();
  if (Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(bytes.data(), bytes.size(), &at, &blob) !=
          TSS2_RC_SUCCESS ||
      Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(bytes.data(), bytes.size(), &at, &read.secret) !=
          TSS2_RC_SUCCESS ||
      at != bytes.size())
    return std::nullopt;
  read.blob.assign(blob.credential, blob.credential + blob.size);
  return read;
}

}  // namespace hwid::tpm2
