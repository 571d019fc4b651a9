// Attempts on a token that keeps nothing, and on bytes that may be a key.
#include "tools/prove_key_stays/extraction.h"

#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "tools/prove_key_stays/private_value.h"

namespace {

using namespace hwid;
using prove::Attempt;
using prove::Outcome;

// A key whose attributes can be changed, and copies of it. What it does is up to the test.
struct Token {
  CK_FUNCTION_LIST list{};
  std::map<CK_OBJECT_HANDLE, std::map<CK_ATTRIBUTE_TYPE, CK_BBOOL>> objects{
      {1, {{CKA_SENSITIVE, CK_TRUE}, {CKA_EXTRACTABLE, CK_FALSE}}}};
  std::set<CK_OBJECT_HANDLE> copies;
  bool offers_wrapping = true;
  bool wraps_extractable = true;
  CK_RV wrap_refusal = CKR_KEY_UNEXTRACTABLE;
  CK_RV set_answer = CKR_OK;
  CK_RV restore_answer = CKR_OK;
  int reads_before_removal = -1;  // of flags; -1: it stays

  bool is_weak(CK_OBJECT_HANDLE object) const {
    return objects.at(object).at(CKA_EXTRACTABLE) != CK_FALSE;
  }
};
Token* token = nullptr;  // that the functions below are of

CK_RV get(CK_SESSION_HANDLE, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* wanted, CK_ULONG) {
  if (wanted->type == CKA_KEY_TYPE) {
    const CK_KEY_TYPE type = CKK_EC;
    std::memcpy(wanted->pValue, &type, sizeof type);
    return CKR_OK;
  }
  const auto& attributes = token->objects.at(object);
  if (wanted->type == CKA_VALUE) {
    const bool is_open = attributes.at(CKA_SENSITIVE) == CK_FALSE && token->is_weak(object);
    if (!is_open) return CKR_ATTRIBUTE_SENSITIVE;
    std::memset(wanted->pValue, 7, 32);
    wanted->ulValueLen = 32;
    return CKR_OK;
  }
  if (token->reads_before_removal == 0) return CKR_DEVICE_REMOVED;
  if (token->reads_before_removal > 0) --token->reads_before_removal;
  std::memcpy(wanted->pValue, &attributes.at(wanted->type), sizeof(CK_BBOOL));
  return CKR_OK;
}

CK_RV set(CK_SESSION_HANDLE, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* wanted, CK_ULONG) {
  CK_BBOOL value = CK_FALSE;
  std::memcpy(&value, wanted->pValue, sizeof value);
  const bool is_back = value == (wanted->type == CKA_SENSITIVE ? CK_TRUE : CK_FALSE);
  const CK_RV rv = is_back ? token->restore_answer : token->set_answer;
  if (rv == CKR_OK) token->objects.at(object)[wanted->type] = value;
  return rv;
}

CK_RV copy(CK_SESSION_HANDLE, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* wanted, CK_ULONG count,
           CK_OBJECT_HANDLE* made) {
  *made = 100 + token->copies.size();
  token->copies.insert(*made);
  token->objects[*made] = token->objects.at(object);
  for (CK_ULONG i = 0; i < count; ++i)
    std::memcpy(&token->objects[*made][wanted[i].type], wanted[i].pValue, sizeof(CK_BBOOL));
  return CKR_OK;
}

CK_RV destroy(CK_SESSION_HANDLE, CK_OBJECT_HANDLE object) {
  token->copies.erase(object);
  return CKR_OK;
}

CK_RV mechanisms(CK_SLOT_ID, CK_MECHANISM_TYPE* types, CK_ULONG* count) {
  if (types != nullptr && token->offers_wrapping) types[0] = CKM_AES_KEY_WRAP_PAD;
  *count = token->offers_wrapping ? 1 : 0;
  return CKR_OK;
}

CK_RV mechanism_info(CK_SLOT_ID, CK_MECHANISM_TYPE, CK_MECHANISM_INFO* info) {
  info->flags = CKF_WRAP;
  return CKR_OK;
}

CK_RV generate_key(CK_SESSION_HANDLE, CK_MECHANISM*, CK_ATTRIBUTE*, CK_ULONG,
                   CK_OBJECT_HANDLE* made) {
  *made = 1000 + token->copies.size();
  token->copies.insert(*made);
  return CKR_OK;
}

CK_RV wrap(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE object, CK_BYTE* to,
           CK_ULONG* size) {
  if (!token->wraps_extractable || !token->is_weak(object)) return token->wrap_refusal;
  std::memset(to, 9, 48);
  *size = 48;
  return CKR_OK;
}

class Attempts {
 public:
  explicit Attempts(Token& of) {
    token = &of;
    of.list.C_GetAttributeValue = get;
    of.list.C_SetAttributeValue = set;
    of.list.C_CopyObject = copy;
    of.list.C_DestroyObject = destroy;
    of.list.C_GetMechanismList = mechanisms;
    of.list.C_GetMechanismInfo = mechanism_info;
    of.list.C_GenerateKey = generate_key;
    of.list.C_WrapKey = wrap;
  }
  void make() {
    all = prove::try_to_extract({&token->list, 1, 0, {"t", "k", ""}}, 1,
                                [](CK_ATTRIBUTE_TYPE, core::ByteView) { return false; });
  }
  const Attempt& at(const std::string& call) const {
    const auto found = std::ranges::find(all, call, &Attempt::call);
    REQUIRE(found != all.end());
    return *found;
  }

  std::vector<Attempt> all;
};

void check_as_before(const Token& of) {
  CHECK(of.copies.empty());
  CHECK(of.objects.at(1).at(CKA_SENSITIVE) == CK_TRUE);
  CHECK(of.objects.at(1).at(CKA_EXTRACTABLE) == CK_FALSE);
}

TEST_CASE("extraction: a key that lets itself be changed comes out, and is changed back") {
  Token open;
  Attempts attempts(open);
  attempts.make();
  CHECK(attempts.at("C_GetAttributeValue CKA_VALUE").outcome == Outcome::kRefused);
  CHECK(attempts.at("C_WrapKey CKM_AES_KEY_WRAP_PAD").outcome == Outcome::kRefused);
  const Attempt& changed = attempts.at("C_SetAttributeValue CKA_EXTRACTABLE=true");
  CHECK(changed.outcome == Outcome::kAllowed);
  CHECK(changed.bytes == 48);
  CHECK(attempts.at("C_SetAttributeValue CKA_SENSITIVE=false").outcome == Outcome::kAllowed);
  CHECK(attempts.at("C_CopyObject CKA_EXTRACTABLE=true").outcome == Outcome::kAllowed);
  CHECK(attempts.at("C_CopyObject CKA_EXTRACTABLE=true CKA_SENSITIVE=false").outcome ==
        Outcome::kAllowed);
  check_as_before(open);
}

TEST_CASE("extraction: a value that can only be read once all is changed is found") {
  Token open;
  open.offers_wrapping = false;
  Attempts attempts(open);
  attempts.make();
  CHECK(attempts.at("C_SetAttributeValue CKA_EXTRACTABLE=true").outcome == Outcome::kHollow);
  const Attempt& changed = attempts.at("C_SetAttributeValue CKA_SENSITIVE=false");
  CHECK(changed.outcome == Outcome::kAllowed);
  CHECK(changed.bytes == 32);
  CHECK(attempts.at("C_CopyObject CKA_EXTRACTABLE=true CKA_SENSITIVE=false").bytes == 32);
  check_as_before(open);
}

TEST_CASE("extraction: an extractable key that only failed to be wrapped may leave") {
  Token open;
  open.wraps_extractable = false;
  Attempts attempts(open);
  SUBCASE("the token refuses still") {
    attempts.make();
    CHECK(attempts.at("C_SetAttributeValue CKA_EXTRACTABLE=true").outcome == Outcome::kHollow);
  }
  SUBCASE("the token fails") {
    open.wrap_refusal = CKR_DEVICE_ERROR;
    attempts.make();
    CHECK(attempts.at("C_WrapKey CKM_AES_KEY_WRAP_PAD").outcome == Outcome::kUnclear);
    CHECK(attempts.at("C_SetAttributeValue CKA_EXTRACTABLE=true").outcome == Outcome::kAllowed);
  }
  check_as_before(open);
}

TEST_CASE("extraction: what cannot be changed back is said") {
  Token open;
  open.restore_answer = CKR_ATTRIBUTE_READ_ONLY;
  Attempts attempts(open);
  attempts.make();
  CHECK(attempts.at("C_SetAttributeValue CKA_EXTRACTABLE=true").remark ==
        "AND COULD NOT BE CHANGED BACK: CKR_ATTRIBUTE_READ_ONLY");
}

TEST_CASE("extraction: a token that goes away refuses nothing, and the key is changed back") {
  for (int reads = 0; reads < 12; ++reads) {
    INFO(reads);
    Token open;
    open.reads_before_removal = reads;
    Attempts attempts(open);
    CHECK_THROWS_AS(attempts.make(), pkcs11::TokenError);
    check_as_before(open);
  }
}

TEST_CASE("extraction: calls that a module has not are not made") {
  Token bare;
  Attempts attempts(bare);
  bare.list.C_SetAttributeValue = nullptr;
  bare.list.C_CopyObject = nullptr;
  bare.list.C_WrapKey = nullptr;
  attempts.make();
  for (const Attempt& attempt : attempts.all) {
    INFO(attempt.call);
    const bool is_kept =
        attempt.outcome == Outcome::kRefused || attempt.outcome == Outcome::kUnable;
    CHECK(is_kept);
  }
}

core::Bytes number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  REQUIRE(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  core::Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, bytes.data());
  BN_free(number);
  return bytes;
}

core::PublicKey public_half(const core::Libcrypto& crypto, EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  REQUIRE(size > 0);
  const core::Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return core::PublicKey::from_spki(crypto, bytes);
}

TEST_CASE("extraction: a private value is told from other bytes") {
  const core::Libcrypto crypto;
  const core::EvpPkey rsa(EVP_PKEY_Q_keygen(crypto.get(), nullptr, "RSA", std::size_t{2048}));
  const core::PublicKey rsa_public = public_half(crypto, rsa.get());
  const std::pair<CK_ATTRIBUTE_TYPE, const char*> numbers[] = {
      {CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D},
      {CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1},
      {CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2},
      {CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
      {CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2}};
  for (const auto& of : numbers) {
    INFO(of.second);
    core::Bytes value = number_of(rsa.get(), of.second);
    CHECK(prove::is_private_value(crypto, rsa_public, of.first, value));
    value.back() ^= 4;
    CHECK_FALSE(prove::is_private_value(crypto, rsa_public, of.first, value));
    CHECK_FALSE(prove::is_private_value(crypto, rsa_public, of.first, core::Bytes(500, 0x5a)));
    CHECK_FALSE(prove::is_private_value(crypto, rsa_public, of.first, core::Bytes(1, 1)));
  }
  for (const char* const group : {"P-256", "P-521"}) {
    INFO(group);
    const core::EvpPkey ec(EVP_PKEY_Q_keygen(crypto.get(), nullptr, "EC", group));
    const core::PublicKey ec_public = public_half(crypto, ec.get());
    core::Bytes value = number_of(ec.get(), OSSL_PKEY_PARAM_PRIV_KEY);
    CHECK(prove::is_private_value(crypto, ec_public, CKA_VALUE, value));
    value.front() ^= 1;
    CHECK_FALSE(prove::is_private_value(crypto, ec_public, CKA_VALUE, value));
  }
  for (const char* const name : {"ED25519", "X448"}) {
    INFO(name);
    const core::EvpPkey key(EVP_PKEY_Q_keygen(crypto.get(), nullptr, name));
    const core::PublicKey half = public_half(crypto, key.get());
    core::Bytes value(57);
    std::size_t size = value.size();
    REQUIRE(EVP_PKEY_get_raw_private_key(key.get(), value.data(), &size) == 1);
    value.resize(size);
    CHECK(prove::is_private_value(crypto, half, CKA_VALUE, value));
    value[5] ^= 1;
    CHECK_FALSE(prove::is_private_value(crypto, half, CKA_VALUE, value));
  }
}

}  // namespace
