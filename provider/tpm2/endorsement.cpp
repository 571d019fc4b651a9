#include "provider/tpm2/endorsement.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <exception>
#include <functional>
#include <map>

#include "provider/tpm2/nv.h"
#include "provider/tpm2/nv_certificates.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

// Of the high range, which has no nonce, by the TPM's own identifiers.
struct Row {
  EkType type;
  TPM2_ALG_ID name_algorithm;
  std::uint16_t bits;  // of the modulus, or
  TPM2_ECC_CURVE curve;
  std::uint16_t aes_bits;
};

constexpr std::array<Row, 8> kRows = {{
    {{"L-1", "RSA 2048", 0x01c00002, 0x01c00003, 0x01c00004, true}, TPM2_ALG_SHA256, 2048, 0, 128},
    {{"L-2", "EC P-256", 0x01c0000a, 0x01c0000b, 0x01c0000c, false},
     TPM2_ALG_SHA256,
     0,
     TPM2_ECC_NIST_P256,
     128},
    {{"H-1", "RSA 2048", 0x01c00012, 0, 0, true}, TPM2_ALG_SHA256, 2048, 0, 128},
    {{"H-2", "EC P-256", 0x01c00014, 0, 0, false}, TPM2_ALG_SHA256, 0, TPM2_ECC_NIST_P256, 128},
    {{"H-3", "EC P-384", 0x01c00016, 0, 0, false}, TPM2_ALG_SHA384, 0, TPM2_ECC_NIST_P384, 256},
    {{"H-4", "EC P-521", 0x01c00018, 0, 0, false}, TPM2_ALG_SHA512, 0, TPM2_ECC_NIST_P521, 256},
    {{"H-6", "RSA 3072", 0x01c0001c, 0, 0, true}, TPM2_ALG_SHA384, 3072, 0, 256},
    {{"H-7", "RSA 4096", 0x01c0001e, 0, 0, true}, TPM2_ALG_SHA384, 4096, 0, 256},
}};

constexpr auto kTypes = [] {
  std::array<EkType, kRows.size()> types{};
  for (std::size_t i = 0; i < kRows.size(); ++i) types[i] = kRows[i].type;
  return types;
}();

// PolicyA: TPM2_PolicySecret of the endorsement hierarchy (B.6.2).
constexpr std::uint8_t kPolicyA[] = {
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};
// PolicyB: PolicyA, or what stands at an NV index (B.6.3), by the nameAlg.
constexpr std::uint8_t kPolicyBSha256[] = {
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3,
    0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0};
constexpr std::uint8_t kPolicyBSha384[] = {
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12};
constexpr std::uint8_t kPolicyBSha512[] = {
    0xb8, 0x22, 0x1c, 0xa6, 0x9e, 0x85, 0x50, 0xa4, 0x91, 0x4d, 0xe3, 0xfa, 0xa6, 0xa1, 0x8c, 0x07,
    0x2c, 0xc0, 0x12, 0x08, 0x07, 0x3a, 0x92, 0x8d, 0x5d, 0x66, 0xd5, 0x9e, 0xf7, 0x9e, 0x49, 0xa4,
    0x29, 0xc4, 0x1a, 0x6b, 0x26, 0x95, 0x71, 0xd5, 0x7e, 0xdb, 0x25, 0xfb, 0xdb, 0x18, 0x38, 0x42,
    0x56, 0x08, 0xb4, 0x13, 0xcd, 0x61, 0x6a, 0x5f, 0x6d, 0xb5, 0xb6, 0x07, 0x1a, 0xf9, 0x9b, 0xea};

bool is_low(const EkType& type) noexcept { return type.nonce != 0; }

ByteView policy_of(const Row& row) noexcept {
  if (is_low(row.type)) return kPolicyA;
  if (row.name_algorithm == TPM2_ALG_SHA256) return kPolicyBSha256;
  return row.name_algorithm == TPM2_ALG_SHA384 ? ByteView(kPolicyBSha384)
                                               : ByteView(kPolicyBSha512);
}

const Row& row_of(const EkType& type) {
  const auto named = [&](const Row& row) { return row.type.certificate == type.certificate; };
  return *std::ranges::find_if(kRows, named);
}

void set_policy(TPMT_PUBLIC& area, ByteView policy) {
  area.authPolicy.size = static_cast<UINT16>(policy.size());
  std::ranges::copy(policy, area.authPolicy.buffer);
}

template <typename Sized>
void fill(Sized& unique, std::size_t size, ByteView from) {
  unique.size = static_cast<UINT16>(size);
  std::ranges::copy(from.first(std::min(from.size(), size)), unique.buffer);
}

// As long as the key's numbers are, zeros where the nonce has nothing (B.3.1). In the high range
// empty.
void set_unique(TPMT_PUBLIC& area, ByteView nonce) {
  constexpr std::size_t kRsa2048 = 256;
  constexpr std::size_t kP256 = 32;
  area.unique = {};
  if (area.type == TPM2_ALG_RSA) {
    fill(area.unique.rsa, kRsa2048, nonce);
  } else {
    fill(area.unique.ecc.x, kP256, nonce);
    fill(area.unique.ecc.y, kP256, {});
  }
}

// What makes a key one that only its own TPM has, and that attests nothing by itself.
constexpr TPMA_OBJECT kNeeds = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;

TPMT_PUBLIC parse_template(const EkType& type, ByteView bytes) {
  TPMT_PUBLIC area{};
  std::size_t size = 0;
  if (Tss2_MU_TPMT_PUBLIC_Unmarshal(bytes.data(), bytes.size(), &size, &area) != TSS2_RC_SUCCESS ||
      area.type != (type.is_rsa ? TPM2_ALG_RSA : TPM2_ALG_ECC) ||
      (area.objectAttributes & kNeeds) != kNeeds)
    throw Error(Reason::kBadReference,
                "NV index " + hex(type.written) + ": it is no template of an endorsement key (" +
                    type.key + "), as its address says; ask the TPM's maker");
  return area;
}

}  // namespace

std::span<const EkType> ek_types() noexcept { return kTypes; }

const EkType* ek_type_at(TPM2_HANDLE certificate) noexcept {
  const auto* const found = std::ranges::find(kTypes, certificate, &EkType::certificate);
  return found != kTypes.end() ? found : nullptr;
}

const EkType* ek_type_named(std::string_view name) noexcept {
  const auto same = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) ==
           std::toupper(static_cast<unsigned char>(b));
  };
  const auto* const found = std::ranges::find_if(kTypes, [&](const EkType& type) {
    return std::ranges::equal(std::string_view(type.name), name, same);
  });
  return found != kTypes.end() ? found : nullptr;
}

std::string nv_meaning(TPM2_HANDLE index) {
  for (const EkType& type : kTypes) {
    if (index == type.certificate) return std::string("EK certificate ") + type.key;
    if (type.nonce == 0) continue;
    if (index == type.nonce) return std::string("EK nonce ") + type.key;
    if (index == type.written) return std::string("EK template ") + type.key;
  }
  // TCG's "Registry of Reserved TPM 2.0 Handles and Localities", 2.2.
  if (index >= 0x01c00100 && index <= 0x01c001ff) return "EK certificate chain";
  if (index >= 0x01c08000 && index <= 0x01c0ffff) return "platform certificate";
  return {};
}

TPMT_PUBLIC ek_template(const EkType& type, ByteView nonce, ByteView written) {
  if (!written.empty()) {
    TPMT_PUBLIC area = parse_template(type, written);
    if (!nonce.empty()) set_unique(area, nonce);
    return area;
  }
  const Row& row = row_of(type);
  TPMT_PUBLIC area{};
  area.type = type.is_rsa ? TPM2_ALG_RSA : TPM2_ALG_ECC;
  area.nameAlg = row.name_algorithm;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                          TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |
                          TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  if (!is_low(type)) area.objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
  set_policy(area, policy_of(row));
  TPMT_SYM_DEF_OBJECT symmetric{};
  symmetric.algorithm = TPM2_ALG_AES;
  symmetric.keyBits.aes = row.aes_bits;
  symmetric.mode.aes = TPM2_ALG_CFB;
  if (type.is_rsa) {
    area.parameters.rsaDetail = {symmetric, {TPM2_ALG_NULL, {}}, row.bits, 0};
  } else {
    area.parameters.eccDetail = {symmetric, {TPM2_ALG_NULL, {}}, row.curve, {TPM2_ALG_NULL, {}}};
  }
  if (is_low(type)) set_unique(area, nonce);
  return area;
}

namespace {

// One search.
class Search {
 public:
  Search(Tpm& tpm, const Caller& caller, const Secret* endorsement_value)
      : tpm_(tpm),
        caller_(caller),
        endorsement_value_(endorsement_value),
        indexes_(tpm.handles(caller, TPM2_NV_INDEX_FIRST)) {}

  EndorsementKey any(const std::function<bool(const EkType&)>& is_of) {
    const EkType* first = nullptr;
    for (const EkType& type : kTypes) {
      if (!is_of(type)) continue;
      if (first == nullptr) first = &type;
      if (!certificates_of(type).all.empty()) return of(type);
    }
    for (const EkType& type : kTypes) {
      if (!is_of(type)) continue;
      const TPMT_PUBLIC wanted = template_of(type);
      for (const auto& [handle, object] : persistent()) {
        if (matches_template(object.public_area, wanted)) return of(type);
      }
    }
    return of(*first);
  }

  EndorsementKey certificates(const std::function<bool(const EkType&)>& is_of) {
    EndorsementKey key;
    for (const EkType& type : kTypes) {
      if (!is_of(type)) continue;
      const NvCertificates& found = certificates_of(type);
      if (found.all.empty()) {
        if (key.problem.empty()) key.problem = found.problem;
        continue;
      }
      key.type = &type;
      key.certificates = found.all;
      key.problem.clear();
      break;
    }
    return key;
  }

  // The name's hash rules types out. No key is made before all that are there were looked at, and
  // one without a certificate last.
  std::optional<EndorsementKey> named(ByteView name) {
    std::vector<EndorsementKey> to_make;
    for (const EkType& type : kTypes) {
      auto key = if_there([&] { return known(type); });
      if (!key || !is_hashed_by(name, key->wanted.nameAlg)) continue;
      if (key->persistent == 0)
        to_make.push_back(*key);
      else if (std::ranges::equal(key->object.name, name))
        return key;
    }
    std::stable_partition(to_make.begin(), to_make.end(),
                          [](const EndorsementKey& key) { return !key.certificates.empty(); });
    for (const EndorsementKey& each : to_make) {
      auto key = if_there([&] { return made(each); });
      if (key && std::ranges::equal(key->object.name, name)) return key;
    }
    if (fault_) std::rethrow_exception(fault_);
    return std::nullopt;
  }

  EndorsementKey of(const EkType& type) {
    EndorsementKey key = known(type);
    return key.persistent != 0 ? key : made(std::move(key));
  }

 private:
  // Without an object where it has to be made.
  EndorsementKey known(const EkType& type) {
    EndorsementKey key;
    key.type = &type;
    key.wanted = template_of(type);
    key.certificates = certificates_of(type).all;
    key.problem = certificates_of(type).problem;
    const std::optional<core::PublicKey> certified = certified_key(key);
    for (const auto& [handle, object] : persistent()) {
      if (!is_meant(object.public_area, key.wanted, certified)) continue;
      key.persistent = handle;
      key.object = object;
      break;
    }
    return key;
  }

  EndorsementKey made(EndorsementKey key) {
    const EkType& type = *key.type;
    const std::optional<core::PublicKey> certified = certified_key(key);
    key.object = make(type, key.wanted);
    if (certified && public_key(caller_.crypto, key.object.public_area) != *certified)
      throw Error(Reason::kKeyChanged,
                  "TPM2_CreatePrimary:" + place_text(tpm_.place(hex(type.certificate))) +
                      ": the EK certificate is for another key than the TPM makes by TCG's "
                      "template " +
                      type.name + " (" + type.key +
                      "): the TPM was cleared in its platform hierarchy, or it is another TPM's "
                      "certificate; ask the maker of the machine for a new one");
    return key;
  }

  // What is wrong with one, as a certificate of another TPM, says nothing of the others. One of a
  // kind that the TPM does not make is no fault.
  template <typename Find>
  std::optional<EndorsementKey> if_there(Find&& find) {
    try {
      return find();
    } catch (const Error& error) {
      if (error.reason == Reason::kNoObject) return std::nullopt;
      if (error.reason != Reason::kKeyChanged && error.reason != Reason::kBadReference) throw;
      if (!fault_) fault_ = std::current_exception();
      return std::nullopt;
    }
  }

  static bool is_hashed_by(ByteView name, TPMI_ALG_HASH algorithm) noexcept {
    return name.size() > 2 && name[0] == algorithm >> 8 && name[1] == (algorithm & 0xff);
  }

  using Persistent = std::vector<std::pair<TPM2_HANDLE, PublicObject>>;

  bool has(TPM2_HANDLE index) const {
    return index != 0 && std::ranges::find(indexes_, index) != indexes_.end();
  }

  Bytes content(TPM2_HANDLE index) {
    if (!has(index)) return {};
    return read_public_nv(tpm_, caller_, index).value_or(Bytes());
  }

  TPMT_PUBLIC template_of(const EkType& type) {
    return ek_template(type, content(type.nonce), content(type.written));
  }

  // Read once. What is no certificate hides neither that of another template nor the key, which
  // needs none.
  const NvCertificates& certificates_of(const EkType& type) {
    const auto [at, is_new] = certificates_.try_emplace(type.certificate);
    NvCertificates& found = at->second;
    if (!is_new) return found;
    const Bytes bytes = content(type.certificate);
    if (bytes.empty()) return found;
    found = certificates_in(caller_.crypto, bytes);
    if (found.problem.empty()) return found;
    found.problem = "TPM2_NV_Read:" + place_text(tpm_.place(hex(type.certificate))) +
                    ": this is the address of the EK certificate, and " + found.problem;
    HWID_LOG(caller_.log, kWarn, found.problem);
    return found;
  }

  // nullopt: there is no certificate, or its key is of a kind that OpenSSL does not read: the
  // template decides then.
  std::optional<core::PublicKey> certified_key(const EndorsementKey& key) const {
    if (key.certificates.empty()) return std::nullopt;
    try {
      return core::PublicKey::from_certificate(caller_.crypto, key.certificates.front());
    } catch (const Error& error) {
      HWID_LOG(caller_.log, kWarn,
               "EK certificate at " + hex(key.type->certificate) + ": " + error.what());
      return std::nullopt;
    }
  }

  // TCG's "Registry of Reserved TPM 2.0 Handles and Localities", 2.3.1. Asked once.
  const Persistent& persistent() {
    constexpr TPM2_HANDLE kFirst = 0x81010000;
    constexpr TPM2_HANDLE kLast = 0x8101ffff;
    if (persistent_) return *persistent_;
    persistent_.emplace();
    for (const TPM2_HANDLE handle : tpm_.handles(caller_, kFirst)) {
      if (handle > kLast) break;
      try {
        persistent_->emplace_back(handle, tpm_.read_public(caller_, handle));
      } catch (const Error& error) {  // one that we do not know is not the one
        if (error.reason != Reason::kUnsupported) throw;
        HWID_LOG(caller_.log, kInfo, hex(handle) + ": " + error.what());
      }
    }
    return *persistent_;
  }

  bool is_meant(const TPMT_PUBLIC& area, const TPMT_PUBLIC& wanted,
                const std::optional<core::PublicKey>& certified) const {
    if (area.type != wanted.type || (area.objectAttributes & kNeeds) != kNeeds) return false;
    if (!certified) return matches_template(area, wanted);
    try {
      return public_key(caller_.crypto, area) == *certified;
    } catch (const Error&) {
      return false;  // on a curve that OpenSSL has not
    }
  }

  PublicObject make(const EkType& type, const TPMT_PUBLIC& wanted) {
    try {
      return tpm_.primary_public(caller_,
                                 {TPM2_RH_ENDORSEMENT, std::make_shared<const TPMT_PUBLIC>(wanted)},
                                 endorsement_value_);
    } catch (const TpmError& error) {
      constexpr TSS2_RC kOfTemplate = TPM2_RC_P | TPM2_RC_2;
      if ((error.rc & (TPM2_RC_P | TPM2_RC_N_MASK)) != kOfTemplate) throw;
      raise(Reason::kNoObject, error.rc, error.call, tpm_.place("endorsement key"),
            std::string("this TPM has no endorsement key of ") + type.key +
                "; ask for one of another kind (ek=rsa, ek=ecc)",
            error.where);
    }
  }

  Tpm& tpm_;
  const Caller& caller_;
  const Secret* const endorsement_value_;
  const std::vector<TPM2_HANDLE> indexes_;
  std::optional<Persistent> persistent_;
  std::map<TPM2_HANDLE, NvCertificates> certificates_;  // by their address
  std::exception_ptr fault_;                            // the first one
};

}  // namespace

EndorsementKey find_endorsement_key(Tpm& tpm, const Caller& caller,
                                    bool (*is_of)(const EkType&) noexcept,
                                    const Secret* endorsement_value) {
  return Search(tpm, caller, endorsement_value).any(is_of);
}

EndorsementKey find_endorsement_key(Tpm& tpm, const Caller& caller, const EkType& type,
                                    const Secret* endorsement_value) {
  return Search(tpm, caller, endorsement_value).of(type);
}

std::optional<EndorsementKey> find_endorsement_key_named(Tpm& tpm, const Caller& caller,
                                                         ByteView name,
                                                         const Secret* endorsement_value) {
  return Search(tpm, caller, endorsement_value).named(name);
}

EndorsementKey find_endorsement_certificates(Tpm& tpm, const Caller& caller,
                                             const std::function<bool(const EkType&)>& is_of) {
  return Search(tpm, caller, nullptr).certificates(is_of);
}

}  // namespace hwid::tpm2
