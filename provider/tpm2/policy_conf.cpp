#include "provider/tpm2/policy_conf.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <sstream>

#include "provider/core/error.h"
#include "provider/core/pin.h"
#include "provider/core/uri.h"
#include "provider/tpm2/errors.h"
#include "provider/tpm2/key_file.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Libcrypto;
using core::Reason;

namespace {

constexpr std::size_t kMostBranches = 8;  // TPM 2.0 Part 3, 23.6
constexpr int kMostDepth = 4;             // of policies that name policies

class ConfReader {
 public:
  ConfReader(const Libcrypto& crypto, TPMI_ALG_HASH hash, const PolicySource& source, int depth)
      : crypto_(crypto), hash_(hash), source_(source), depth_(depth) {}

  Policy read() const {
    Policy policy;
    const std::vector<std::string> statements = words("statements");
    if (statements.empty())
      reject("statements", "", "write what must hold, in its order: such as `pcr auth-value`");
    for (const std::string& word : statements) {
      if (word == "or" && !policy.statements.empty())
        reject("statements", word,
               "it stands first; put what comes before into each of its policies");
      policy.statements.push_back(statement(word));
    }
    return policy;
  }

 private:
  [[noreturn]] void reject(const char* key, const std::string& value,
                           const std::string& why) const {
    throw Error(Reason::kBadConfiguration,
                source_.origin + ": " + key + (value.empty() ? "" : " = " + value) + ": " + why);
  }
  std::string text(const char* key) const { return source_.setting(key).value_or(""); }
  std::vector<std::string> words(const char* key) const {
    std::istringstream stream(text(key));
    std::vector<std::string> all;
    for (std::string word; stream >> word;) all.push_back(word);
    return all;
  }

  Statement statement(const std::string& word) const {
    if (word == "pcr") return pcr();
    if (word == "auth-value") return AuthValueStatement{};
    if (word == "password") return AuthValueStatement{true};
    if (word == "command-code") return command();
    if (word == "signed")
      return SignedStatement{signer("signed-key", "signed-ref", "signed-signature")};
    if (word == "authorize")
      return AuthorizeStatement{signer("authorize-key", "authorize-ref", "authorize-signature")};
    if (word == "secret") return secret();
    if (word == "or") return one_of();
    reject("statements", word,
           "write pcr, auth-value, password, command-code, signed, authorize, secret or or");
  }

  Statement pcr() const {
    const std::string value = text("pcr");
    const std::optional<WrittenPcrs> written = parse_pcrs(value);
    if (!written)
      reject("pcr", value,
             "write banks and PCRs (sha256:0,7), or PCRs with the values that are wanted, all of "
             "them (sha256:0=HEX sha256:7=HEX)");
    return PcrStatement{written->selection, {}, written->values};
  }

  Statement command() const {
    constexpr std::pair<const char*, TPM2_CC> kCommands[] = {{"sign", TPM2_CC_Sign},
                                                             {"rsa-decrypt", TPM2_CC_RSA_Decrypt},
                                                             {"ecdh-zgen", TPM2_CC_ECDH_ZGen}};
    const std::string value = text("command-code");
    for (const auto& [name, code] : kCommands) {
      if (value == name) return CommandStatement{code};
    }
    const auto code = core::parse_handle(value);
    if (!code || !value.starts_with("0x"))
      reject("command-code", value,
             "write sign, rsa-decrypt, ecdh-zgen, or the command's number, such as 0x15d");
    return CommandStatement{*code};
  }

  Signer signer(const char* key, const char* ref, const char* signature) const {
    Signer made;
    const std::string key_file = text(key);
    if (key_file.empty()) reject(key, "", "write the file of the public key that signs");
    const auto area = parse_signer(crypto_, read_whole(source_.origin + ": " + key, key_file));
    if (!area)
      reject(
          key, key_file,
          "it is neither a TPM2B_PUBLIC (tpm2_readpublic -o) nor a public key in PEM, RSA or EC");
    made.key = *area;
    made.policy_ref = policy_ref(ref);
    const std::string signature_file = text(signature);
    if (signature_file.empty()) return made;
    made.signature = parse_signature(area->publicArea,
                                     read_whole(source_.origin + ": " + signature, signature_file));
    if (!made.signature)
      reject(signature, signature_file,
             "it is neither a TPMT_SIGNATURE nor a signature as `openssl dgst -sign` writes it for "
             "that key");
    return made;
  }

  Statement secret() const {
    SecretStatement made;
    const std::string object = text("secret-object");
    const auto handle = object == "lockout" ? TPM2_RH_LOCKOUT : core::parse_parent(object);
    if (!handle || *handle == TPM2_RH_NULL)  // whose value no TPM lets a policy ask for
      reject("secret-object", object,
             "write owner, endorsement, platform, lockout, or a persistent handle such as "
             "0x81000001");
    made.object = *handle;
    const auto name = parse_hex(text("secret-name"));
    if (!name || name->empty() != is_hierarchy(*handle))
      reject(
          "secret-name", text("secret-name"),
          "write the name of a persistent object, and of nothing else, in hexadecimal digits, as "
          "`tpm2_readpublic -c HANDLE` shows it");
    made.name = is_hierarchy(*handle) ? handle_name(*handle) : *name;
    made.policy_ref = policy_ref("secret-ref");
    const std::string source = text("secret-source");
    if (source.empty()) return made;
    const core::Log no_log;
    made.value = std::make_shared<const core::Secret>(
        core::read_pin_source(source, source_.log != nullptr ? *source_.log : no_log));
    return made;
  }

  Bytes policy_ref(const char* key) const {
    const auto bytes = parse_hex(text(key));
    if (!bytes || bytes->size() > sizeof(TPMU_HA))
      reject(key, text(key), "write at most 64 bytes in hexadecimal digits");
    return *bytes;
  }

  Statement one_of() const {
    const std::vector<std::string> names = words("or");
    if (names.size() < 2 || names.size() > kMostBranches)
      reject("or", text("or"), "write the names of two to eight policies");
    if (depth_ == kMostDepth) reject("or", text("or"), "policies lead to policies, too many times");
    OrStatement made;
    for (const std::string& name : names) made.branches.push_back(branch(name));
    return made;
  }

  Policy branch(const std::string& name) const {
    const auto setting = [&](const std::string& key) {
      return source_.policies ? source_.policies(name + "." + key) : std::nullopt;
    };
    if (!has_policy(setting))
      reject("or", name, "there is no policy of that name; add it to the section `policies`");
    const PolicySource source{setting, source_.policies, "policy " + name, source_.log};
    Policy policy = ConfReader(crypto_, hash_, source, depth_ + 1).read();
    if (!policy_digest(crypto_, hash_, policy))
      throw Error(Reason::kBadConfiguration,
                  source.origin +
                      ": pcr: among several policies the values of PCRs must be there; write them, "
                      "as in sha256:7=HEX");
    return policy;
  }

  const Libcrypto& crypto_;
  const TPMI_ALG_HASH hash_;
  const PolicySource& source_;
  const int depth_;
};

template <typename Buffer>
void assign(Buffer& sized, ByteView bytes) {
  sized.size = static_cast<UINT16>(std::min(bytes.size(), sizeof sized.buffer));
  std::copy_n(bytes.begin(), sized.size, sized.buffer);
}

Bytes parameter(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key, name, &number);
  const core::BigNum owner(number);
  if (number == nullptr) return {};
  Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, bytes.data());
  return bytes;
}

core::EvpPkey pem_key(const Libcrypto& crypto, ByteView content) {
  const core::ErrorMark mark;
  if (content.empty()) return {};
  const core::Bio bio(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  core::EvpPkey key;
  while (bio && !key && PEM_read_bio(bio.get(), &label, &header, &data, &size) == 1) {
    if (std::string_view(label) == PEM_STRING_PUBLIC) {
      const unsigned char* at = data;
      key.reset(d2i_PUBKEY_ex(nullptr, &at, size, crypto.get(), core::kNotHwid));
    }
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
  return key;
}

}  // namespace

bool has_policy(const core::ConfigLookup& setting) {
  return setting && setting("statements").has_value();
}

Policy read_policy(const Libcrypto& crypto, TPMI_ALG_HASH hash, const PolicySource& source) {
  return ConfReader(crypto, hash, source, 0).read();
}

std::string settings_text(const PolicySource& source, const Policy& policy) {
  std::string text;
  for (const char* const key :
       {"statements", "pcr", "command-code", "signed-key", "signed-ref", "signed-signature",
        "authorize-key", "authorize-ref", "authorize-signature", "secret-object", "secret-name",
        "secret-ref", "secret-source", "or"}) {
    std::string value = source.setting(key).value_or("");
    for (const Statement& statement : policy.statements) {
      const auto* const pcr = std::get_if<PcrStatement>(&statement);
      if (pcr != nullptr && std::string_view(key) == "pcr" && !pcr->values.empty())
        value = values_text(pcr->values);
    }
    if (!value.empty()) text += std::string(key) + " = " + value + "\n";
  }
  return text;
}

std::shared_ptr<const KeyPolicy> policy_for(const Libcrypto& crypto, const TPMT_PUBLIC& area,
                                            const PolicySource& source) {
  auto made = std::make_shared<KeyPolicy>();
  made->hash = area.nameAlg;
  made->origin = source.origin;
  made->alternatives.push_back(read_policy(crypto, area.nameAlg, source));
  const auto digest = policy_digest(crypto, area.nameAlg, made->alternatives.front());
  const ByteView wanted(area.authPolicy.buffer, area.authPolicy.size);
  if (digest && !std::ranges::equal(*digest, wanted))
    throw Error(Reason::kBadConfiguration,
                source.origin + ": it is not the key's: its digest is " + core::to_hex(*digest) +
                    ", and the key asks for " + (wanted.empty() ? "none" : core::to_hex(wanted)) +
                    "; correct statements, their order and their values");
  return made;
}

std::optional<TPM2B_PUBLIC> parse_signer(const Libcrypto& crypto, ByteView content) {
  if (const auto area = unmarshal_public(content)) return area;
  const core::EvpPkey key = pem_key(crypto, content);
  if (!key) return std::nullopt;
  TPM2B_PUBLIC made{};
  TPMT_PUBLIC& area = made.publicArea;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN_ENCRYPT;
  if (EVP_PKEY_is_a(key.get(), "RSA") == 1) {
    area.type = TPM2_ALG_RSA;
    TPMS_RSA_PARMS& rsa = area.parameters.rsaDetail;
    rsa.symmetric.algorithm = rsa.scheme.scheme = TPM2_ALG_NULL;
    rsa.keyBits = static_cast<TPMI_RSA_KEY_BITS>(EVP_PKEY_get_bits(key.get()));
    for (const std::uint8_t byte : parameter(key.get(), OSSL_PKEY_PARAM_RSA_E))
      rsa.exponent = rsa.exponent << 8 | byte;
    assign(area.unique.rsa, parameter(key.get(), OSSL_PKEY_PARAM_RSA_N));
    return made;
  }
  char group[64] = {};
  if (EVP_PKEY_is_a(key.get(), "EC") != 1 ||
      EVP_PKEY_get_utf8_string_param(key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                     nullptr) != 1)
    return std::nullopt;
  const auto curve = curve_named(group);
  if (!curve) return std::nullopt;
  area.type = TPM2_ALG_ECC;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = ecc.scheme.scheme = ecc.kdf.scheme = TPM2_ALG_NULL;
  ecc.curveID = *curve;
  const auto size = static_cast<std::size_t>((EVP_PKEY_get_bits(key.get()) + 7) / 8);
  const auto padded = [&](const char* name) {
    Bytes bytes = parameter(key.get(), name);
    if (bytes.size() < size) bytes.insert(bytes.begin(), size - bytes.size(), 0);
    return bytes;
  };
  assign(area.unique.ecc.x, padded(OSSL_PKEY_PARAM_EC_PUB_X));
  assign(area.unique.ecc.y, padded(OSSL_PKEY_PARAM_EC_PUB_Y));
  return made;
}

std::optional<TPMT_SIGNATURE> parse_signature(const TPMT_PUBLIC& signer, ByteView content) {
  TPMT_SIGNATURE made{};
  std::size_t size = 0;
  if (Tss2_MU_TPMT_SIGNATURE_Unmarshal(content.data(), content.size(), &size, &made) ==
          TSS2_RC_SUCCESS &&
      size == content.size())
    return made;
  made = {};
  if (signer.type == TPM2_ALG_RSA) {
    if (content.size() != signer.parameters.rsaDetail.keyBits / 8U) return std::nullopt;
    made.sigAlg = TPM2_ALG_RSASSA;
    made.signature.rsassa.hash = signer.nameAlg;
    assign(made.signature.rsassa.sig, content);
    return made;
  }
  const core::ErrorMark mark;
  const unsigned char* at = content.data();
  const std::unique_ptr<ECDSA_SIG, core::FreeWith<ECDSA_SIG_free>> pair(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(content.size())));
  if (!pair || at != content.data() + content.size()) return std::nullopt;
  made.sigAlg = TPM2_ALG_ECDSA;
  made.signature.ecdsa.hash = signer.nameAlg;
  const auto put = [](const BIGNUM* number, TPM2B_ECC_PARAMETER& out) {
    Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, bytes.data());
    assign(out, bytes);
  };
  put(ECDSA_SIG_get0_r(pair.get()), made.signature.ecdsa.signatureR);
  put(ECDSA_SIG_get0_s(pair.get()), made.signature.ecdsa.signatureS);
  return made;
}

}  // namespace hwid::tpm2
