#include "provider/ossl/tables.h"

#include <openssl/core_names.h>

#include "provider/ossl/asym_cipher.h"
#include "provider/ossl/decoder.h"
#include "provider/ossl/digest.h"
#include "provider/ossl/dispatch.h"
#include "provider/ossl/encoder.h"
#include "provider/ossl/keyexch.h"
#include "provider/ossl/keymgmt.h"
#include "provider/ossl/newer_dispatch.h"
#include "provider/ossl/provider.h"
#include "provider/ossl/rand.h"
#include "provider/ossl/signature.h"
#include "provider/ossl/store.h"

namespace hwid::ossl {
namespace {

using core::Algorithm;
using encoder::Form;

constexpr OSSL_DISPATCH kEnd = {0, nullptr};

const OSSL_DISPATCH kProvider[] = {
    HWID_OP(PROVIDER_TEARDOWN, provider_teardown, provider::teardown),
    HWID_OP(PROVIDER_GETTABLE_PARAMS, provider_gettable_params, provider::gettable_params),
    HWID_OP(PROVIDER_GET_PARAMS, provider_get_params, provider::get_params),
    HWID_OP(PROVIDER_QUERY_OPERATION, provider_query_operation, provider::query_operation),
    HWID_OP(PROVIDER_GET_REASON_STRINGS, provider_get_reason_strings, provider::get_reason_strings),
    HWID_OP(PROVIDER_GET_CAPABILITIES, provider_get_capabilities, provider::get_capabilities),
    kEnd};

// The kinds of keys differ in the algorithm only.
template <Algorithm A>
const OSSL_DISPATCH kKeymgmt[] = {
    HWID_OP(KEYMGMT_NEW, keymgmt_new, keymgmt::new_key<A>),
    HWID_OP(KEYMGMT_FREE, keymgmt_free, keymgmt::free_key),
    HWID_OP(KEYMGMT_LOAD, keymgmt_load, keymgmt::load),
    HWID_OP(KEYMGMT_DUP, keymgmt_dup, keymgmt::dup),
    HWID_OP(KEYMGMT_HAS, keymgmt_has, keymgmt::has),
    HWID_OP(KEYMGMT_MATCH, keymgmt_match, keymgmt::match),
    HWID_OP(KEYMGMT_VALIDATE, keymgmt_validate, keymgmt::validate),
    HWID_OP(KEYMGMT_IMPORT, keymgmt_import, keymgmt::import_key),
    HWID_OP(KEYMGMT_IMPORT_TYPES, keymgmt_import_types, keymgmt::key_types<A>),
    HWID_OP(KEYMGMT_EXPORT, keymgmt_export, keymgmt::export_key),
    HWID_OP(KEYMGMT_EXPORT_TYPES, keymgmt_export_types, keymgmt::key_types<A>),
    HWID_OP(KEYMGMT_GET_PARAMS, keymgmt_get_params, keymgmt::get_params),
    HWID_OP(KEYMGMT_GETTABLE_PARAMS, keymgmt_gettable_params, keymgmt::gettable_params),
    HWID_OP(KEYMGMT_SET_PARAMS, keymgmt_set_params, keymgmt::set_params),
    HWID_OP(KEYMGMT_SETTABLE_PARAMS, keymgmt_settable_params, keymgmt::settable_params),
    HWID_OP(KEYMGMT_QUERY_OPERATION_NAME, keymgmt_query_operation_name,
            keymgmt::query_operation_name<A>),
    HWID_OP(KEYMGMT_GEN_INIT, keymgmt_gen_init, keymgmt::gen_init<A>),
    HWID_OP(KEYMGMT_GEN_SET_TEMPLATE, keymgmt_gen_set_template, keymgmt::gen_set_template),
    HWID_OP(KEYMGMT_GEN_SET_PARAMS, keymgmt_gen_set_params, keymgmt::gen_set_params),
    HWID_OP(KEYMGMT_GEN_SETTABLE_PARAMS, keymgmt_gen_settable_params,
            keymgmt::gen_settable_params<A>),
    HWID_OP(KEYMGMT_GEN, keymgmt_gen, keymgmt::gen),
    HWID_OP(KEYMGMT_GEN_CLEANUP, keymgmt_gen_cleanup, keymgmt::gen_cleanup),
    kEnd};

// clang-format off
#define HWID_SIGNATURE_CALLS(settable)                                                             \
  HWID_OP(SIGNATURE_FREECTX, signature_freectx, signature::freectx),                               \
  HWID_OP(SIGNATURE_DUPCTX, signature_dupctx, signature::dupctx),                                  \
  HWID_OP(SIGNATURE_GET_CTX_PARAMS, signature_get_ctx_params, signature::get_ctx_params),          \
  HWID_OP(SIGNATURE_GETTABLE_CTX_PARAMS, signature_gettable_ctx_params,                            \
          signature::gettable_ctx_params),                                                         \
  HWID_OP(SIGNATURE_SET_CTX_PARAMS, signature_set_ctx_params, signature::set_ctx_params),          \
  HWID_OP(SIGNATURE_SETTABLE_CTX_PARAMS, signature_settable_ctx_params, signature::settable)
// After an init of digests or of messages. Before OpenSSL 3.4 the first is wanted, or neither.
#define HWID_SIGNATURE_AT_ONCE                                                                     \
  HWID_OP(SIGNATURE_SIGN, signature_sign, signature::sign),                                        \
  HWID_OP(SIGNATURE_VERIFY, signature_verify, signature::verify)
#define HWID_SIGNATURE_OF_DIGESTS                                                                  \
  HWID_OP(SIGNATURE_SIGN_INIT, signature_sign_init, signature::sign_init),                         \
  HWID_OP(SIGNATURE_VERIFY_INIT, signature_verify_init, signature::verify_init)
#define HWID_SIGNATURE_RECOVER                                                                     \
  HWID_OP(SIGNATURE_VERIFY_RECOVER_INIT, signature_verify_recover_init,                            \
          signature::verify_recover_init),                                                         \
  HWID_OP(SIGNATURE_VERIFY_RECOVER, signature_verify_recover, signature::verify_recover)
#define HWID_SIGNATURE_WITH_DIGEST                                                                 \
  HWID_OP(SIGNATURE_DIGEST_SIGN_INIT, signature_digest_sign_init, signature::digest_sign_init),    \
  HWID_OP(SIGNATURE_DIGEST_SIGN_UPDATE, signature_digest_sign_update, signature::digest_update),   \
  HWID_OP(SIGNATURE_DIGEST_SIGN_FINAL, signature_digest_sign_final, signature::digest_sign_final), \
  HWID_OP(SIGNATURE_DIGEST_SIGN, signature_digest_sign, signature::digest_sign),                   \
  HWID_OP(SIGNATURE_DIGEST_VERIFY_INIT, signature_digest_verify_init,                              \
          signature::digest_verify_init),                                                          \
  HWID_OP(SIGNATURE_DIGEST_VERIFY_UPDATE, signature_digest_verify_update,                          \
          signature::digest_update),                                                               \
  HWID_OP(SIGNATURE_DIGEST_VERIFY_FINAL, signature_digest_verify_final,                            \
          signature::digest_verify_final),                                                         \
  HWID_OP(SIGNATURE_DIGEST_VERIFY, signature_digest_verify, signature::digest_verify),             \
  HWID_OP(SIGNATURE_GET_CTX_MD_PARAMS, signature_get_ctx_md_params,                                \
          signature::get_ctx_md_params),                                                           \
  HWID_OP(SIGNATURE_GETTABLE_CTX_MD_PARAMS, signature_gettable_ctx_md_params,                      \
          signature::gettable_ctx_md_params),                                                      \
  HWID_OP(SIGNATURE_SET_CTX_MD_PARAMS, signature_set_ctx_md_params,                                \
          signature::set_ctx_md_params),                                                           \
  HWID_OP(SIGNATURE_SETTABLE_CTX_MD_PARAMS, signature_settable_ctx_md_params,                      \
          signature::settable_ctx_md_params)
#define HWID_SIGNATURE_OF_MESSAGES                                                                 \
  HWID_OP(SIGNATURE_SIGN_MESSAGE_INIT, signature_sign_message_init, signature::sign_message_init), \
  HWID_OP(SIGNATURE_SIGN_MESSAGE_UPDATE, signature_sign_message_update,                            \
          signature::message_update),                                                               \
  HWID_OP(SIGNATURE_SIGN_MESSAGE_FINAL, signature_sign_message_final,                              \
          signature::sign_message_final),                                                           \
  HWID_OP(SIGNATURE_VERIFY_MESSAGE_INIT, signature_verify_message_init,                            \
          signature::verify_message_init),                                                         \
  HWID_OP(SIGNATURE_VERIFY_MESSAGE_UPDATE, signature_verify_message_update,                        \
          signature::message_update),                                                               \
  HWID_OP(SIGNATURE_VERIFY_MESSAGE_FINAL, signature_verify_message_final,                          \
          signature::verify_message_final)
// clang-format on

const OSSL_DISPATCH kOwnSignature[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, signature::newctx),
    HWID_SIGNATURE_CALLS(settable_ctx_params),
    HWID_SIGNATURE_AT_ONCE,
    HWID_SIGNATURE_OF_DIGESTS,
    HWID_SIGNATURE_RECOVER,
    HWID_SIGNATURE_WITH_DIGEST,
    kEnd};

const OSSL_DISPATCH kRsaSignature[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, signature::newctx),
    HWID_OP(SIGNATURE_QUERY_KEY_TYPES, signature_query_key_types,
            (signature::key_types<Algorithm::kRsa, Algorithm::kRsaPss>)),
    HWID_SIGNATURE_CALLS(settable_ctx_params),
    HWID_SIGNATURE_AT_ONCE,
    HWID_SIGNATURE_OF_DIGESTS,
    HWID_SIGNATURE_RECOVER,
    HWID_SIGNATURE_WITH_DIGEST,
    kEnd};

const OSSL_DISPATCH kEcdsa[] = {HWID_OP(SIGNATURE_NEWCTX, signature_newctx, signature::newctx),
                                HWID_OP(SIGNATURE_QUERY_KEY_TYPES, signature_query_key_types,
                                        signature::key_types<Algorithm::kEc>),
                                HWID_SIGNATURE_CALLS(settable_ctx_params),
                                HWID_SIGNATURE_AT_ONCE,
                                HWID_SIGNATURE_OF_DIGESTS,
                                HWID_SIGNATURE_WITH_DIGEST,
                                kEnd};

const OSSL_DISPATCH kEddsaBefore34[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, signature::newctx),
    HWID_SIGNATURE_CALLS(settable_ctx_params), HWID_SIGNATURE_WITH_DIGEST, kEnd};

template <Algorithm... A>
const OSSL_DISPATCH kEddsa[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, signature::newctx),
    HWID_OP(SIGNATURE_QUERY_KEY_TYPES, signature_query_key_types, (signature::key_types<A...>)),
    HWID_SIGNATURE_CALLS(settable_ctx_params),
    HWID_SIGNATURE_AT_ONCE,
    HWID_SIGNATURE_WITH_DIGEST,
    HWID_SIGNATURE_OF_MESSAGES,
    kEnd};

// Algorithms whose name says the digest, or the instance of EdDSA.
template <core::Digest D>
const OSSL_DISPATCH kRsaWith[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, (signature::new_preset<Algorithm::kRsa, D>)),
    HWID_OP(SIGNATURE_QUERY_KEY_TYPES, signature_query_key_types,
            signature::key_types<Algorithm::kRsa>),
    HWID_SIGNATURE_CALLS(settable_preset_params),
    HWID_SIGNATURE_AT_ONCE,
    HWID_SIGNATURE_OF_DIGESTS,
    HWID_SIGNATURE_RECOVER,
    HWID_SIGNATURE_OF_MESSAGES,
    kEnd};

template <core::Digest D>
const OSSL_DISPATCH kEcdsaWith[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, (signature::new_preset<Algorithm::kEc, D>)),
    HWID_OP(SIGNATURE_QUERY_KEY_TYPES, signature_query_key_types,
            signature::key_types<Algorithm::kEc>),
    HWID_SIGNATURE_CALLS(settable_preset_params),
    HWID_SIGNATURE_AT_ONCE,
    HWID_SIGNATURE_OF_DIGESTS,
    HWID_SIGNATURE_OF_MESSAGES,
    kEnd};

template <Algorithm A, const char* I>
const OSSL_DISPATCH kEddsaInstance[] = {
    HWID_OP(SIGNATURE_NEWCTX, signature_newctx, (signature::new_preset<A, core::Digest::kNone, I>)),
    HWID_OP(SIGNATURE_QUERY_KEY_TYPES, signature_query_key_types, signature::key_types<A>),
    HWID_SIGNATURE_CALLS(settable_instance_params),
    HWID_SIGNATURE_AT_ONCE,
    HWID_SIGNATURE_OF_MESSAGES,
    kEnd};

const OSSL_DISPATCH kAsymCipher[] = {
    HWID_OP(ASYM_CIPHER_NEWCTX, asym_cipher_newctx, asym_cipher::newctx),
    HWID_OP(ASYM_CIPHER_FREECTX, asym_cipher_freectx, asym_cipher::freectx),
    HWID_OP(ASYM_CIPHER_DUPCTX, asym_cipher_dupctx, asym_cipher::dupctx),
    HWID_OP(ASYM_CIPHER_ENCRYPT_INIT, asym_cipher_encrypt_init, asym_cipher::encrypt_init),
    HWID_OP(ASYM_CIPHER_ENCRYPT, asym_cipher_encrypt, asym_cipher::run),
    HWID_OP(ASYM_CIPHER_DECRYPT_INIT, asym_cipher_decrypt_init, asym_cipher::decrypt_init),
    HWID_OP(ASYM_CIPHER_DECRYPT, asym_cipher_decrypt, asym_cipher::run),
    HWID_OP(ASYM_CIPHER_GET_CTX_PARAMS, asym_cipher_get_ctx_params, asym_cipher::get_ctx_params),
    HWID_OP(ASYM_CIPHER_GETTABLE_CTX_PARAMS, asym_cipher_gettable_ctx_params,
            asym_cipher::gettable_ctx_params),
    HWID_OP(ASYM_CIPHER_SET_CTX_PARAMS, asym_cipher_set_ctx_params, asym_cipher::set_ctx_params),
    HWID_OP(ASYM_CIPHER_SETTABLE_CTX_PARAMS, asym_cipher_settable_ctx_params,
            asym_cipher::settable_ctx_params),
    kEnd};

const OSSL_DISPATCH kKeyexch[] = {
    HWID_OP(KEYEXCH_NEWCTX, keyexch_newctx, keyexch::newctx),
    HWID_OP(KEYEXCH_FREECTX, keyexch_freectx, keyexch::freectx),
    HWID_OP(KEYEXCH_DUPCTX, keyexch_dupctx, keyexch::dupctx),
    HWID_OP(KEYEXCH_INIT, keyexch_init, keyexch::init),
    HWID_OP(KEYEXCH_SET_PEER, keyexch_set_peer, keyexch::set_peer),
    HWID_OP(KEYEXCH_DERIVE, keyexch_derive, keyexch::derive),
    HWID_OP(KEYEXCH_GET_CTX_PARAMS, keyexch_get_ctx_params, keyexch::get_ctx_params),
    HWID_OP(KEYEXCH_GETTABLE_CTX_PARAMS, keyexch_gettable_ctx_params, keyexch::gettable_ctx_params),
    HWID_OP(KEYEXCH_SET_CTX_PARAMS, keyexch_set_ctx_params, keyexch::set_ctx_params),
    HWID_OP(KEYEXCH_SETTABLE_CTX_PARAMS, keyexch_settable_ctx_params, keyexch::settable_ctx_params),
    kEnd};

const OSSL_DISPATCH kStore[] = {
    HWID_OP(STORE_OPEN, store_open, store::open),
    HWID_OP(STORE_SETTABLE_CTX_PARAMS, store_settable_ctx_params, store::settable_ctx_params),
    HWID_OP(STORE_SET_CTX_PARAMS, store_set_ctx_params, store::set_ctx_params),
    HWID_OP(STORE_LOAD, store_load, store::load),
    HWID_OP(STORE_EOF, store_eof, store::eof),
    HWID_OP(STORE_CLOSE, store_close, store::close),
    kEnd};

const OSSL_DISPATCH kRand[] = {
    HWID_OP(RAND_NEWCTX, rand_newctx, rand::newctx),
    HWID_OP(RAND_FREECTX, rand_freectx, rand::freectx),
    HWID_OP(RAND_INSTANTIATE, rand_instantiate, rand::instantiate),
    HWID_OP(RAND_UNINSTANTIATE, rand_uninstantiate, rand::uninstantiate),
    HWID_OP(RAND_GENERATE, rand_generate, rand::generate),
    HWID_OP(RAND_VERIFY_ZEROIZATION, rand_verify_zeroization, rand::verify_zeroization),
    HWID_OP(RAND_ENABLE_LOCKING, rand_enable_locking, rand::enable_locking),
    HWID_OP(RAND_LOCK, rand_lock, rand::lock),
    HWID_OP(RAND_UNLOCK, rand_unlock, rand::unlock),
    HWID_OP(RAND_GET_CTX_PARAMS, rand_get_ctx_params, rand::get_ctx_params),
    HWID_OP(RAND_GETTABLE_CTX_PARAMS, rand_gettable_ctx_params, rand::gettable_ctx_params),
    HWID_OP(RAND_GET_SEED, rand_get_seed, rand::get_seed),
    HWID_OP(RAND_CLEAR_SEED, rand_clear_seed, rand::clear_seed),
    kEnd};

template <digest::Kind K>
const OSSL_DISPATCH kDigest[] = {
    HWID_OP(DIGEST_NEWCTX, digest_newctx, digest::newctx<K>),
    HWID_OP(DIGEST_FREECTX, digest_freectx, digest::freectx),
    HWID_OP(DIGEST_DUPCTX, digest_dupctx, digest::dupctx),
    HWID_OP(DIGEST_INIT, digest_init, digest::init),
    HWID_OP(DIGEST_UPDATE, digest_update, digest::update),
    HWID_OP(DIGEST_FINAL, digest_final, digest::final),
    HWID_OP(DIGEST_GET_PARAMS, digest_get_params, digest::get_params<K>),
    HWID_OP(DIGEST_GETTABLE_PARAMS, digest_gettable_params, digest::gettable_params),
    kEnd};

const OSSL_DISPATCH kPemDecoder[] = {
    HWID_OP(DECODER_NEWCTX, decoder_newctx, decoder::newctx),
    HWID_OP(DECODER_FREECTX, decoder_freectx, decoder::freectx),
    HWID_OP(DECODER_SETTABLE_CTX_PARAMS, decoder_settable_ctx_params, decoder::settable_ctx_params),
    HWID_OP(DECODER_SET_CTX_PARAMS, decoder_set_ctx_params, decoder::set_ctx_params),
    HWID_OP(DECODER_DECODE, decoder_decode, decoder::decode_pem),
    kEnd};

template <Algorithm A>
const OSSL_DISPATCH kDerDecoder[] = {
    HWID_OP(DECODER_NEWCTX, decoder_newctx, decoder::newctx),
    HWID_OP(DECODER_FREECTX, decoder_freectx, decoder::freectx),
    HWID_OP(DECODER_SETTABLE_CTX_PARAMS, decoder_settable_ctx_params, decoder::settable_ctx_params),
    HWID_OP(DECODER_SET_CTX_PARAMS, decoder_set_ctx_params, decoder::set_ctx_params),
    HWID_OP(DECODER_DECODE, decoder_decode, decoder::decode_der<A>),
    kEnd};

template <Form F>
const OSSL_DISPATCH kEncoder[] = {
    HWID_OP(ENCODER_NEWCTX, encoder_newctx, encoder::newctx),
    HWID_OP(ENCODER_FREECTX, encoder_freectx, encoder::freectx),
    HWID_OP(ENCODER_SETTABLE_CTX_PARAMS, encoder_settable_ctx_params, encoder::settable_ctx_params),
    HWID_OP(ENCODER_SET_CTX_PARAMS, encoder_set_ctx_params, encoder::set_ctx_params),
    HWID_OP(ENCODER_DOES_SELECTION, encoder_does_selection, encoder::does_selection<F>),
    HWID_OP(ENCODER_ENCODE, encoder_encode, encoder::encode<F>),
    kEnd};

constexpr unsigned long kOpenssl34 = 0x30400000UL;

constexpr char kRsaNames[] = "RSA:rsaEncryption:1.2.840.113549.1.1.1";
constexpr char kRsaPssNames[] = "RSA-PSS:RSASSA-PSS:1.2.840.113549.1.1.10";
constexpr char kEcNames[] = "EC:id-ecPublicKey:1.2.840.10045.2.1";
constexpr char kEd25519Names[] = "ED25519:1.3.101.112";
constexpr char kEd448Names[] = "ED448:1.3.101.113";
constexpr char kX25519Names[] = "X25519:1.3.101.110";
constexpr char kX448Names[] = "X448:1.3.101.111";

const AlgorithmRow kKeymgmts[] = {
    {kRsaNames, nullptr, kKeymgmt<Algorithm::kRsa>, "RSA keys"},
    {kRsaPssNames, nullptr, kKeymgmt<Algorithm::kRsaPss>, "RSA-PSS keys"},
    {kEcNames, nullptr, kKeymgmt<Algorithm::kEc>, "EC keys"},
    {kEd25519Names, nullptr, kKeymgmt<Algorithm::kEd25519>, "Ed25519 keys"},
    {kEd448Names, nullptr, kKeymgmt<Algorithm::kEd448>, "Ed448 keys"},
    {kX25519Names, nullptr, kKeymgmt<Algorithm::kX25519>, "X25519 keys"},
    {kX448Names, nullptr, kKeymgmt<Algorithm::kX448>, "X448 keys"}};

// A row of an algorithm that OpenSSL has under a name of its own since 3.4.
constexpr AlgorithmRow with_digest(const char* names, const OSSL_DISPATCH* functions) {
  return {names, nullptr, functions, "signatures with a fixed digest", kOpenssl34};
}

const AlgorithmRow kSignatures[] = {
    {kRsaNames, nullptr, kRsaSignature, "RSA signatures"},
    {"ECDSA", nullptr, kEcdsa, "ECDSA signatures"},
    {keymgmt::kOwnSignature, nullptr, kOwnSignature, "signatures of this provider's keys"},
    {kEd25519Names, nullptr, kEddsaBefore34, "Ed25519 signatures", 0, kOpenssl34},
    {kEd448Names, nullptr, kEddsaBefore34, "Ed448 signatures", 0, kOpenssl34},
    {keymgmt::kOwnEddsa, nullptr, kEddsaBefore34, "EdDSA signatures of this provider's keys", 0,
     kOpenssl34},
    {kEd25519Names, nullptr, kEddsa<Algorithm::kEd25519>, "Ed25519 signatures", kOpenssl34},
    {kEd448Names, nullptr, kEddsa<Algorithm::kEd448>, "Ed448 signatures", kOpenssl34},
    {keymgmt::kOwnEddsa, nullptr, kEddsa<Algorithm::kEd25519, Algorithm::kEd448>,
     "EdDSA signatures of this provider's keys", kOpenssl34},
    with_digest("RSA-SHA1:RSA-SHA-1:sha1WithRSAEncryption:1.2.840.113549.1.1.5",
                kRsaWith<core::Digest::kSha1>),
    with_digest("RSA-SHA2-224:RSA-SHA224:sha224WithRSAEncryption:1.2.840.113549.1.1.14",
                kRsaWith<core::Digest::kSha224>),
    with_digest("RSA-SHA2-256:RSA-SHA256:sha256WithRSAEncryption:1.2.840.113549.1.1.11",
                kRsaWith<core::Digest::kSha256>),
    with_digest("RSA-SHA2-384:RSA-SHA384:sha384WithRSAEncryption:1.2.840.113549.1.1.12",
                kRsaWith<core::Digest::kSha384>),
    with_digest("RSA-SHA2-512:RSA-SHA512:sha512WithRSAEncryption:1.2.840.113549.1.1.13",
                kRsaWith<core::Digest::kSha512>),
    with_digest("RSA-SHA2-512/224:RSA-SHA512-224:sha512-224WithRSAEncryption:1.2.840.113549.1.1.15",
                kRsaWith<core::Digest::kSha512_224>),
    with_digest("RSA-SHA2-512/256:RSA-SHA512-256:sha512-256WithRSAEncryption:1.2.840.113549.1.1.16",
                kRsaWith<core::Digest::kSha512_256>),
    with_digest("RSA-SHA3-224:id-rsassa-pkcs1-v1_5-with-sha3-224:2.16.840.1.101.3.4.3.13",
                kRsaWith<core::Digest::kSha3_224>),
    with_digest("RSA-SHA3-256:id-rsassa-pkcs1-v1_5-with-sha3-256:2.16.840.1.101.3.4.3.14",
                kRsaWith<core::Digest::kSha3_256>),
    with_digest("RSA-SHA3-384:id-rsassa-pkcs1-v1_5-with-sha3-384:2.16.840.1.101.3.4.3.15",
                kRsaWith<core::Digest::kSha3_384>),
    with_digest("RSA-SHA3-512:id-rsassa-pkcs1-v1_5-with-sha3-512:2.16.840.1.101.3.4.3.16",
                kRsaWith<core::Digest::kSha3_512>),
    with_digest("ECDSA-SHA1:ECDSA-SHA-1:ecdsa-with-SHA1:1.2.840.10045.4.1",
                kEcdsaWith<core::Digest::kSha1>),
    with_digest("ECDSA-SHA2-224:ECDSA-SHA224:ecdsa-with-SHA224:1.2.840.10045.4.3.1",
                kEcdsaWith<core::Digest::kSha224>),
    with_digest("ECDSA-SHA2-256:ECDSA-SHA256:ecdsa-with-SHA256:1.2.840.10045.4.3.2",
                kEcdsaWith<core::Digest::kSha256>),
    with_digest("ECDSA-SHA2-384:ECDSA-SHA384:ecdsa-with-SHA384:1.2.840.10045.4.3.3",
                kEcdsaWith<core::Digest::kSha384>),
    with_digest("ECDSA-SHA2-512:ECDSA-SHA512:ecdsa-with-SHA512:1.2.840.10045.4.3.4",
                kEcdsaWith<core::Digest::kSha512>),
    with_digest("ECDSA-SHA3-224:ecdsa_with_SHA3-224:id-ecdsa-with-sha3-224:2.16.840.1.101.3.4.3.9",
                kEcdsaWith<core::Digest::kSha3_224>),
    with_digest("ECDSA-SHA3-256:ecdsa_with_SHA3-256:id-ecdsa-with-sha3-256:2.16.840.1.101.3.4.3.10",
                kEcdsaWith<core::Digest::kSha3_256>),
    with_digest("ECDSA-SHA3-384:ecdsa_with_SHA3-384:id-ecdsa-with-sha3-384:2.16.840.1.101.3.4.3.11",
                kEcdsaWith<core::Digest::kSha3_384>),
    with_digest("ECDSA-SHA3-512:ecdsa_with_SHA3-512:id-ecdsa-with-sha3-512:2.16.840.1.101.3.4.3.12",
                kEcdsaWith<core::Digest::kSha3_512>),
    {"ED25519ctx", nullptr, kEddsaInstance<Algorithm::kEd25519, signature::kEd25519ctx>,
     "Ed25519 signatures with a context", kOpenssl34},
    {"ED25519ph", nullptr, kEddsaInstance<Algorithm::kEd25519, signature::kEd25519ph>,
     "Ed25519 signatures of a digest", kOpenssl34},
    {"ED448ph", nullptr, kEddsaInstance<Algorithm::kEd448, signature::kEd448ph>,
     "Ed448 signatures of a digest", kOpenssl34}};

const AlgorithmRow kAsymCiphers[] = {{kRsaNames, nullptr, kAsymCipher, "RSA encryption"}};

const AlgorithmRow kKeyexchs[] = {{"ECDH", nullptr, kKeyexch, "ECDH"},
                                  {kX25519Names, nullptr, kKeyexch, "X25519"},
                                  {kX448Names, nullptr, kKeyexch, "X448"}};

const AlgorithmRow kStores[] = {{"pkcs11", nullptr, kStore, "objects on PKCS#11 tokens (RFC 7512)"},
                                {"tpm2", nullptr, kStore, "objects of a TPM"},
                                {"handle", nullptr, kStore, "objects of a TPM, by handle"},
                                {"object", nullptr, kStore, "keys of a TPM, by file"},
                                {"hwid", nullptr, kStore, "keys by logical name"}};

// Under the common name OpenSSL takes it for its own random numbers: the first row is left out
// unless that is wanted.
const AlgorithmRow kRands[] = {
    {kDefaultRandom, nullptr, kRand, "random numbers of a token"},
    {"HWID-RAND:PKCS11-RAND", nullptr, kRand, "random numbers of a token"}};

// Under libcrypto's own names, and only where no other provider hashes: keys in a TPM then work
// with
// `-provider tpm2 -provider base`, subjectKeyIdentifier = hash included.
const AlgorithmRow kDigests[] = {
    {"SHA1:SHA-1:SSL3-SHA1:1.3.14.3.2.26", nullptr, kDigest<EVP_sha1>, "libcrypto's SHA-1"},
    {"SHA2-224:SHA-224:SHA224:2.16.840.1.101.3.4.2.4", nullptr, kDigest<EVP_sha224>,
     "libcrypto's SHA-224"},
    {"SHA2-256:SHA-256:SHA256:2.16.840.1.101.3.4.2.1", nullptr, kDigest<EVP_sha256>,
     "libcrypto's SHA-256"},
    {"SHA2-384:SHA-384:SHA384:2.16.840.1.101.3.4.2.2", nullptr, kDigest<EVP_sha384>,
     "libcrypto's SHA-384"},
    {"SHA2-512:SHA-512:SHA512:2.16.840.1.101.3.4.2.3", nullptr, kDigest<EVP_sha512>,
     "libcrypto's SHA-512"},
    {"SHA3-224:2.16.840.1.101.3.4.2.7", nullptr, kDigest<EVP_sha3_224>, "libcrypto's SHA3-224"},
    {"SHA3-256:2.16.840.1.101.3.4.2.8", nullptr, kDigest<EVP_sha3_256>, "libcrypto's SHA3-256"},
    {"SHA3-384:2.16.840.1.101.3.4.2.9", nullptr, kDigest<EVP_sha3_384>, "libcrypto's SHA3-384"},
    {"SHA3-512:2.16.840.1.101.3.4.2.10", nullptr, kDigest<EVP_sha3_512>, "libcrypto's SHA3-512"}};

const AlgorithmRow kDecoders[] = {
    {"DER", "input=pem", kPemDecoder, "key reference and TSS2 files"},
    {kEcNames, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kEc>,
     "EC key, by reference or wrapped"},
    {kRsaNames, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kRsa>,
     "RSA key, by reference or wrapped"},
    {kRsaPssNames, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kRsaPss>,
     "RSA-PSS key, by reference or wrapped"},
    {kEd25519Names, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kEd25519>,
     "Ed25519 key, by reference"},
    {kEd448Names, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kEd448>,
     "Ed448 key, by reference"},
    {kX25519Names, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kX25519>,
     "X25519 key, by reference"},
    {kX448Names, "input=der,structure=hwid-key-reference", kDerDecoder<Algorithm::kX448>,
     "X448 key, by reference"}};

// clang-format off
#define HWID_ENCODERS(names)                                                                    \
  {names, "output=pem,structure=SubjectPublicKeyInfo", kEncoder<Form::kSpkiPem>,                \
   "public key, PEM"},                                                                          \
  {names, "output=der,structure=SubjectPublicKeyInfo", kEncoder<Form::kSpkiDer>,                \
   "public key, DER"},                                                                          \
  {names, "output=pem,structure=PrivateKeyInfo", kEncoder<Form::kPrivatePem>,                   \
   "key reference or wrapped key, PEM"},                                                        \
  {names, "output=der,structure=PrivateKeyInfo", kEncoder<Form::kPrivateDer>,                   \
   "wrapped key, DER"},                                                                         \
  {names, "output=text", kEncoder<Form::kText>, "text"}
// clang-format on

// OpenSSL takes the last row that fits where an application names no structure (`ecparam -genkey`).
const AlgorithmRow kEncoders[] = {HWID_ENCODERS(kRsaNames),
                                  {kRsaNames, "output=pem,structure=type-specific",
                                   kEncoder<Form::kTypePem>, "key reference or wrapped key, PEM"},
                                  HWID_ENCODERS(kRsaPssNames),
                                  {kEcNames, "output=der,structure=type-specific",
                                   kEncoder<Form::kEcDer>, "wrapped key, or parameters, DER"},
                                  HWID_ENCODERS(kEcNames),
                                  {kEcNames, "output=pem,structure=type-specific",
                                   kEncoder<Form::kEcPem>, "reference, wrapped key or parameters"},
                                  HWID_ENCODERS(kEd25519Names),
                                  HWID_ENCODERS(kEd448Names),
                                  HWID_ENCODERS(kX25519Names),
                                  HWID_ENCODERS(kX448Names)};
#undef HWID_ENCODERS

const OperationRows kOperations[] = {{OSSL_OP_KEYMGMT, kKeymgmts},
                                     {OSSL_OP_SIGNATURE, kSignatures},
                                     {OSSL_OP_ASYM_CIPHER, kAsymCiphers},
                                     {OSSL_OP_KEYEXCH, kKeyexchs},
                                     {OSSL_OP_STORE, kStores},
                                     {OSSL_OP_RAND, kRands},
                                     {OSSL_OP_DIGEST, kDigests},
                                     {OSSL_OP_DECODER, kDecoders},
                                     {OSSL_OP_ENCODER, kEncoders}};

}  // namespace

std::span<const OperationRows> operation_rows() noexcept { return kOperations; }
const OSSL_DISPATCH* provider_functions() noexcept { return kProvider; }

}  // namespace hwid::ossl
