#include "provider/tpm2/public_area.h"

#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <array>

#include "provider/tpm2/errors.h"

namespace hwid::tpm2 {

using core::Algorithm;
using core::Bytes;
using core::ByteView;
using core::Digest;
using core::Error;
using core::Reason;

namespace {

constexpr std::uint32_t kDefaultExponent = 0x10001;  // which a TPM may write as 0

struct CurveRow {
  TPM2_ECC_CURVE curve;
  int nid;
  std::size_t bits;
  std::array<const char*, 3> names;  // as OpenSSL's users write them
};
constexpr CurveRow kCurves[] = {
    {TPM2_ECC_NIST_P192, NID_X9_62_prime192v1, 192, {"P-192", "prime192v1", "secp192r1"}},
    {TPM2_ECC_NIST_P224, NID_secp224r1, 224, {"P-224", "secp224r1", "secp224r1"}},
    {TPM2_ECC_NIST_P256, NID_X9_62_prime256v1, 256, {"P-256", "prime256v1", "secp256r1"}},
    {TPM2_ECC_NIST_P384, NID_secp384r1, 384, {"P-384", "secp384r1", "secp384r1"}},
    {TPM2_ECC_NIST_P521, NID_secp521r1, 521, {"P-521", "secp521r1", "secp521r1"}},
};

struct HashRow {
  TPM2_ALG_ID hash;
  Digest digest;
  const char* name;
};
constexpr HashRow kHashes[] = {
    {TPM2_ALG_SHA1, Digest::kSha1, "TPM2_ALG_SHA1"},
    {TPM2_ALG_SHA256, Digest::kSha256, "TPM2_ALG_SHA256"},
    {TPM2_ALG_SHA384, Digest::kSha384, "TPM2_ALG_SHA384"},
    {TPM2_ALG_SHA512, Digest::kSha512, "TPM2_ALG_SHA512"},
    {TPM2_ALG_SM3_256, Digest::kSm3, "TPM2_ALG_SM3_256"},
    {TPM2_ALG_SHA3_256, Digest::kSha3_256, "TPM2_ALG_SHA3_256"},
    {TPM2_ALG_SHA3_384, Digest::kSha3_384, "TPM2_ALG_SHA3_384"},
    {TPM2_ALG_SHA3_512, Digest::kSha3_512, "TPM2_ALG_SHA3_512"},
};

struct AlgorithmName {
  TPM2_ALG_ID algorithm;
  const char* name;
};
constexpr AlgorithmName kNames[] = {
    {TPM2_ALG_RSA, "TPM2_ALG_RSA"},
    {TPM2_ALG_ECC, "TPM2_ALG_ECC"},
    {TPM2_ALG_KEYEDHASH, "TPM2_ALG_KEYEDHASH"},
    {TPM2_ALG_SYMCIPHER, "TPM2_ALG_SYMCIPHER"},
    {TPM2_ALG_RSASSA, "TPM2_ALG_RSASSA"},
    {TPM2_ALG_RSAES, "TPM2_ALG_RSAES"},
    {TPM2_ALG_RSAPSS, "TPM2_ALG_RSAPSS"},
    {TPM2_ALG_OAEP, "TPM2_ALG_OAEP"},
    {TPM2_ALG_ECDSA, "TPM2_ALG_ECDSA"},
    {TPM2_ALG_ECDH, "TPM2_ALG_ECDH"},
    {TPM2_ALG_ECDAA, "TPM2_ALG_ECDAA"},
    {TPM2_ALG_SM2, "TPM2_ALG_SM2"},
    {TPM2_ALG_ECSCHNORR, "TPM2_ALG_ECSCHNORR"},
    {TPM2_ALG_NULL, "TPM2_ALG_NULL"},
};

const CurveRow* find_curve(TPM2_ECC_CURVE curve) {
  const auto* const row = std::ranges::find(kCurves, curve, &CurveRow::curve);
  return row != std::end(kCurves) ? row : nullptr;
}

const CurveRow& curve_row(TPM2_ECC_CURVE curve) {
  if (const CurveRow* const row = find_curve(curve)) return *row;
  std::string name = hex(curve);
  if (curve == TPM2_ECC_BN_P256) name = "BN-256";
  if (curve == TPM2_ECC_SM2_P256) name = "SM2-P256";
  throw Error(Reason::kUnsupported, "the TPM's key is on the curve " + name +
                                        ", which is not served; make it on P-256 or P-384");
}

[[noreturn]] void no_key_pair(TPM2_ALG_ID type) {
  throw Error(Reason::kUnsupported, "the TPM's object is of type " + algorithm_text(type) +
                                        ", which is no key pair; name an RSA or EC key");
}

ByteView view(const TPM2B_ECC_PARAMETER& parameter) {
  return {parameter.buffer, std::min<std::size_t>(parameter.size, sizeof parameter.buffer)};
}

// Uncompressed, each coordinate at full width: some TPMs leave leading zeros out.
Bytes point_of(const TPMS_ECC_POINT& point, std::size_t field_size) {
  Bytes bytes(1 + 2 * field_size, 0);
  bytes[0] = 0x04;
  std::size_t end = 1;
  for (const ByteView coordinate : {view(point.x), view(point.y)}) {
    end += field_size;
    if (coordinate.empty() || coordinate.size() > field_size)
      throw Error(Reason::kBadParameter, "the TPM's EC key has a coordinate of " +
                                             std::to_string(coordinate.size()) + " bytes, not " +
                                             std::to_string(field_size) +
                                             "; read the key's public area again");
    std::copy(coordinate.begin(), coordinate.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(end - coordinate.size()));
  }
  return bytes;
}

Bytes curve_parameters(const CurveRow& row) {
  std::uint8_t* der = nullptr;
  const int size = i2d_ASN1_OBJECT(OBJ_nid2obj(row.nid), &der);
  if (size <= 0) throw std::bad_alloc();
  Bytes parameters(der, der + size);
  OPENSSL_free(der);
  return parameters;
}

std::optional<Bytes> try_marshal(const TPMT_PUBLIC& area) {
  Bytes bytes(sizeof area);
  std::size_t size = 0;
  if (Tss2_MU_TPMT_PUBLIC_Marshal(&area, bytes.data(), bytes.size(), &size) != TSS2_RC_SUCCESS)
    return std::nullopt;
  bytes.resize(size);
  return bytes;
}

Bytes marshal_area(const TPMT_PUBLIC& area) {
  std::optional<Bytes> bytes = try_marshal(area);
  if (!bytes)
    throw Error(Reason::kInternal,
                "Tss2_MU_TPMT_PUBLIC_Marshal: the public area has no form; this is a "
                "mistake of the program");
  return *std::move(bytes);
}

bool is_set(const TPMT_PUBLIC& area, TPMA_OBJECT attribute) {
  return (area.objectAttributes & attribute) != 0;
}

std::uint32_t exponent_of(const core::KeySpec& spec) {
  std::uint32_t exponent = 0;
  for (const std::uint8_t byte : spec.rsa_exponent) {
    if ((exponent >> 24) != 0)
      throw Error(Reason::kUnsupported,
                  "TPM2_Create: a TPM's RSA exponent has 32 bits; leave it at 65537");
    exponent = exponent << 8 | byte;
  }
  return exponent == kDefaultExponent ? 0 : exponent;
}

TPM2_ECC_CURVE curve_of(const std::string& group) {
  if (const auto curve = curve_named(group)) return *curve;
  throw Error(Reason::kUnsupported,
              "TPM2_Create: no TPM has the group \"" + group + "\"; use P-256, P-384 or P-521");
}

constexpr TPMA_OBJECT kStaysHere =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;

}  // namespace

std::optional<TPM2B_PUBLIC> unmarshal_public(ByteView bytes) {
  TPM2B_PUBLIC area{};
  std::size_t size = 0;
  if (bytes.size() <= 2 || std::size_t{bytes[0]} * 256 + bytes[1] != bytes.size() - 2 ||
      Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes.data(), bytes.size(), &size, &area) != TSS2_RC_SUCCESS ||
      size != bytes.size())
    return std::nullopt;
  // tss2-mu lets some selectors pass that it has no form for.
  const std::optional<Bytes> again = try_marshal(area.publicArea);
  const bool same = again && std::ranges::equal(*again, bytes.subspan(2));
  return same ? std::optional(area) : std::nullopt;
}

Bytes marshal_public(const TPM2B_PUBLIC& area) {
  const Bytes inner = marshal_area(area.publicArea);
  Bytes bytes(2 + inner.size());
  bytes[0] = static_cast<std::uint8_t>(inner.size() >> 8);
  bytes[1] = static_cast<std::uint8_t>(inner.size() & 0xff);
  std::ranges::copy(inner, bytes.begin() + 2);
  return bytes;
}

namespace {

// tpm2-openssl's rule, which its users' certificates follow: other keys with the scheme are RSA.
bool is_pss_only(const TPMT_PUBLIC& area) noexcept {
  return area.parameters.rsaDetail.scheme.scheme == TPM2_ALG_RSAPSS &&
         is_set(area, TPMA_OBJECT_RESTRICTED);
}

const char* pss_digest(const TPMT_PUBLIC& area) noexcept {
  const Digest digest = digest_of(area.parameters.rsaDetail.scheme.details.rsapss.hashAlg);
  return is_pss_only(area) && digest != Digest::kOther ? core::digest_name(digest) : nullptr;
}

}  // namespace

core::PublicKey public_key(const core::Libcrypto& crypto, const TPMT_PUBLIC& area) {
  if (area.type == TPM2_ALG_RSA) {
    const std::uint32_t written = area.parameters.rsaDetail.exponent;
    const std::uint32_t exponent = written == 0 ? kDefaultExponent : written;
    const std::array<std::uint8_t, 4> e = {
        static_cast<std::uint8_t>(exponent >> 24), static_cast<std::uint8_t>(exponent >> 16),
        static_cast<std::uint8_t>(exponent >> 8), static_cast<std::uint8_t>(exponent)};
    const TPM2B_PUBLIC_KEY_RSA& n = area.unique.rsa;
    core::PublicKey key =
        core::PublicKey::rsa(crypto, {n.buffer, std::min<std::size_t>(n.size, sizeof n.buffer)}, e,
                             is_pss_only(area), pss_digest(area));
    if (key.bits() != area.parameters.rsaDetail.keyBits)
      throw Error(Reason::kBadParameter,
                  "the TPM's RSA key says " + std::to_string(area.parameters.rsaDetail.keyBits) +
                      " bits and has a modulus of " + std::to_string(key.bits()) +
                      "; read the key's public area again");
    return key;
  }
  if (area.type != TPM2_ALG_ECC) no_key_pair(area.type);
  const CurveRow& row = curve_row(area.parameters.eccDetail.curveID);
  return core::PublicKey::ec(crypto, curve_parameters(row),
                             point_of(area.unique.ecc, (row.bits + 7) / 8));
}

namespace {

Bytes name_of(const core::Libcrypto& crypto, TPMI_ALG_HASH algorithm, ByteView marshalled) {
  const Digest digest = digest_of(algorithm);
  if (digest == Digest::kOther)
    throw Error(Reason::kUnsupported, "the TPM's object has " + algorithm_text(algorithm) +
                                          " as its nameAlg; make one with SHA-256");
  const core::EvpMd md = crypto.fetch_digest(core::digest_name(digest));
  Bytes name(2 + core::digest_size(digest));
  name[0] = static_cast<std::uint8_t>(algorithm >> 8);
  name[1] = static_cast<std::uint8_t>(algorithm & 0xff);
  if (EVP_Digest(marshalled.data(), marshalled.size(), name.data() + 2, nullptr, md.get(),
                 nullptr) != 1)
    throw Error(Reason::kLibcrypto,
                "EVP_Digest: an object's public area: " + core::last_libcrypto_error() +
                    "; check OpenSSL's configuration");
  return name;
}

}  // namespace

Bytes object_name(const core::Libcrypto& crypto, const TPMT_PUBLIC& area) {
  return name_of(crypto, area.nameAlg, marshal_area(area));
}

Bytes nv_name(const core::Libcrypto& crypto, const TPMS_NV_PUBLIC& area) {
  Bytes bytes(sizeof area);
  std::size_t size = 0;
  if (Tss2_MU_TPMS_NV_PUBLIC_Marshal(&area, bytes.data(), bytes.size(), &size) != TSS2_RC_SUCCESS)
    throw Error(Reason::kInternal,
                "Tss2_MU_TPMS_NV_PUBLIC_Marshal: the NV index has no form; this is a mistake of "
                "the program");
  return name_of(crypto, area.nameAlg, ByteView(bytes).first(size));
}

std::string traits_text(const TPMT_PUBLIC& area) {
  constexpr std::pair<TPMA_OBJECT, const char*> kNames[] = {
      {TPMA_OBJECT_FIXEDTPM, "fixedtpm"},
      {TPMA_OBJECT_STCLEAR, "stclear"},
      {TPMA_OBJECT_FIXEDPARENT, "fixedparent"},
      {TPMA_OBJECT_SENSITIVEDATAORIGIN, "sensitivedataorigin"},
      {TPMA_OBJECT_USERWITHAUTH, "userwithauth"},
      {TPMA_OBJECT_ADMINWITHPOLICY, "adminwithpolicy"},
      {TPMA_OBJECT_NODA, "noda"},
      {TPMA_OBJECT_ENCRYPTEDDUPLICATION, "encryptedduplication"},
      {TPMA_OBJECT_RESTRICTED, "restricted"},
      {TPMA_OBJECT_DECRYPT, "decrypt"},
      {TPMA_OBJECT_SIGN_ENCRYPT, "sign"},
      {TPMA_OBJECT_X509SIGN, "x509sign"}};
  std::string text;
  for (const auto& [attribute, name] : kNames) {
    if (is_set(area, attribute)) text += (text.empty() ? "" : "|") + std::string(name);
  }
  const KeyTraits traits = key_traits(area);
  if (traits.scheme != TPM2_ALG_NULL) text += "; scheme " + algorithm_text(traits.scheme);
  if (traits.scheme_hash != TPM2_ALG_NULL) text += " with " + algorithm_text(traits.scheme_hash);
  if (traits.has_policy) text += "; policy";
  return text;
}

namespace {

bool is_storage_key(const TPMT_PUBLIC& area) {
  return is_set(area, TPMA_OBJECT_RESTRICTED) && is_set(area, TPMA_OBJECT_DECRYPT);
}

}  // namespace

bool is_key(const TPMT_PUBLIC& area) {
  const bool is_pair =
      area.type == TPM2_ALG_RSA ||
      (area.type == TPM2_ALG_ECC && find_curve(area.parameters.eccDetail.curveID) != nullptr);
  return is_pair && !is_storage_key(area);
}

std::string kind_text(const TPMT_PUBLIC& area) {
  const std::string key = is_storage_key(area) ? "storage key " : "key ";
  switch (area.type) {
    case TPM2_ALG_RSA:
      return key + "RSA " + std::to_string(area.parameters.rsaDetail.keyBits);
    case TPM2_ALG_ECC: {
      const CurveRow* const row = find_curve(area.parameters.eccDetail.curveID);
      return key + "EC " +
             (row != nullptr ? row->names[0]
                             : "on curve " + hex(area.parameters.eccDetail.curveID));
    }
    case TPM2_ALG_KEYEDHASH:
      if (is_set(area, TPMA_OBJECT_SIGN_ENCRYPT)) return "HMAC key";
      return is_set(area, TPMA_OBJECT_DECRYPT) ? "XOR key" : "sealed data";
    case TPM2_ALG_SYMCIPHER:
      return is_storage_key(area) ? "symmetric storage key" : "symmetric key";
    default:
      return "object of type " + algorithm_text(area.type);
  }
}

core::Protection protection(const TPMT_PUBLIC& area) {
  core::Protection protection;
  protection.fixed_tpm = is_set(area, TPMA_OBJECT_FIXEDTPM);
  protection.fixed_parent = is_set(area, TPMA_OBJECT_FIXEDPARENT);
  protection.sensitive_data_origin = is_set(area, TPMA_OBJECT_SENSITIVEDATAORIGIN);
  protection.restricted = is_set(area, TPMA_OBJECT_RESTRICTED);
  return protection;
}

KeyTraits key_traits(const TPMT_PUBLIC& area) {
  KeyTraits traits;
  if (area.type == TPM2_ALG_RSA) {
    const TPMT_RSA_SCHEME& scheme = area.parameters.rsaDetail.scheme;
    traits.algorithm = is_pss_only(area) ? Algorithm::kRsaPss : Algorithm::kRsa;
    traits.bits = area.parameters.rsaDetail.keyBits;
    traits.scheme = scheme.scheme;
    if (scheme.scheme != TPM2_ALG_NULL && scheme.scheme != TPM2_ALG_RSAES)
      traits.scheme_hash = scheme.details.anySig.hashAlg;
  } else if (area.type == TPM2_ALG_ECC) {
    const TPMT_ECC_SCHEME& scheme = area.parameters.eccDetail.scheme;
    traits.algorithm = Algorithm::kEc;
    traits.bits = curve_row(area.parameters.eccDetail.curveID).bits;
    traits.scheme = scheme.scheme;
    if (scheme.scheme != TPM2_ALG_NULL) traits.scheme_hash = scheme.details.anySig.hashAlg;
  } else {
    no_key_pair(area.type);
  }
  // Part 2, 8.3.3.12: a key with x509sign does not sign by TPM2_Sign.
  traits.sign = is_set(area, TPMA_OBJECT_SIGN_ENCRYPT) && !is_set(area, TPMA_OBJECT_X509SIGN);
  traits.decrypt = is_set(area, TPMA_OBJECT_DECRYPT);
  traits.restricted = is_set(area, TPMA_OBJECT_RESTRICTED);
  traits.no_da = is_set(area, TPMA_OBJECT_NODA);
  traits.user_with_auth = is_set(area, TPMA_OBJECT_USERWITHAUTH);
  traits.has_policy = area.authPolicy.size != 0;
  return traits;
}

TPM2B_PUBLIC key_template(const core::KeySpec& spec, Digest digest, bool has_auth,
                          ByteView policy) {
  if (spec.uses)
    throw Error(Reason::kUnsupported,
                "TPM2_Create: pkcs11_key_usage is of keys on PKCS#11 tokens; leave it out");
  TPM2B_PUBLIC made{};
  TPMT_PUBLIC& area = made.publicArea;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = kStaysHere | TPMA_OBJECT_SIGN_ENCRYPT;
  if (policy.empty()) area.objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
  area.authPolicy.size = static_cast<UINT16>(policy.size());
  std::ranges::copy(policy, area.authPolicy.buffer);
  area.objectAttributes |= spec.algorithm == Algorithm::kRsaPss || spec.attests
                               ? TPMA_OBJECT_RESTRICTED
                               : TPMA_OBJECT_DECRYPT;
  if (!has_auth) area.objectAttributes |= TPMA_OBJECT_NODA;
  if (spec.algorithm == Algorithm::kEc) {
    area.type = TPM2_ALG_ECC;
    TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
    ecc.symmetric.algorithm = TPM2_ALG_NULL;
    ecc.scheme.scheme = TPM2_ALG_NULL;
    ecc.kdf.scheme = TPM2_ALG_NULL;
    ecc.curveID = curve_of(spec.group);
    if (spec.attests) {  // the scheme is part of it, and its hash as strong as the curve
      ecc.scheme.scheme = TPM2_ALG_ECDSA;
      ecc.scheme.details.ecdsa.hashAlg =
          curve_row(ecc.curveID).bits > 256 ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256;
    }
    return made;
  }
  if (!core::is_rsa(spec.algorithm))
    throw Error(Reason::kUnsupported, "TPM2_Create: no TPM has keys of type " +
                                          core::spec_text(spec) + "; use EC P-256 or RSA 2048");
  area.type = TPM2_ALG_RSA;
  TPMS_RSA_PARMS& rsa = area.parameters.rsaDetail;
  rsa.symmetric.algorithm = TPM2_ALG_NULL;
  rsa.scheme.scheme = TPM2_ALG_NULL;
  if (spec.rsa_bits > TPM2_MAX_RSA_KEY_BYTES * std::size_t{8})
    throw Error(Reason::kUnsupported, "TPM2_Create: no TPM has RSA keys of " +
                                          std::to_string(spec.rsa_bits) + " bits; use 2048");
  rsa.keyBits = static_cast<TPMI_RSA_KEY_BITS>(spec.rsa_bits);
  rsa.exponent = exponent_of(spec);
  if (spec.attests && spec.algorithm == Algorithm::kRsa) {
    rsa.scheme.scheme = TPM2_ALG_RSASSA;
    rsa.scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256;
  }
  if (spec.algorithm == Algorithm::kRsaPss) {
    rsa.scheme.scheme = TPM2_ALG_RSAPSS;
    rsa.scheme.details.rsapss.hashAlg = hash_algorithm(digest);
    if (rsa.scheme.details.rsapss.hashAlg == TPM2_ALG_NULL)
      throw Error(Reason::kUnsupported, std::string("TPM2_Create: no TPM has the digest ") +
                                            core::digest_name(digest) + "; use SHA2-256");
  }
  return made;
}

TPM2B_PUBLIC storage_template(StorageKey kind) {
  TPM2B_PUBLIC made{};
  TPMT_PUBLIC& area = made.publicArea;
  area.type = kind == StorageKey::kP256 ? TPM2_ALG_ECC : TPM2_ALG_RSA;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = kStaysHere | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
                          TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  TPMT_SYM_DEF_OBJECT symmetric{};
  symmetric.algorithm = TPM2_ALG_AES;
  symmetric.keyBits.aes = 128;
  symmetric.mode.aes = TPM2_ALG_CFB;
  if (kind == StorageKey::kP256) {
    TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
    ecc.symmetric = symmetric;
    ecc.scheme.scheme = TPM2_ALG_NULL;
    ecc.curveID = TPM2_ECC_NIST_P256;
    ecc.kdf.scheme = TPM2_ALG_NULL;
  } else {
    TPMS_RSA_PARMS& rsa = area.parameters.rsaDetail;
    rsa.symmetric = symmetric;
    rsa.scheme.scheme = TPM2_ALG_NULL;
    rsa.keyBits = 2048;
  }
  return made;
}

bool matches_template(const TPMT_PUBLIC& area, const TPMT_PUBLIC& wanted) {
  const auto comparable = [](TPMT_PUBLIC copy) {
    copy.unique = {};
    if (copy.type == TPM2_ALG_RSA && copy.parameters.rsaDetail.exponent == kDefaultExponent)
      copy.parameters.rsaDetail.exponent = 0;
    return try_marshal(copy);
  };
  const std::optional<Bytes> form = comparable(area);
  return form && form == comparable(wanted);
}

std::optional<TPM2_ECC_CURVE> curve_named(std::string_view group) noexcept {
  const auto is_name = [&](const char* name) { return group == name; };
  for (const CurveRow& row : kCurves) {
    if (std::ranges::any_of(row.names, is_name)) return row.curve;
  }
  return std::nullopt;
}

TPM2_ALG_ID hash_algorithm(Digest digest) noexcept {
  const auto* const row = std::ranges::find(kHashes, digest, &HashRow::digest);
  return row == std::end(kHashes) ? TPM2_ALG_NULL : row->hash;
}

Digest digest_of(TPM2_ALG_ID hash) noexcept {
  const auto* const row = std::ranges::find(kHashes, hash, &HashRow::hash);
  return row == std::end(kHashes) ? Digest::kOther : row->digest;
}

std::size_t hash_size(TPM2_ALG_ID hash) noexcept { return core::digest_size(digest_of(hash)); }

std::string algorithm_text(TPM2_ALG_ID algorithm) {
  const auto* const hash = std::ranges::find(kHashes, algorithm, &HashRow::hash);
  if (hash != std::end(kHashes)) return hash->name;
  const auto* const named = std::ranges::find(kNames, algorithm, &AlgorithmName::algorithm);
  if (named != std::end(kNames)) return named->name;
  return "algorithm " + hex(algorithm);
}

}  // namespace hwid::tpm2
