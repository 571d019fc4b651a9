#include <openssl/objects.h>
#include <openssl/rand.h>

#include <algorithm>

#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Access;
using core::Bytes;
using core::Error;
using core::KeySpec;
using core::Reason;

namespace {

// DER of the curve's name: CKA_EC_PARAMS.
Bytes curve_parameters(const std::string& group) {
  int nid = EC_curve_nist2nid(group.c_str());
  if (nid == NID_undef) nid = OBJ_txt2nid(group.c_str());
  const ASN1_OBJECT* const name = nid != NID_undef ? OBJ_nid2obj(nid) : nullptr;
  unsigned char* der = nullptr;
  const int size = name != nullptr ? i2d_ASN1_OBJECT(name, &der) : 0;
  if (size <= 0)
    throw Error(Reason::kUnsupported,
                "curve " + group + " is not known; name one such as P-256 or P-384");
  const std::unique_ptr<unsigned char, core::FreeWith<[](void* memory) { OPENSSL_free(memory); }>>
      owned(der);
  return {der, der + size};
}

// The two templates of a key pair. Attributes point into the members.
class PairTemplates {
 public:
  // What a token may reject without harm, and is then made without.
  struct Extras {
    bool allowed_mechanisms;
    bool other_uses;  // DECRYPT/ENCRYPT of RSA, DERIVE of EC
  };

  explicit PairTemplates(const KeySpec& spec) : spec_(spec), bits_(spec.rsa_bits) {
    if (is_ec()) curve_ = curve_parameters(spec.group);
    if (spec.algorithm == core::Algorithm::kRsaPss) allowed_ = pss_mechanisms();
  }
  bool is_ec() const { return spec_.algorithm == core::Algorithm::kEc; }
  bool restricts() const { return !allowed_.empty(); }

  std::vector<CK_ATTRIBUTE> public_half(const Extras& extras) {
    std::vector<CK_ATTRIBUTE> list = common();
    add(list, CKA_PRIVATE, no_);
    add(list, CKA_VERIFY, yes_);
    if (is_ec()) {
      list.push_back({CKA_EC_PARAMS, curve_.data(), curve_.size()});
    } else {
      add(list, CKA_MODULUS_BITS, bits_);
      exponent_ = spec_.rsa_exponent;
      list.push_back({CKA_PUBLIC_EXPONENT, exponent_.data(), exponent_.size()});
      if (extras.other_uses && !restricts()) add(list, CKA_ENCRYPT, yes_);
    }
    return list;
  }

  std::vector<CK_ATTRIBUTE> private_half(const Extras& extras) {
    std::vector<CK_ATTRIBUTE> list = common();
    add(list, CKA_PRIVATE, yes_);
    add(list, CKA_SENSITIVE, yes_);
    add(list, CKA_EXTRACTABLE, no_);
    add(list, CKA_SIGN, yes_);
    if (extras.other_uses && !restricts()) add(list, is_ec() ? CKA_DERIVE : CKA_DECRYPT, yes_);
    if (extras.allowed_mechanisms && restricts())
      list.push_back({CKA_ALLOWED_MECHANISMS, allowed_.data(),
                      static_cast<CK_ULONG>(allowed_.size() * sizeof(CK_MECHANISM_TYPE))});
    return list;
  }

 private:
  template <typename T>
  static void add(std::vector<CK_ATTRIBUTE>& list, CK_ATTRIBUTE_TYPE type, T& value) {
    list.push_back({type, &value, sizeof value});
  }
  std::vector<CK_ATTRIBUTE> common() {
    std::vector<CK_ATTRIBUTE> list;
    add(list, CKA_TOKEN, yes_);
    label_ = spec_.label;
    id_ = spec_.id;
    if (!label_.empty()) list.push_back({CKA_LABEL, label_.data(), label_.size()});
    list.push_back({CKA_ID, id_.data(), id_.size()});
    return list;
  }

  const KeySpec& spec_;
  CK_BBOOL yes_ = CK_TRUE;
  CK_BBOOL no_ = CK_FALSE;
  CK_ULONG bits_;
  std::string label_;
  Bytes id_, curve_, exponent_;
  std::vector<CK_MECHANISM_TYPE> allowed_;
};

bool is_template_refusal(CK_RV rv) noexcept {
  return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
         rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_TEMPLATE_INCONSISTENT ||
         rv == CKR_FUNCTION_FAILED || rv == CKR_ARGUMENTS_BAD || rv == CKR_GENERAL_ERROR;
}

struct Pair {
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
};

Pair generate_pair(Lease& lease, const KeySpec& spec, const Place& place, const core::Log& log) {
  PairTemplates templates(spec);
  CK_MECHANISM mechanism{templates.is_ec() ? CK_MECHANISM_TYPE{CKM_ECDSA_KEY_PAIR_GEN}
                                           : CK_MECHANISM_TYPE{CKM_RSA_PKCS_KEY_PAIR_GEN},
                         nullptr, 0};
  PairTemplates::Extras attempts[] = {{true, true}, {false, true}, {true, false}, {false, false}};
  CK_RV first = CKR_OK;
  for (const PairTemplates::Extras& extras : attempts) {
    if (!extras.allowed_mechanisms && !templates.restricts()) continue;
    if (!extras.other_uses && templates.restricts()) continue;
    std::vector<CK_ATTRIBUTE> public_half = templates.public_half(extras);
    std::vector<CK_ATTRIBUTE> private_half = templates.private_half(extras);
    Pair pair;
    const CK_RV rv = lease->C_GenerateKeyPair(
        lease.session(), &mechanism, public_half.data(), public_half.size(), private_half.data(),
        private_half.size(), &pair.public_key, &pair.private_key);
    if (rv == CKR_OK && templates.restricts() && !extras.allowed_mechanisms)
      HWID_LOG(log, kWarn,
               "C_GenerateKeyPair:" + place_text(place) +
                   ": the token cannot restrict the key to RSA-PSS; only its certificate will");
    if (rv == CKR_OK) return pair;
    if (first == CKR_OK) first = rv;
    if (!is_template_refusal(rv)) raise(rv, "C_GenerateKeyPair", place);
  }
  raise(first, "C_GenerateKeyPair", place);
}

void refuse_existing(Lease& lease, const SearchFor& search, const std::string& name,
                     const Place& place) {
  if (find_handles(lease, search, place).empty()) return;
  throw Error(Reason::kExists, "C_GenerateKeyPair:" + place_text(place) +
                                   ": a private key with that " + name +
                                   " is there already; choose another " + name +
                                   ", or delete it first: pkcs11-tool --delete-object");
}

}  // namespace

std::shared_ptr<const core::Key> Token::generate(const KeySpec& asked, const Access& access) {
  KeySpec spec = asked;
  const bool chosen_id = spec.id.empty();
  if (chosen_id) {
    spec.id.resize(16);
    if (RAND_bytes_ex(access.crypto.get(), spec.id.data(), spec.id.size(), 0) != 1)
      throw Error(Reason::kLibcrypto, "random bytes for a CKA_ID: " + core::last_libcrypto_error());
  }
  const Place place{token_->label(), spec.label, {}};
  const SharedToken::Hold hold(token_);
  const Credentials with = credentials(access, access.pins);
  const SessionRequest request{token_->needs_login(policy_), true, with};
  auto key = token_->with_session(request, [&](Lease& lease, bool) {
    if (!spec.label.empty())
      refuse_existing(lease, {spec.label, std::nullopt, CKO_PRIVATE_KEY}, "label", place);
    if (!chosen_id) refuse_existing(lease, {std::nullopt, spec.id, CKO_PRIVATE_KEY}, "id", place);
    const std::uint64_t generation = lease.handle_generation();
    const Pair pair = generate_pair(lease, spec, place, access.log);
    const ObjectAttributes public_half = read_object(lease, pair.public_key, place);
    const auto public_key =
        public_key_of(access.crypto, public_half, spec.algorithm == core::Algorithm::kRsaPss);
    if (!public_key)
      throw Error(Reason::kDeviceError, "C_GenerateKeyPair:" + place_text(place) +
                                            ": the token does not show the new public key; see "
                                            "the module's own log");
    ObjectAttributes private_half;
    private_half.handle = pair.private_key;
    private_half.object_class = CKO_PRIVATE_KEY;
    private_half.label = spec.label;
    private_half.id = spec.id;
    core::KeyDescription description = describe(private_half, nullptr);
    return make_key(private_half, *public_key, std::move(description), access, generation);
  });
  info_is_fresh_ = false;
  if (policy_.cache_pin) {
    core::PinChain pins = access.pins;
    pins.prompt = nullptr;
    token_->keep_pin(credentials(access, pins));
  }
  return key;
}

}  // namespace hwid::pkcs11
