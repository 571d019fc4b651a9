#include "provider/ossl/algorithm_id.h"

#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>
#include <new>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"

namespace hwid::ossl {
namespace {

using core::Digest;
using core::FreeWith;
using core::SignScheme;
using AlgorithmIdentifier = std::unique_ptr<X509_ALGOR, FreeWith<X509_ALGOR_free>>;
using PssParameters = std::unique_ptr<RSA_PSS_PARAMS, FreeWith<RSA_PSS_PARAMS_free>>;

template <typename T>
T* made(T* object) {
  if (object == nullptr) throw std::bad_alloc();
  return object;
}

void set_digest(X509_ALGOR* identifier, Digest digest) {
  X509_ALGOR_set0(identifier, OBJ_nid2obj(core::digest_nid(digest)), V_ASN1_NULL, nullptr);
}

// Replaces what `at` points to by `value` in DER form, as an ASN.1 SEQUENCE string.
template <typename T>
ASN1_STRING* packed(const T* value, int (*encode)(const T*, unsigned char**)) {
  unsigned char* der = nullptr;
  const int size = encode(value, &der);
  if (size <= 0) throw std::bad_alloc();
  ASN1_STRING* const string = made(ASN1_STRING_new());
  ASN1_STRING_set0(string, der, size);
  return string;
}

AlgorithmIdentifier pss_identifier(const SignScheme& scheme) {
  const PssParameters parameters(made(RSA_PSS_PARAMS_new()));
  // SHA-1, MGF1 with SHA-1 and a salt of 20 bytes are the DEFAULTs, which DER leaves out.
  if (scheme.digest != Digest::kSha1) {
    parameters->hashAlgorithm = made(X509_ALGOR_new());
    set_digest(parameters->hashAlgorithm, scheme.digest);
  }
  if (scheme.mgf1_digest != Digest::kSha1) {
    const AlgorithmIdentifier mgf1(made(X509_ALGOR_new()));
    set_digest(mgf1.get(), scheme.mgf1_digest);
    parameters->maskGenAlgorithm = made(X509_ALGOR_new());
    X509_ALGOR_set0(parameters->maskGenAlgorithm, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE,
                    packed(mgf1.get(), i2d_X509_ALGOR));
  }
  constexpr std::size_t kDefaultSalt = 20;
  if (scheme.salt_size != kDefaultSalt) {
    parameters->saltLength = made(ASN1_INTEGER_new());
    ASN1_INTEGER_set_uint64(parameters->saltLength, scheme.salt_size);
  }
  AlgorithmIdentifier identifier(made(X509_ALGOR_new()));
  X509_ALGOR_set0(identifier.get(), OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE,
                  packed(parameters.get(), i2d_RSA_PSS_PARAMS));
  return identifier;
}

AlgorithmIdentifier plain_identifier(const SignScheme& scheme) {
  const bool ec = scheme.kind == SignScheme::Kind::kEcdsa;
  int nid = NID_undef;
  const int key_type = ec ? NID_X9_62_id_ecPublicKey : NID_rsaEncryption;
  if (OBJ_find_sigid_by_algs(&nid, core::digest_nid(scheme.digest), key_type) != 1)
    throw core::Error(core::Reason::kUnsupported,
                      core::scheme_text(scheme) +
                          " has no algorithm identifier for certificates; use a SHA-2 digest");
  AlgorithmIdentifier identifier(made(X509_ALGOR_new()));
  // RFC 8017 wants NULL with RSA, RFC 5758 nothing with ECDSA.
  X509_ALGOR_set0(identifier.get(), OBJ_nid2obj(nid), ec ? V_ASN1_UNDEF : V_ASN1_NULL, nullptr);
  return identifier;
}

core::Bytes der_of(const AlgorithmIdentifier& identifier) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_ALGOR(identifier.get(), &der);
  if (size <= 0) throw std::bad_alloc();
  core::Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

core::Bytes algorithm_id(const SignScheme& scheme) {
  return der_of(scheme.kind == SignScheme::Kind::kRsaPss ? pss_identifier(scheme)
                                                         : plain_identifier(scheme));
}

core::Bytes algorithm_id(core::Algorithm edwards) {
  AlgorithmIdentifier identifier(made(X509_ALGOR_new()));
  X509_ALGOR_set0(identifier.get(), OBJ_nid2obj(OBJ_sn2nid(core::algorithm_name(edwards))),
                  V_ASN1_UNDEF, nullptr);
  return der_of(identifier);
}

}  // namespace hwid::ossl
