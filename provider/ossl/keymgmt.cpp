#include "provider/ossl/keymgmt.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include <array>
#include <cstring>

namespace hwid::ossl::keymgmt {

using core::Algorithm;
using core::Error;
using core::EvpPkey;
using core::Reason;

namespace {

// What both halves and the parameters of a key are called (provider-keymgmt(7), EVP_PKEY-RSA(7),
// EVP_PKEY-EC(7)). The values themselves come from libcrypto's own keys.
const OSSL_PARAM kRsaTypes[] = {OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_D, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_FACTOR1, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_FACTOR2, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_EXPONENT1, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_EXPONENT2, nullptr, 0),
                                OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_COEFFICIENT1, nullptr, 0),
                                OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST, nullptr, 0),
                                OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MASKGENFUNC, nullptr, 0),
                                OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, nullptr, 0),
                                OSSL_PARAM_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, nullptr),
                                OSSL_PARAM_END};

const OSSL_PARAM kEcTypes[] = {
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
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
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, nullptr, 0),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, nullptr),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, nullptr),
    OSSL_PARAM_END};

// EVP_PKEY-X25519(7).
const OSSL_PARAM kOwnCurveTypes[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
                                     OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, nullptr, 0),
                                     OSSL_PARAM_END};

const OSSL_PARAM kGettable[] = {
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, nullptr, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0),
    OSSL_PARAM_END};

const OSSL_PARAM kSettable[] = {
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
    OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, nullptr),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, nullptr, 0), OSSL_PARAM_END};

// Not thrown, and short: OpenSSL asks at the start of every signature whether its own keymgmt may
// have the key, and drops the error.
int refuse_private(const KeyObject& object) {
  const core::KeyDescription& key = object.description();
  const std::string what = "export: " + place_text(key) +
                           ": the private key stays on its token; use its URI or a key reference, "
                           "and algorithms of this provider (hwid.keys=yes)";
  if (object.errors() != nullptr)
    object.errors()->raise(Reason::kPrivateStays, core::one_line(what).c_str(),
                           core::SourceLoc::here());
  return 0;
}

// What params say is there, of what the selection asks for.
int present_parts(Algorithm algorithm, int selection, const OSSL_PARAM params[]) {
  const bool rsa = core::is_rsa(algorithm);
  const auto given = [params](const char* name) {
    return OSSL_PARAM_locate_const(params, name) != nullptr;
  };
  int parts = selection & OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;
  if (algorithm == Algorithm::kEc &&
      (given(OSSL_PKEY_PARAM_GROUP_NAME) || given(OSSL_PKEY_PARAM_EC_P)))
    parts |= OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS;
  if (given(rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_PUB_KEY))
    parts |= OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
  if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 &&
      given(rsa ? OSSL_PKEY_PARAM_RSA_D : OSSL_PKEY_PARAM_PRIV_KEY))
    parts |= OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
  return parts;
}

core::Params to_data(EVP_PKEY* pkey, int selection) {
  OSSL_PARAM* params = nullptr;
  if (EVP_PKEY_todata(pkey, selection, &params) != 1)
    throw Error(Reason::kLibcrypto, "EVP_PKEY_todata: " + core::last_libcrypto_error());
  return core::Params(params);
}

}  // namespace

template <Algorithm A>
KeyObject* new_key(Provider* provider) {
  return new KeyObject(*provider, A);
}
template KeyObject* new_key<Algorithm::kRsa>(Provider*);
template KeyObject* new_key<Algorithm::kRsaPss>(Provider*);
template KeyObject* new_key<Algorithm::kEc>(Provider*);
template KeyObject* new_key<Algorithm::kEd25519>(Provider*);
template KeyObject* new_key<Algorithm::kEd448>(Provider*);
template KeyObject* new_key<Algorithm::kX25519>(Provider*);
template KeyObject* new_key<Algorithm::kX448>(Provider*);

template <Algorithm A>
const OSSL_PARAM* key_types(int) {
  if (core::is_rsa(A)) return kRsaTypes;
  return A == Algorithm::kEc ? kEcTypes : kOwnCurveTypes;
}
template const OSSL_PARAM* key_types<Algorithm::kRsa>(int);
template const OSSL_PARAM* key_types<Algorithm::kRsaPss>(int);
template const OSSL_PARAM* key_types<Algorithm::kEc>(int);
template const OSSL_PARAM* key_types<Algorithm::kEd25519>(int);
template const OSSL_PARAM* key_types<Algorithm::kEd448>(int);
template const OSSL_PARAM* key_types<Algorithm::kX25519>(int);
template const OSSL_PARAM* key_types<Algorithm::kX448>(int);

template <Algorithm A>
const char* query_operation_name(int operation) {
  // A name that no other provider has: under a common one OpenSSL would try theirs first, and ask
  // for the private half, at the start of every signature.
  if (operation == OSSL_OP_SIGNATURE) return core::is_edwards(A) ? kOwnEddsa : kOwnSignature;
  if (core::is_rsa(A)) return "RSA";
  if (A == Algorithm::kEc && operation == OSSL_OP_KEYEXCH) return "ECDH";
  return core::algorithm_name(A);
}
template const char* query_operation_name<Algorithm::kRsa>(int);
template const char* query_operation_name<Algorithm::kRsaPss>(int);
template const char* query_operation_name<Algorithm::kEc>(int);
template const char* query_operation_name<Algorithm::kEd25519>(int);
template const char* query_operation_name<Algorithm::kEd448>(int);
template const char* query_operation_name<Algorithm::kX25519>(int);
template const char* query_operation_name<Algorithm::kX448>(int);

void free_key(KeyObject* object) {
  if (object != nullptr && object->drop_reference()) delete object;
}

KeyObject* load(const void* reference, std::size_t size) {
  if (reference == nullptr || size != sizeof(KeyObject*)) return nullptr;
  // The reference is ours, from emit_key, which lets us take the object out of it.
  KeyObject* object = nullptr;
  std::memcpy(&object, reference, sizeof object);
  std::memset(const_cast<void*>(reference), 0, sizeof object);
  return object;
}

KeyObject* dup(const KeyObject* object, int selection) {
  if (object == nullptr) return nullptr;
  if (object->key() != nullptr && (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)
    return object->copy().release();
  auto copy = std::make_unique<KeyObject>(object->provider(), object->algorithm());
  const int parts = object->parts() & selection;
  const bool own_curve =
      core::is_edwards(object->algorithm()) || core::is_montgomery(object->algorithm());
  if (own_curve && (parts & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) {
    // The type is all the parameters that there are: what a peer's key is put into.
    copy->set_software(object->provider()
                           .software_keys()
                           .generation(object->algorithm(), OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)
                           ->generate(nullptr, nullptr),
                       OSSL_KEYMGMT_SELECT_ALL_PARAMETERS);
  } else if (object->pkey() != nullptr && parts != 0) {
    const core::Params params = to_data(object->pkey(), parts);
    copy->set_software(
        object->provider().software_keys().import_key(object->algorithm(), parts, params.get()),
        parts);
  }
  return copy.release();
}

int has(const KeyObject* object, int selection) {
  if (object == nullptr) return 0;
  // Only EC keys have domain parameters that could be missing.
  const int asked = object->algorithm() == Algorithm::kEc
                        ? selection & ~OSSL_KEYMGMT_SELECT_OTHER_PARAMETERS
                        : selection & OSSL_KEYMGMT_SELECT_KEYPAIR;
  return (asked & ~object->parts()) == 0 ? 1 : 0;
}

int match(const KeyObject* one, const KeyObject* other, int selection) {
  EVP_PKEY* const a = one->pkey();
  EVP_PKEY* const b = other->pkey();
  if (a == nullptr || b == nullptr) return a == b ? 1 : 0;
  const core::ErrorMark mark;
  if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
    return EVP_PKEY_parameters_eq(a, b) == 1 ? 1 : 0;
  if (EVP_PKEY_eq(a, b) == 1) return 1;
  // A certificate of another key: that on the token may have been made anew, and the next load must
  // see it.
  for (const KeyObject* const object : {one, other}) {
    if (object->key() != nullptr) object->provider().router().forget();
  }
  return 0;
}

// A token's private half is checked by the token when it is made; what can be checked here is the
// public one.
int validate(const KeyObject* object, int selection, int check_type) {
  if (object->pkey() == nullptr) return 0;
  const core::EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(object->provider().crypto().get(),
                                                        object->pkey(), core::kNotHwid));
  if (!ctx) return 0;
  const bool quick = check_type == OSSL_KEYMGMT_VALIDATE_QUICK_CHECK;
  if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
    return quick ? EVP_PKEY_param_check_quick(ctx.get()) : EVP_PKEY_param_check(ctx.get());
  if (object->key() != nullptr || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0)
    return quick ? EVP_PKEY_public_check_quick(ctx.get()) : EVP_PKEY_public_check(ctx.get());
  if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) == 0) return EVP_PKEY_private_check(ctx.get());
  return EVP_PKEY_pairwise_check(ctx.get());
}

int import_key(KeyObject* object, int selection, const OSSL_PARAM params[]) {
  if (object == nullptr || object->on_token()) return 0;
  object->set_software(
      object->provider().software_keys().import_key(object->algorithm(), selection, params),
      present_parts(object->algorithm(), selection, params));
  return 1;
}

int export_key(KeyObject* object, int selection, OSSL_CALLBACK* callback, void* argument) {
  if (object->pkey() == nullptr) return 0;
  if (object->key() != nullptr && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
    return refuse_private(*object);
  const int parts = selection & (object->parts() | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS);
  const core::Params params = to_data(object->pkey(), parts);
  return callback(params.get(), argument);
}

int get_params(KeyObject* object, OSSL_PARAM params[]) {
  if (object->pkey() == nullptr || EVP_PKEY_get_params(object->pkey(), params) != 1) return 0;
  const core::Key* const key = object->key();
  if (key == nullptr || key->only_digest() == core::Digest::kNone) return 1;
  const char* const digest = OBJ_nid2sn(core::digest_nid(key->only_digest()));
  for (const char* const name :
       {OSSL_PKEY_PARAM_DEFAULT_DIGEST, OSSL_PKEY_PARAM_MANDATORY_DIGEST}) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    if (param != nullptr && OSSL_PARAM_set_utf8_string(param, digest) != 1) return 0;
  }
  return 1;
}

const OSSL_PARAM* gettable_params(Provider*) { return kGettable; }
const OSSL_PARAM* settable_params(Provider*) { return kSettable; }

int set_params(KeyObject* object, const OSSL_PARAM params[]) {
  if (params == nullptr || params[0].key == nullptr) return 1;
  if (object->on_token()) {
    if (OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) != nullptr)
      throw Error(Reason::kBadParameter, "set_params: " + place_text(object->description()) +
                                             ": the values of a key on a token are fixed; only "
                                             "the form of its public half can be set");
    object->own_public_half();
  }
  if (object->pkey() == nullptr ||
      EVP_PKEY_set_params(object->pkey(), const_cast<OSSL_PARAM*>(params)) != 1)
    return 0;
  if (OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) != nullptr)
    object->add_parts(OSSL_KEYMGMT_SELECT_PUBLIC_KEY);
  return 1;
}

}  // namespace hwid::ossl::keymgmt
