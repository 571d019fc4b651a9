#include "provider/pkcs11/mechanism.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "provider/core/rsa_padding.h"

namespace hwid::pkcs11 {

using core::Bytes;
using core::ByteView;
using core::Digest;
using core::SignScheme;

namespace {

constexpr CK_MECHANISM_TYPE kNo = CK_UNAVAILABLE_INFORMATION;

// What PKCS#11 has for a digest; kNo where it has nothing.
struct DigestRow {
  Digest digest;
  CK_MECHANISM_TYPE hash;
  CK_RSA_PKCS_MGF_TYPE mgf1;
  CK_MECHANISM_TYPE rsa_pkcs;
  CK_MECHANISM_TYPE rsa_pss;
  CK_MECHANISM_TYPE ecdsa;
};
constexpr DigestRow kDigests[] = {
    {Digest::kMd5, CKM_MD5, kNo, CKM_MD5_RSA_PKCS, kNo, kNo},
    {Digest::kRipemd160, CKM_RIPEMD160, kNo, CKM_RIPEMD160_RSA_PKCS, kNo, kNo},
    {Digest::kSha1, CKM_SHA_1, CKG_MGF1_SHA1, CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS,
     CKM_ECDSA_SHA1},
    {Digest::kSha224, CKM_SHA224, CKG_MGF1_SHA224, CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS,
     CKM_ECDSA_SHA224},
    {Digest::kSha256, CKM_SHA256, CKG_MGF1_SHA256, CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS,
     CKM_ECDSA_SHA256},
    {Digest::kSha384, CKM_SHA384, CKG_MGF1_SHA384, CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS,
     CKM_ECDSA_SHA384},
    {Digest::kSha512, CKM_SHA512, CKG_MGF1_SHA512, CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS,
     CKM_ECDSA_SHA512},
    {Digest::kSha3_224, kSha3_224, kMgf1Sha3_224, kSha3_224RsaPkcs, kSha3_224RsaPkcsPss,
     kEcdsaSha3_224},
    {Digest::kSha3_256, kSha3_256, kMgf1Sha3_256, kSha3_256RsaPkcs, kSha3_256RsaPkcsPss,
     kEcdsaSha3_256},
    {Digest::kSha3_384, kSha3_384, kMgf1Sha3_384, kSha3_384RsaPkcs, kSha3_384RsaPkcsPss,
     kEcdsaSha3_384},
    {Digest::kSha3_512, kSha3_512, kMgf1Sha3_512, kSha3_512RsaPkcs, kSha3_512RsaPkcsPss,
     kEcdsaSha3_512},
};

const DigestRow* row_of(Digest digest) noexcept {
  const auto* const row = std::ranges::find(kDigests, digest, &DigestRow::digest);
  return row == std::end(kDigests) ? nullptr : row;
}

struct Name {
  CK_MECHANISM_TYPE mechanism;
  std::string_view name;
};
constexpr Name kNames[] = {
    {CKM_RSA_PKCS, "CKM_RSA_PKCS"},
    {CKM_RSA_X_509, "CKM_RSA_X_509"},
    {CKM_MD5_RSA_PKCS, "CKM_MD5_RSA_PKCS"},
    {CKM_SHA1_RSA_PKCS, "CKM_SHA1_RSA_PKCS"},
    {CKM_RIPEMD160_RSA_PKCS, "CKM_RIPEMD160_RSA_PKCS"},
    {CKM_SHA224_RSA_PKCS, "CKM_SHA224_RSA_PKCS"},
    {CKM_SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS"},
    {CKM_SHA384_RSA_PKCS, "CKM_SHA384_RSA_PKCS"},
    {CKM_SHA512_RSA_PKCS, "CKM_SHA512_RSA_PKCS"},
    {kSha3_224RsaPkcs, "CKM_SHA3_224_RSA_PKCS"},
    {kSha3_256RsaPkcs, "CKM_SHA3_256_RSA_PKCS"},
    {kSha3_384RsaPkcs, "CKM_SHA3_384_RSA_PKCS"},
    {kSha3_512RsaPkcs, "CKM_SHA3_512_RSA_PKCS"},
    {CKM_RSA_PKCS_PSS, "CKM_RSA_PKCS_PSS"},
    {CKM_SHA1_RSA_PKCS_PSS, "CKM_SHA1_RSA_PKCS_PSS"},
    {CKM_SHA224_RSA_PKCS_PSS, "CKM_SHA224_RSA_PKCS_PSS"},
    {CKM_SHA256_RSA_PKCS_PSS, "CKM_SHA256_RSA_PKCS_PSS"},
    {CKM_SHA384_RSA_PKCS_PSS, "CKM_SHA384_RSA_PKCS_PSS"},
    {CKM_SHA512_RSA_PKCS_PSS, "CKM_SHA512_RSA_PKCS_PSS"},
    {kSha3_224RsaPkcsPss, "CKM_SHA3_224_RSA_PKCS_PSS"},
    {kSha3_256RsaPkcsPss, "CKM_SHA3_256_RSA_PKCS_PSS"},
    {kSha3_384RsaPkcsPss, "CKM_SHA3_384_RSA_PKCS_PSS"},
    {kSha3_512RsaPkcsPss, "CKM_SHA3_512_RSA_PKCS_PSS"},
    {CKM_ECDSA, "CKM_ECDSA"},
    {CKM_ECDSA_SHA1, "CKM_ECDSA_SHA1"},
    {CKM_ECDSA_SHA224, "CKM_ECDSA_SHA224"},
    {CKM_ECDSA_SHA256, "CKM_ECDSA_SHA256"},
    {CKM_ECDSA_SHA384, "CKM_ECDSA_SHA384"},
    {CKM_ECDSA_SHA512, "CKM_ECDSA_SHA512"},
    {kEcdsaSha3_224, "CKM_ECDSA_SHA3_224"},
    {kEcdsaSha3_256, "CKM_ECDSA_SHA3_256"},
    {kEcdsaSha3_384, "CKM_ECDSA_SHA3_384"},
    {kEcdsaSha3_512, "CKM_ECDSA_SHA3_512"},
    {kEddsa, "CKM_EDDSA"},
    {kEdwardsKeyPairGen, "CKM_EC_EDWARDS_KEY_PAIR_GEN"},
    {kMontgomeryKeyPairGen, "CKM_EC_MONTGOMERY_KEY_PAIR_GEN"},
    {CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN"},
    {CKM_ECDSA_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"},
};

// Bits of MechanismChoice's memory. PSS and the hashing mechanisms are refused by the digest.
constexpr unsigned kPssBits = 0;        // + the digest's row, MGF1 with the same digest
constexpr unsigned kPssMixedBits = 16;  // + the digest's row, MGF1 with another
constexpr unsigned kHashingBits = 32;   // + the digest's row
constexpr unsigned kRawRsaBit = 48;
constexpr unsigned kPkcs1Bit = 49;
constexpr unsigned kEcdsaBit = 50;
constexpr unsigned kEddsaBit = 51;
static_assert(std::size(kDigests) <= 16);

unsigned index_of(const DigestRow* row) noexcept { return static_cast<unsigned>(row - kDigests); }

std::uint64_t bit(const SignPlan& plan) noexcept { return std::uint64_t{1} << plan.memory; }

// Never 0; salts that no modulus has room for are one.
std::uint64_t parameters_of(const SignScheme& scheme) noexcept {
  // EdDSA has neither salt nor digests, but forms.
  const std::size_t form = (scheme.prehash ? 1U : 0U) | (scheme.context.empty() ? 0U : 2U);
  const std::uint64_t salt = std::min<std::uint64_t>(scheme.salt_size | form, 0xffffffff);
  return salt << 24 | static_cast<std::uint64_t>(scheme.digest) << 16 |
         static_cast<std::uint64_t>(scheme.mgf1_digest) << 8 | 1;
}

void add(SignPlans& list, const SignPlan& plan) noexcept { list.plans[list.count++] = plan; }

void add_hashing(SignPlans& list, const DigestRow* row, CK_MECHANISM_TYPE mechanism,
                 const std::optional<CK_RSA_PKCS_PSS_PARAMS>& pss) noexcept {
  if (row == nullptr || mechanism == kNo) return;
  add(list, {mechanism, PlanInput::kMessage, pss, kHashingBits + index_of(row)});
}

void add_pss(SignPlans& list, const SignScheme& scheme, const DigestRow* row) noexcept {
  const DigestRow* const mgf1 = row_of(scheme.mgf1_digest);
  std::optional<CK_RSA_PKCS_PSS_PARAMS> pss;
  if (row != nullptr && mgf1 != nullptr && row->rsa_pss != kNo && mgf1->mgf1 != kNo) {
    pss = CK_RSA_PKCS_PSS_PARAMS{row->hash, mgf1->mgf1, scheme.salt_size};
    add(list, {CKM_RSA_PKCS_PSS, PlanInput::kAsItIs, pss,
               (row == mgf1 ? kPssBits : kPssMixedBits) + index_of(row)});
  }
  add(list, {CKM_RSA_X_509, PlanInput::kEmsaPss, {}, kRawRsaBit});
  if (pss) add_hashing(list, row, row->rsa_pss, pss);
}

}  // namespace

SignPlans plans_for(const SignScheme& scheme) noexcept {
  SignPlans list;
  const DigestRow* const row = row_of(scheme.digest);
  switch (scheme.kind) {
    case SignScheme::Kind::kRsaPkcs1:
      add(list, {CKM_RSA_PKCS, PlanInput::kDigestInfo, {}, kPkcs1Bit});
      add(list, {CKM_RSA_X_509, PlanInput::kEmsaPkcs1, {}, kRawRsaBit});
      if (row != nullptr) add_hashing(list, row, row->rsa_pkcs, {});
      break;
    case SignScheme::Kind::kRsaPss:
      add_pss(list, scheme, row);
      break;
    case SignScheme::Kind::kRsaRaw:
      add(list, {CKM_RSA_X_509, PlanInput::kAsItIs, {}, kRawRsaBit});
      break;
    case SignScheme::Kind::kEcdsa:
      add(list, {CKM_ECDSA, PlanInput::kLeftmost, {}, kEcdsaBit});
      if (row != nullptr) add_hashing(list, row, row->ecdsa, {});
      break;
    case SignScheme::Kind::kEddsa:
      add(list, {kEddsa, PlanInput::kMessage, {}, kEddsaBit});
      break;
  }
  for (SignPlan& plan : list.plans) plan.parameters = parameters_of(scheme) << 6 | plan.memory;
  return list;
}

std::optional<EddsaParams> eddsa_params(const SignScheme& scheme,
                                        core::Algorithm algorithm) noexcept {
  if (algorithm == core::Algorithm::kEd25519 && !scheme.prehash && scheme.context.empty())
    return std::nullopt;
  return EddsaParams{
      scheme.prehash ? CK_BBOOL{CK_TRUE} : CK_BBOOL{CK_FALSE}, scheme.context.size(),
      scheme.context.empty() ? nullptr : const_cast<CK_BYTE_PTR>(scheme.context.data())};
}

ByteView prepare_input(const core::Libcrypto& crypto, const SignPlan& plan,
                       const SignScheme& scheme, ByteView input, const core::PublicKey& key,
                       Bytes& room) {
  switch (plan.input) {
    case PlanInput::kDigestInfo:
      return room = core::digest_info(scheme.digest, input);
    case PlanInput::kLeftmost:
      return input.first(std::min(input.size(), key.field_size()));
    case PlanInput::kEmsaPkcs1:
      return room = core::emsa_pkcs1(core::digest_info(scheme.digest, input), key.field_size());
    case PlanInput::kEmsaPss:
      return room = core::emsa_pss(crypto, scheme, input, key.bits());
    default:
      return input;
  }
}

bool MechanismChoice::is_open(const SignPlan& plan, const List* offered) const noexcept {
  const auto holds = [](const List& list, CK_MECHANISM_TYPE mechanism) {
    return std::ranges::find(list, mechanism) != list.end();
  };
  if (!allowed_.empty() && !holds(allowed_, plan.mechanism)) return false;
  if (offered != nullptr && !holds(*offered, plan.mechanism)) return false;
  if ((refused_.load(std::memory_order_relaxed) & bit(plan)) != 0) return false;
  return std::ranges::none_of(refused_parameters_, [&](const auto& refused) {
    return refused.load(std::memory_order_relaxed) == plan.parameters;
  });
}

// Who handed in a digest cannot be served by a mechanism that hashes, nor the other way round.
std::optional<SignPlan> MechanismChoice::choose(const SignScheme& scheme, const List* offered,
                                                bool for_message) const noexcept {
  const SignPlans plans = plans_for(scheme);
  for (const SignPlan& plan : plans) {
    if ((plan.input == PlanInput::kMessage) == for_message && is_open(plan, offered)) return plan;
  }
  return std::nullopt;
}

core::SignInput MechanismChoice::sign_input(const SignScheme& scheme,
                                            const List* offered) const noexcept {
  if (!choose(scheme, offered, true)) return core::SignInput::kDigest;
  const std::optional<SignPlan> raw = choose(scheme, offered, false);
  if (!raw) return core::SignInput::kMessage;
  const bool known = (accepted_.load(std::memory_order_relaxed) & bit(*raw)) != 0;
  return known ? core::SignInput::kDigest : core::SignInput::kUnsure;
}

void MechanismChoice::accept(const SignPlan& plan) noexcept {
  if ((accepted_.load(std::memory_order_relaxed) & bit(plan)) == 0)
    accepted_.fetch_or(bit(plan), std::memory_order_relaxed);
}

void MechanismChoice::refuse(const SignPlan& plan, CK_RV rv) noexcept {
  if (rv == CKR_MECHANISM_INVALID) {
    refused_.fetch_or(bit(plan), std::memory_order_relaxed);
    return;
  }
  const unsigned at = next_parameters_.fetch_add(1, std::memory_order_relaxed);
  refused_parameters_[at % refused_parameters_.size()].store(plan.parameters,
                                                             std::memory_order_relaxed);
}

bool is_mechanism_refusal(CK_RV rv, const SignPlan& plan) noexcept {
  switch (rv) {
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
      return true;
    case CKR_ARGUMENTS_BAD:  // SoftHSM for digests and MGFs it does not combine
    case CKR_DATA_LEN_RANGE:
    case CKR_FUNCTION_NOT_SUPPORTED:
      return plan.pss.has_value() || plan.mechanism == kEddsa;
    default:
      return false;
  }
}

std::string mechanism_name(CK_MECHANISM_TYPE mechanism) {
  const auto* const row = std::ranges::find(kNames, mechanism, &Name::mechanism);
  if (row != std::end(kNames)) return std::string(row->name);
  std::array<char, 2 * sizeof(CK_MECHANISM_TYPE) + 8> text{};
  std::snprintf(text.data(), text.size(), "CKM_0x%lx", static_cast<unsigned long>(mechanism));
  return text.data();
}

std::string signing_mechanisms(const std::vector<CK_MECHANISM_TYPE>& offered,
                               core::Algorithm algorithm) {
  const auto is_for = [algorithm](std::string_view name) {
    if (name == "CKM_EDDSA") return core::is_edwards(algorithm);
    if (name.starts_with("CKM_ECDSA")) return algorithm == core::Algorithm::kEc;
    return core::is_rsa(algorithm);
  };
  std::string text;
  for (const Name& row : kNames) {
    if (!is_for(row.name) || row.name.ends_with("_GEN")) continue;
    if (std::ranges::find(offered, row.mechanism) == offered.end()) continue;
    if (!text.empty()) text += ", ";
    text += row.name;
  }
  return text.empty() ? "none" : text;
}

bool is_pss_mechanism(CK_MECHANISM_TYPE mechanism) noexcept {
  return mechanism == CKM_RSA_PKCS_PSS ||
         (mechanism != kNo &&
          std::ranges::find(kDigests, mechanism, &DigestRow::rsa_pss) != std::end(kDigests));
}

std::vector<CK_MECHANISM_TYPE> pss_mechanisms() {
  std::vector<CK_MECHANISM_TYPE> mechanisms{CKM_RSA_PKCS_PSS};
  for (const DigestRow& row : kDigests) {
    if (row.rsa_pss < kSha3_256RsaPkcsPss) mechanisms.push_back(row.rsa_pss);
  }
  return mechanisms;
}

}  // namespace hwid::pkcs11
