#include "tools/hwid/x509/extensions.h"

#include <array>
#include <initializer_list>

#include "tools/attest/certificates.h"
#include "tools/hwid/command.h"
#include "tools/hwid/crypto_error.h"

namespace hwid::tool::x509 {
namespace {

using BitString = std::unique_ptr<ASN1_BIT_STRING, core::FreeWith<ASN1_BIT_STRING_free>>;
using Purposes = std::unique_ptr<EXTENDED_KEY_USAGE, core::FreeWith<EXTENDED_KEY_USAGE_free>>;
using Constraints = std::unique_ptr<BASIC_CONSTRAINTS, core::FreeWith<BASIC_CONSTRAINTS_free>>;
using AuthorityKeyId = std::unique_ptr<AUTHORITY_KEYID, core::FreeWith<AUTHORITY_KEYID_free>>;

constexpr char kNext[] = "this is no fault of yours; try a smaller request";

// Bit numbers of RFC 5280, section 4.2.1.3.
enum KeyUsageBit { kDigitalSignature = 0, kKeyEncipherment = 2, kKeyCertSign = 5, kCrlSign = 6 };

BitString bits(std::initializer_list<KeyUsageBit> wanted) {
  BitString usage = made(BitString(ASN1_BIT_STRING_new()));
  for (const KeyUsageBit bit : wanted) {
    if (ASN1_BIT_STRING_set_bit(usage.get(), bit, 1) != 1) throw std::bad_alloc();
  }
  return usage;
}

OctetString made_key_id(const X509* certificate, OSSL_LIB_CTX* crypto) {
  const ASN1_BIT_STRING* const bits = X509_get0_pubkey_bitstr(certificate);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  std::size_t size = 0;
  if (bits == nullptr ||
      EVP_Q_digest(crypto, "SHA256", nullptr, ASN1_STRING_get0_data(bits),
                   static_cast<std::size_t>(ASN1_STRING_length(bits)), digest.data(), &size) != 1)
    throw_crypto_error("EVP_Q_digest: SHA256", "activate the default provider in openssl.cnf");
  OctetString id = made(OctetString(ASN1_OCTET_STRING_new()));
  if (ASN1_OCTET_STRING_set(id.get(), digest.data(), 20) != 1) throw std::bad_alloc();
  return id;
}

}  // namespace

Usage parse_usage(const std::string& option, const std::string& text) {
  if (text == "client") return Usage::kClient;
  if (text == "server") return Usage::kServer;
  if (text == "both") return Usage::kBoth;
  throw UsageError("--" + option + ": \"" + text + "\" is none of client, server, both");
}

const char* usage_text(Usage usage) noexcept {
  switch (usage) {
    case Usage::kClient:
      return "client";
    case Usage::kServer:
      return "server";
    case Usage::kBoth:
      return "both";
  }
  return "";
}

Extensions::~Extensions() { sk_X509_EXTENSION_pop_free(list_, X509_EXTENSION_free); }

void Extensions::add(int nid, void* value, bool critical) {
  if (X509V3_add1_i2d(&list_, nid, value, critical ? 1 : 0, X509V3_ADD_DEFAULT) != 1)
    throw_crypto_error(std::string("X509V3_add1_i2d: ") + OBJ_nid2sn(nid), kNext);
}

void Extensions::add_ca() {
  const Constraints constraints = made(Constraints(BASIC_CONSTRAINTS_new()));
  constraints->ca = 0xff;
  constraints->pathlen = made(ASN1_INTEGER_new());
  if (ASN1_INTEGER_set(constraints->pathlen, 0) != 1) throw std::bad_alloc();
  add(NID_basic_constraints, constraints.get(), true);
  add(NID_key_usage, bits({kKeyCertSign, kCrlSign}).get(), true);
}

void Extensions::add_end_entity() {
  const Constraints constraints = made(Constraints(BASIC_CONSTRAINTS_new()));
  add(NID_basic_constraints, constraints.get(), true);
}

void Extensions::add_usage(EVP_PKEY* key, Usage usage) {
  const bool transport = EVP_PKEY_is_a(key, "RSA") == 1 && usage != Usage::kClient;
  const BitString key_usage =
      transport ? bits({kDigitalSignature, kKeyEncipherment}) : bits({kDigitalSignature});
  add(NID_key_usage, key_usage.get(), true);
  const Purposes purposes = made(Purposes(EXTENDED_KEY_USAGE_new()));
  const auto allow = [&](int nid) {  // the table's own objects: freeing them does nothing
    if (sk_ASN1_OBJECT_push(purposes.get(), OBJ_nid2obj(nid)) <= 0) throw std::bad_alloc();
  };
  if (usage != Usage::kClient) allow(NID_server_auth);
  if (usage != Usage::kServer) allow(NID_client_auth);
  add(NID_ext_key_usage, purposes.get(), false);
}

void Extensions::add_attestation_usage() {
  add(NID_key_usage, bits({kDigitalSignature}).get(), true);
  const Purposes purposes = made(Purposes(EXTENDED_KEY_USAGE_new()));
  ASN1_OBJECT* const purpose = made(OBJ_txt2obj(attest::kAkPurpose, 1));
  if (sk_ASN1_OBJECT_push(purposes.get(), purpose) <= 0) {
    ASN1_OBJECT_free(purpose);
    throw std::bad_alloc();
  }
  add(NID_ext_key_usage, purposes.get(), true);
}

void Extensions::add_other(const char* oid, const std::string& value) {
  using Object = std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>>;
  using Extension = std::unique_ptr<X509_EXTENSION, core::FreeWith<X509_EXTENSION_free>>;
  const Object object = made(Object(OBJ_txt2obj(oid, 1)));
  const OctetString bytes = made(OctetString(ASN1_OCTET_STRING_new()));
  if (ASN1_OCTET_STRING_set(bytes.get(), reinterpret_cast<const unsigned char*>(value.data()),
                            static_cast<int>(value.size())) != 1)
    throw std::bad_alloc();
  const Extension extension =
      made(Extension(X509_EXTENSION_create_by_OBJ(nullptr, object.get(), 0, bytes.get())));
  if (X509v3_add_ext(&list_, extension.get(), -1) == nullptr)
    throw_crypto_error(std::string("X509v3_add_ext: ") + oid, kNext);
}

void Extensions::add_alt_names(const GENERAL_NAMES* names, bool critical) {
  if (names != nullptr) add(NID_subject_alt_name, const_cast<GENERAL_NAMES*>(names), critical);
}

void Extensions::add_subject_key_id(const X509* certificate, OSSL_LIB_CTX* crypto) {
  add(NID_subject_key_identifier, made_key_id(certificate, crypto).get(), false);
}

void Extensions::add_authority_key_id(const ASN1_OCTET_STRING* issuers_key_id) {
  const AuthorityKeyId id = made(AuthorityKeyId(AUTHORITY_KEYID_new()));
  id->keyid = made(ASN1_OCTET_STRING_dup(issuers_key_id));
  add(NID_authority_key_identifier, id.get(), false);
}

void Extensions::add_crl_number(ASN1_INTEGER* number) { add(NID_crl_number, number, false); }

void Extensions::add_copy(const X509_EXTENSION* extension) {
  if (X509v3_add_ext(&list_, const_cast<X509_EXTENSION*>(extension), -1) == nullptr)
    throw_crypto_error("X509v3_add_ext", kNext);
}

std::string Extensions::value_of(int nid) const {
  const int at = X509v3_get_ext_by_NID(list_, nid, -1);
  if (at < 0) return {};
  const ASN1_OCTET_STRING* const value = X509_EXTENSION_get_data(X509v3_get_ext(list_, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
          static_cast<std::size_t>(ASN1_STRING_length(value))};
}

void Extensions::copy_into(X509_REQ* request) const {
  if (!empty() && X509_REQ_add_extensions(request, list_) != 1)
    throw_crypto_error("X509_REQ_add_extensions", kNext);
}

void Extensions::copy_into(X509* certificate) const {
  for (int index = 0; index < sk_X509_EXTENSION_num(list_); ++index) {
    if (X509_add_ext(certificate, sk_X509_EXTENSION_value(list_, index), -1) != 1)
      throw_crypto_error("X509_add_ext", kNext);
  }
}

void Extensions::copy_into(X509_CRL* crl) const {
  for (int index = 0; index < sk_X509_EXTENSION_num(list_); ++index) {
    if (X509_CRL_add_ext(crl, sk_X509_EXTENSION_value(list_, index), -1) != 1)
      throw_crypto_error("X509_CRL_add_ext", kNext);
  }
}

OctetString key_id(const X509* certificate, OSSL_LIB_CTX* crypto) {
  // (OpenSSL caches extensions in the object, so the function wants it without const.)
  const ASN1_OCTET_STRING* const there = X509_get0_subject_key_id(const_cast<X509*>(certificate));
  if (there == nullptr) return made_key_id(certificate, crypto);
  return made(OctetString(ASN1_OCTET_STRING_dup(there)));
}

}  // namespace hwid::tool::x509
