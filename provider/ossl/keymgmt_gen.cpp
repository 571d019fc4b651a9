#include <openssl/core_names.h>

#include <algorithm>

#include "provider/ossl/keymgmt.h"

namespace hwid::ossl::keymgmt {

using core::Algorithm;
using core::Error;
using core::Reason;

namespace {

// A parameter that asks for a key on a token: pkcs11-provider's name, and ours.
constexpr const char* kUriParams[] = {"pkcs11_uri", "hwid_uri"};

// What a key on a token cannot be told: refused by name rather than dropped.
constexpr const char* kSoftwareOnly[] = {
    OSSL_PKEY_PARAM_RSA_PRIMES,      OSSL_PKEY_PARAM_RSA_DIGEST,
    OSSL_PKEY_PARAM_RSA_MASKGENFUNC, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST,
    OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, OSSL_PKEY_PARAM_EC_P,
    OSSL_PKEY_PARAM_EC_GENERATOR,    OSSL_PKEY_PARAM_USE_COFACTOR_ECDH};

const OSSL_PARAM kRsaSettable[] = {OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, nullptr),
                                   OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, nullptr),
                                   OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0),
                                   OSSL_PARAM_utf8_string(kUriParams[0], nullptr, 0),
                                   OSSL_PARAM_utf8_string(kUriParams[1], nullptr, 0),
                                   OSSL_PARAM_END};

const OSSL_PARAM kRsaPssSettable[] = {
    OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, nullptr),
    OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, nullptr),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST_PROPS, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MASKGENFUNC, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, nullptr, 0),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, nullptr),
    OSSL_PARAM_utf8_string(kUriParams[0], nullptr, 0),
    OSSL_PARAM_utf8_string(kUriParams[1], nullptr, 0),
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

}  // namespace

Generation::Generation(Provider& provider, Algorithm algorithm, int selection)
    : provider_(provider), algorithm_(algorithm), selection_(selection) {
  spec_.algorithm = algorithm;
  software_ = provider.software_keys().generation(algorithm, selection);
}

void Generation::set_template(const KeyObject& object) {
  if (object.pkey() == nullptr) return;
  software_->set_template(object.pkey());
  std::array<char, 80> group{};
  if (algorithm_ == Algorithm::kEc &&
      EVP_PKEY_get_group_name(object.pkey(), group.data(), group.size(), nullptr) == 1)
    spec_.group = group.data();
}

// Read twice: as values of a key on a token, and by libcrypto for an ordinary one. Which it will
// be is known only at the end, since the parameters come in any order.
void Generation::set_params(const OSSL_PARAM params[]) {
  for (const char* const name : kUriParams) {
    const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
    const char* text = nullptr;
    if (param == nullptr) continue;
    if (OSSL_PARAM_get_utf8_string_ptr(param, &text) != 1) wrong(name);
    uri_ = core::KeyUri::parse(text);
  }
  for (const char* const name : kSoftwareOnly) {
    if (OSSL_PARAM_locate_const(params, name) != nullptr) software_only_ = name;
  }
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
  if (!uri_) software_->set_params(params);
}

std::unique_ptr<KeyObject> Generation::generate(OSSL_CALLBACK* progress, void* argument) {
  if (uri_ && (selection_ & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0) {
    if (!software_only_.empty())
      throw Error(Reason::kUnsupported, "key generation: " + uri_->text() + ": parameter " +
                                            software_only_ +
                                            " cannot be kept on a token; leave it out");
    return KeyObject::from_object(provider_, provider_.router().generate(*uri_, spec_, {}));
  }
  auto made = std::make_unique<KeyObject>(provider_, algorithm_);
  // A key pair comes with its parameters, though keygen's selection does not name them.
  const bool pair = (selection_ & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
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

template <Algorithm A>
const OSSL_PARAM* gen_settable_params(Generation*, Provider*) {
  if (A == Algorithm::kEc) return kEcSettable;
  return A == Algorithm::kRsaPss ? kRsaPssSettable : kRsaSettable;
}
template const OSSL_PARAM* gen_settable_params<Algorithm::kRsa>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kRsaPss>(Generation*, Provider*);
template const OSSL_PARAM* gen_settable_params<Algorithm::kEc>(Generation*, Provider*);

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
