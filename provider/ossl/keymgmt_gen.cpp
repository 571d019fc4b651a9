#include <openssl/core_names.h>

#include <algorithm>
#include <array>
#include <climits>
#include <sstream>
#include <string_view>
#include <utility>

#include "provider/ossl/keymgmt.h"

namespace hwid::ossl::keymgmt {

using core::Algorithm;
using core::Error;
using core::Reason;

namespace {

// A parameter that asks for a key on a token: pkcs11-provider's name, and ours.
constexpr const char* kUriParams[] = {"pkcs11_uri", "hwid_uri"};

// tpm2-openssl's names.
constexpr char kDigest[] = OSSL_PKEY_PARAM_RSA_DIGEST;
constexpr char kUserAuth[] = "user-auth";
constexpr char kParent[] = "parent";
constexpr char kParentAuth[] = "parent-auth";
// And ours, for what tpm2-openssl leaves to tpm2-tools.
constexpr char kOwnerAuth[] = "owner-auth";

// pkcs11-provider's: what the key may be used for, as X.509 calls it (RFC 5280, 4.2.1.3).
constexpr char kKeyUsage[] = "pkcs11_key_usage";
constexpr std::pair<std::string_view, unsigned> kUsages[] = {
    {"digitalSignature", core::kUseSign},
    {"nonRepudiation", core::kUseSign},
    {"keyEncipherment", core::kUseUnwrap},
    {"dataEncipherment", core::kUseDecrypt},
    {"keyAgreement", core::kUseDerive},
    {"keyCertSign", core::kUseSign},
    {"cRLSign", core::kUseSign}};

// And where it is: in a session (1) or on the token (0), and on which. The last two are of its
// releases before 1.0, which had no URI there.
constexpr char kEphemeral[] = "pkcs11_ephemeral";
constexpr char kSlotId[] = "pkcs11_slot_id";
constexpr char kKeyLabel[] = "pkcs11_key_label";
constexpr char kKeyId[] = "pkcs11_key_id";

// What only an ordinary key has: refused by name rather than dropped.
constexpr const char* kSoftwareOnly[] = {OSSL_PKEY_PARAM_RSA_MASKGENFUNC, OSSL_PKEY_PARAM_EC_P,
                                         OSSL_PKEY_PARAM_EC_GENERATOR,
                                         OSSL_PKEY_PARAM_USE_COFACTOR_ECDH};

const OSSL_PARAM kRsaSettable[] = {OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, nullptr),
                                   OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, nullptr),
                                   OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0),
                                   OSSL_PARAM_utf8_string(kUriParams[0], nullptr, 0),
                                   OSSL_PARAM_utf8_string(kUriParams[1], nullptr, 0),
                                   OSSL_PARAM_utf8_string(kKeyUsage, nullptr, 0),
                                   OSSL_PARAM_int(kEphemeral, nullptr),
                                   OSSL_PARAM_ulong(kSlotId, nullptr),
                                   OSSL_PARAM_utf8_string(kKeyLabel, nullptr, 0),
                                   OSSL_PARAM_octet_string(kKeyId, nullptr, 0),
                                   OSSL_PARAM_utf8_string(kDigest, nullptr, 0),
                                   OSSL_PARAM_utf8_string(kUserAuth, nullptr, 0),
                                   OSSL_PARAM_uint32(kParent, nullptr),
                                   OSSL_PARAM_utf8_string(kParentAuth, nullptr, 0),
                                   OSSL_PARAM_utf8_string(kOwnerAuth, nullptr, 0),
                                   OSSL_PARAM_END};

const OSSL_PARAM kRsaPssSettable[] = {
    OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, nullptr),
    OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, nullptr),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0),
    OSSL_PARAM_utf8_string(kDigest, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST_PROPS, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MASKGENFUNC, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, nullptr, 0),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, nullptr),
    OSSL_PARAM_utf8_string(kUriParams[0], nullptr, 0),
    OSSL_PARAM_utf8_string(kUriParams[1], nullptr, 0),
    OSSL_PARAM_utf8_string(kKeyUsage, nullptr, 0),
    OSSL_PARAM_int(kEphemeral, nullptr),
    OSSL_PARAM_ulong(kSlotId, nullptr),
    OSSL_PARAM_utf8_string(kKeyLabel, nullptr, 0),
    OSSL_PARAM_octet_string(kKeyId, nullptr, 0),
    OSSL_PARAM_utf8_string(kUserAuth, nullptr, 0),
    OSSL_PARAM_uint32(kParent, nullptr),
    OSSL_PARAM_utf8_string(kParentAuth, nullptr, 0),
    OSSL_PARAM_utf8_string(kOwnerAuth, nullptr, 0),
    OSSL_PARAM_END};

const OSSL_PARAM kEcSettable[] = {
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, nullptr),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, nullptr, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, nullptr, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, nullptr, 0),
    OSSL_PARAM_utf8_string(kUriParams[0], nullptr, 0),
    OSSL_PARAM_utf8_string(kUriParams[1], nullptr, 0),
    OSSL_PARAM_utf8_string(kKeyUsage, nullptr, 0),
    OSSL_PARAM_int(kEphemeral, nullptr),
    OSSL_PARAM_ulong(kSlotId, nullptr),
    OSSL_PARAM_utf8_string(kKeyLabel, nullptr, 0),
    OSSL_PARAM_octet_string(kKeyId, nullptr, 0),
    OSSL_PARAM_utf8_string(kDigest, nullptr, 0),
    OSSL_PARAM_utf8_string(kUserAuth, nullptr, 0),
    OSSL_PARAM_uint32(kParent, nullptr),
    OSSL_PARAM_utf8_string(kParentAuth, nullptr, 0),
    OSSL_PARAM_utf8_string(kOwnerAuth, nullptr, 0),
    OSSL_PARAM_END};

// The curve is the type; who names it all the same (TLS) is right. (user-auth and its like are of
// keys in a TPM, which has no such curves: refused by name.)
const OSSL_PARAM kOwnCurveSettable[] = {
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
    OSSL_PARAM_utf8_string(kUriParams[0], nullptr, 0),
    OSSL_PARAM_utf8_string(kUriParams[1], nullptr, 0),
    OSSL_PARAM_utf8_string(kKeyUsage, nullptr, 0),
    OSSL_PARAM_int(kEphemeral, nullptr),
    OSSL_PARAM_ulong(kSlotId, nullptr),
    OSSL_PARAM_utf8_string(kKeyLabel, nullptr, 0),
    OSSL_PARAM_octet_string(kKeyId, nullptr, 0),
    OSSL_PARAM_utf8_string(kUserAuth, nullptr, 0),
    OSSL_PARAM_END};

[[noreturn]] void wrong(const char* name) {
  throw Error(Reason::kBadParameter,
              std::string("key generation: parameter ") + name + " has no usable value");
}

void set_text(const OSSL_PARAM params[], const char* name, std::string& text) {
  const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
  const char* value = nullptr;
  if (param == nullptr) return;
  if (OSSL_PARAM_get_utf8_string_ptr(param, &value) != 1 || value == nullptr || *value == '\0')
    wrong(name);
  text = value;
}

// An auth value, out of the program's memory; null where it is empty, which is what none is.
std::shared_ptr<const core::Secret> auth_value(const OSSL_PARAM& param) {
  const char* text = nullptr;
  if (OSSL_PARAM_get_utf8_string_ptr(&param, &text) != 1 || text == nullptr) wrong(param.key);
  if (*text == '\0') return nullptr;
  return std::make_shared<const core::Secret>(core::as_bytes(text));
}

// A number, as tpm2-openssl has it, or such a number as text.
std::uint32_t parent_handle(const OSSL_PARAM& param) {
  std::uint32_t handle = 0;
  const char* text = nullptr;
  if (param.data_type == OSSL_PARAM_UTF8_STRING &&
      OSSL_PARAM_get_utf8_string_ptr(&param, &text) == 1 && text != nullptr)
    handle = core::parse_handle(text).value_or(0);
  else if (OSSL_PARAM_get_uint32(&param, &handle) != 1)
    wrong(kParent);
  const core::HandleKind kind = core::handle_kind(handle);
  if (kind != core::HandleKind::kPermanent && kind != core::HandleKind::kPersistent)
    throw Error(Reason::kBadParameter,
                "key generation: parameter parent: write the handle of a persistent key (as "
                "0x81000001) or of a hierarchy (0x40000001 is the owner's)");
  return handle;
}

// PKCS#11 v2.40, 4.8, table 23.
unsigned uses_of(const std::string& text) {
  unsigned uses = 0;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const auto* const found = std::ranges::find(kUsages, std::string_view(word),
                                                &std::pair<std::string_view, unsigned>::first);
    if (found == std::end(kUsages))
      throw Error(Reason::kBadParameter,
                  std::string("key generation: parameter ") + kKeyUsage + ": " + word +
                      " is none; use digitalSignature, nonRepudiation, keyEncipherment, "
                      "dataEncipherment, keyAgreement, keyCertSign or cRLSign");
    uses |= found->second;
  }
  return uses;
}

// What no key of the kind can do; 0 if it can do all.
unsigned impossible_uses(Algorithm algorithm, unsigned uses) noexcept {
  unsigned possible = 0;
  if (!core::is_montgomery(algorithm)) possible |= core::kUseSign;
  if (algorithm == Algorithm::kEc || core::is_montgomery(algorithm)) possible |= core::kUseDerive;
  if (algorithm == Algorithm::kRsa) possible |= core::kUseDecrypt | core::kUseUnwrap;
  return uses & ~possible;
}

}  // namespace

Generation::Generation(Provider& provider, Algorithm algorithm, int selection)
    : provider_(provider), algorithm_(algorithm), selection_(selection) {
  spec_.algorithm = algorithm;
  software_ = provider.software_keys().generation(algorithm, selection);
}

void Generation::set_template(const KeyObject& object) {
  if (object.pkey() == nullptr) return;
  software_->set_template(object.pkey());
  if (algorithm_ != Algorithm::kEc) return;
  std::array<char, 80> group{};
  if (EVP_PKEY_get_group_name(object.pkey(), group.data(), group.size(), nullptr) == 1)
    spec_.group = group.data();
  else
    software_only_ = OSSL_PKEY_PARAM_EC_P;  // a curve without a name
}

// Read twice: as values of a key on a token, and by libcrypto for an ordinary one. Which it will
// be is known only at the end, since the parameters come in any order.
void Generation::set_params(const OSSL_PARAM params[]) {
  set_uri(params);
  set_key(params);
  set_signatures(params);
  set_own(params);
  set_pkcs11(params);
  for (const char* const name : kSoftwareOnly) {
    if (OSSL_PARAM_locate_const(params, name) != nullptr) software_only_ = name;
  }
  std::string encoding;
  set_text(params, OSSL_PKEY_PARAM_EC_ENCODING, encoding);
  if (encoding == OSSL_PKEY_EC_ENCODING_EXPLICIT) software_only_ = OSSL_PKEY_PARAM_EC_ENCODING;
  if (!uri_ && own_.empty() && !of_pkcs11_) software_->set_params(params);
}

void Generation::set_pkcs11(const OSSL_PARAM params[]) {
  const auto given = [&](const char* name) {
    const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
    if (param != nullptr) of_pkcs11_ = name;
    return param;
  };
  if (given(kKeyUsage) != nullptr) {
    std::string usage;
    set_text(params, kKeyUsage, usage);
    set_uses(usage);
  }
  if (const OSSL_PARAM* const param = given(kEphemeral)) {
    int ephemeral = 0;
    if (OSSL_PARAM_get_int(param, &ephemeral) != 1 || (ephemeral != 0 && ephemeral != 1))
      wrong(kEphemeral);
    spec_.in_session = ephemeral == 1;
  }
  if (const OSSL_PARAM* const param = given(kSlotId)) {
    unsigned long slot = 0;
    if (OSSL_PARAM_get_ulong(param, &slot) != 1 || slot == ULONG_MAX) wrong(kSlotId);
    slot_ = slot;
  }
  if (given(kKeyLabel) != nullptr) set_text(params, kKeyLabel, spec_.label);
  if (const OSSL_PARAM* const param = given(kKeyId)) {
    const void* id = nullptr;
    std::size_t size = 0;
    if (OSSL_PARAM_get_octet_string_ptr(param, &id, &size) != 1 || size == 0) wrong(kKeyId);
    const auto* const bytes = static_cast<const std::uint8_t*>(id);
    spec_.id.assign(bytes, bytes + size);
  }
}

void Generation::set_uses(const std::string& usage) {
  const unsigned uses = uses_of(usage);
  if (uses == 0 || impossible_uses(algorithm_, uses) != 0)
    throw Error(Reason::kBadParameter, std::string("key generation: parameter ") + kKeyUsage +
                                           ": " + usage + " is not for a key of type " +
                                           core::algorithm_name(algorithm_) +
                                           "; leave out what such a key cannot do");
  spec_.uses = uses;
}

void Generation::set_uri(const OSSL_PARAM params[]) {
  for (const char* const name : kUriParams) {
    const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
    const char* text = nullptr;
    if (param == nullptr) continue;
    if (OSSL_PARAM_get_utf8_string_ptr(param, &text) != 1) wrong(name);
    uri_ = core::KeyUri::parse(text);
  }
}

void Generation::set_key(const OSSL_PARAM params[]) {
  set_text(params, OSSL_PKEY_PARAM_GROUP_NAME, spec_.group);
  if (const OSSL_PARAM* const bits = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_BITS)) {
    if (OSSL_PARAM_get_size_t(bits, &spec_.rsa_bits) != 1) wrong(OSSL_PKEY_PARAM_RSA_BITS);
  }
  if (const OSSL_PARAM* const e = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_E)) {
    BIGNUM* exponent = nullptr;
    if (OSSL_PARAM_get_BN(e, &exponent) != 1) wrong(OSSL_PKEY_PARAM_RSA_E);
    const core::BigNum owner(exponent);
    spec_.rsa_exponent.resize(static_cast<std::size_t>(BN_num_bytes(exponent)));
    BN_bn2bin(exponent, spec_.rsa_exponent.data());
  }
  constexpr std::size_t kUsualPrimes = 2;  // genrsa always says so
  if (const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_PRIMES)) {
    std::size_t primes = 0;
    if (OSSL_PARAM_get_size_t(param, &primes) != 1) wrong(OSSL_PKEY_PARAM_RSA_PRIMES);
    if (primes != kUsualPrimes) software_only_ = OSSL_PKEY_PARAM_RSA_PRIMES;
  }
}

void Generation::set_signatures(const OSSL_PARAM params[]) {
  set_text(params, kDigest, digest_);
  // For an ordinary key only RSA-PSS has it.
  if (!digest_.empty() && algorithm_ != Algorithm::kRsaPss) own_ = kDigest;
  set_text(params, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, mgf1_digest_);
  if (const OSSL_PARAM* const salt =
          OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN)) {
    int size = 0;
    if (OSSL_PARAM_get_int(salt, &size) != 1) wrong(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN);
    salt_size_ = size;
  }
}

void Generation::set_own(const OSSL_PARAM params[]) {
  const auto given = [&](const char* name) {
    const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
    if (param != nullptr) own_ = name;
    return param;
  };
  if (const OSSL_PARAM* const param = given(kUserAuth)) spec_.auth = auth_value(*param);
  if (const OSSL_PARAM* const param = given(kParentAuth)) spec_.parent_auth = auth_value(*param);
  if (const OSSL_PARAM* const param = given(kOwnerAuth)) spec_.owner_auth = auth_value(*param);
  if (const OSSL_PARAM* const param = given(kParent)) spec_.parent = parent_handle(*param);
}

// The name of a parameter that the key cannot keep; empty if there is none. A TPM has one digest
// for all of an RSA-PSS key's signatures; a PKCS#11 token has neither digests nor auth values of
// single keys.
std::string Generation::unkeepable() const {
  using core::Digest;
  if (!software_only_.empty()) return software_only_;
  const bool on_pkcs11 = uri_ ? uri_->scheme() == core::KeyUri::Scheme::kPkcs11
                              : provider_.router().keygen_on_pkcs11();
  const bool in_tpm = uri_ ? uri_->scheme() == core::KeyUri::Scheme::kTpm2 : !on_pkcs11;
  if (of_pkcs11_ != nullptr && in_tpm) return of_pkcs11_;
  if (on_pkcs11 && !own_.empty()) return own_;
  const Digest digest = digest_.empty() ? spec_.digest : core::digest_by_name(digest_);
  if (!digest_.empty() && (on_pkcs11 || digest == Digest::kOther)) return kDigest;
  const bool has_pss = algorithm_ == Algorithm::kRsaPss && !on_pkcs11;
  if (!mgf1_digest_.empty() && !(has_pss && core::digest_by_name(mgf1_digest_) == digest))
    return OSSL_PKEY_PARAM_RSA_MGF1_DIGEST;
  if (salt_size_ && !(has_pss && *salt_size_ == static_cast<int>(core::digest_size(digest))))
    return OSSL_PKEY_PARAM_RSA_PSS_SALTLEN;
  return {};
}

std::unique_ptr<KeyObject> Generation::generate_on_token() {
  core::Router& router = provider_.router();
  // A key on a token is asked for, and nothing says which.
  if (!uri_ && of_pkcs11_ != nullptr && !router.keygen_in_hardware())
    uri_ = core::KeyUri::parse("pkcs11:");
  if (uri_ && slot_) {
    uri_->set_slot_id(*slot_);
    slot_.reset();
  }
  if (const std::string parameter = unkeepable(); !parameter.empty())
    throw Error(Reason::kUnsupported, "key generation: " + (uri_ ? uri_->text() + ": " : "") +
                                          "parameter " + parameter +
                                          " cannot be kept on a token; leave it out");
  if (!digest_.empty()) spec_.digest = core::digest_by_name(digest_);
  const TokenCall call(provider_);
  return KeyObject::from_object(provider_, uri_ ? router.generate(*uri_, spec_, {})
                                                : router.generate_unnamed(spec_, slot_, {}));
}

std::unique_ptr<KeyObject> Generation::generate(OSSL_CALLBACK* progress, void* argument) {
  const bool pair = (selection_ & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
  // No TPM has X25519 and X448, which TLS makes for each connection.
  const bool is_of_tls = core::is_montgomery(algorithm_);
  if (pair && (uri_ || !own_.empty() || of_pkcs11_ != nullptr ||
               (!is_of_tls && provider_.router().keygen_in_hardware())))
    return generate_on_token();
  auto made = std::make_unique<KeyObject>(provider_, algorithm_);
  // A key pair comes with its parameters, though keygen's selection does not name them.
  made->set_software(software_->generate(progress, argument),
                     pair ? OSSL_KEYMGMT_SELECT_ALL : OSSL_KEYMGMT_SELECT_ALL_PARAMETERS);
  return made;
}

template <Algorithm A>
Generation* gen_init(Provider* provider, int selection, const OSSL_PARAM params[]) {
  auto generation = std::make_unique<Generation>(*provider, A, selection);
  if (params != nullptr) generation->set_params(params);
  return generation.release();
}
template Generation* gen_init<Algorithm::kRsa>(Provider*, int, const OSSL_PARAM[]);
template Generation* gen_init<Algorithm::kRsaPss>(Provider*, int, const OSSL_PARAM[]);
template Generation* gen_init<Algorithm::kEc>(Provider*, int, const OSSL_PARAM[]);
template Generation* gen_init<Algorithm::kEd25519>(Provider*, int, const OSSL_PARAM[]);
template Generation* gen_init<Algorithm::kEd448>(Provider*, int, const OSSL_PARAM[]);
template Generation* gen_init<Algorithm::kX25519>(Provider*, int, const OSSL_PARAM[]);
template Generation* gen_init<Algorithm::kX448>(Provider*, int, const OSSL_PARAM[]);

template <Algorithm A>
const OSSL_PARAM* gen_settable_params(Generation*, Provider*) {
  if (A == Algorithm::kEc) return kEcSettable;
  if (!core::is_rsa(A)) return kOwnCurveSettable;
  return A == Algorithm::kRsaPss ? kRsaPssSettable : kRsaSettable;
}
template const OSSL_PARAM* gen_settable_params<Algorithm::kRsa>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kRsaPss>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kEc>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kEd25519>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kEd448>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kX25519>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kX448>(Generation*, Provider*);

int gen_set_template(Generation* generation, KeyObject* object) {
  generation->set_template(*object);
  return 1;
}

int gen_set_params(Generation* generation, const OSSL_PARAM params[]) {
  if (params != nullptr) generation->set_params(params);
  return 1;
}

KeyObject* gen(Generation* generation, OSSL_CALLBACK* progress, void* argument) {
  return generation->generate(progress, argument).release();
}

void gen_cleanup(Generation* generation) { delete generation; }

}  // namespace hwid::ossl::keymgmt
