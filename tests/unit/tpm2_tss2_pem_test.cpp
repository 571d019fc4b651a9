#include <doctest/doctest.h>

#include "provider/core/error.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/tss2_pem.h"
#include "tests/unit/tpm2_data.h"

using namespace hwid;
using core::Bytes;
using core::Error;
using core::Reason;
using test::tss2_key;
using tpm2::decode_tss2;
using tpm2::encode_tss2;
using tpm2::Tss2Key;

namespace {

std::string rejection(const Bytes& der) {
  try {
    (void)decode_tss2(der);
  } catch (const Error& error) {
    CHECK(error.reason == Reason::kBadReference);
    return error.what();
  }
  return "accepted";
}

std::string refusal(const std::string& file) {
  try {
    tpm2::require_usable(tss2_key(file));
  } catch (const Error& error) {
    CHECK(error.reason == Reason::kUnsupported);
    return error.what();
  }
  return "accepted";
}

bool says(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

Bytes private_bytes(const Tss2Key& key) {
  return {key.private_area.buffer, key.private_area.buffer + key.private_area.size};
}

void check_same_key(const Tss2Key& a, const Tss2Key& b) {
  CHECK(tpm2::marshal_public(a.public_area) == tpm2::marshal_public(b.public_area));
  CHECK(private_bytes(a) == private_bytes(b));
}

// The last occurrence of `from` in `der` becomes `to`, of the same length.
Bytes changed(Bytes der, const Bytes& from, const Bytes& to) {
  const auto at = std::find_end(der.begin(), der.end(), from.begin(), from.end());
  REQUIRE(at != der.end());
  std::copy(to.begin(), to.end(), at);
  return der;
}

}  // namespace

TEST_CASE("tss2: what each program writes is read") {
  const Tss2Key tools = tss2_key("tpm2-tools-ec.pem");
  CHECK(tools.kind == Tss2Key::Kind::kLoadable);
  CHECK(tools.parent == 0x81000001);
  CHECK_FALSE(tools.empty_auth);
  CHECK(tools.public_area.publicArea.type == TPM2_ALG_ECC);
  CHECK(tools.private_area.size > 0);
  CHECK(tss2_key("tpm2-tools-ec-auth.pem").empty_auth);  // upside down: see the README

  const Tss2Key rsa = tss2_key("tpm2-openssl-rsa.pem");
  CHECK(rsa.parent == TPM2_RH_OWNER);
  CHECK(rsa.empty_auth);
  CHECK(rsa.public_area.publicArea.type == TPM2_ALG_RSA);
  CHECK(tss2_key("tpm2-openssl-ec.pem").parent == 0x81000001);
  for (const char* const file :
       {"tpm2-tools-ec.pem", "tpm2-tools-rsa.pem", "tpm2-openssl-rsa.pem", "old.pem"})
    CHECK(refusal(file) == "accepted");
}

TEST_CASE("tss2: every writer's habits") {
  const Tss2Key wanted = tss2_key("tpm2-tools-ec.pem");
  CHECK(tss2_key("empty-auth-one.pem").empty_auth);
  CHECK_FALSE(tss2_key("empty-auth-false.pem").empty_auth);
  CHECK(tss2_key("parent-zero.pem").parent == TPM2_RH_OWNER);
  CHECK(tss2_key("parent-negative.pem").parent == 0x81000001);
  const Tss2Key old = tss2_key("old.pem");
  CHECK(old.kind == Tss2Key::Kind::kLoadable);
  CHECK(old.empty_auth);
  CHECK(old.parent == 0x81000001);
  const Tss2Key older = tss2_key("old-no-parent.pem");
  CHECK_FALSE(older.empty_auth);
  CHECK(older.parent == TPM2_RH_OWNER);
  for (const char* const file : {"empty-auth-one.pem", "empty-auth-false.pem", "parent-zero.pem",
                                 "parent-negative.pem", "old.pem", "old-no-parent.pem"})
    check_same_key(tss2_key(file), wanted);
}

TEST_CASE("tss2: all fields are read, and written again") {
  const Tss2Key key = tss2_key("all-fields.pem");
  CHECK(key.empty_auth);
  REQUIRE(key.policy.size() == 2);
  CHECK(key.policy[0].command == TPM2_CC_PolicyPCR);
  CHECK(key.policy[0].parameters.size() == 44);
  CHECK(key.policy[1].command == TPM2_CC_PolicyAuthValue);
  CHECK(key.policy[1].parameters.empty());
  CHECK(std::string(key.secret.begin(), key.secret.end()) == "secret of an importable key");
  REQUIRE(key.auth_policy.size() == 2);
  CHECK(key.auth_policy[0].name == "boot");
  CHECK(key.auth_policy[0].statements == std::vector{key.policy[0]});
  CHECK(key.auth_policy[1].name.empty());
  CHECK(key.auth_policy[1].statements == std::vector{key.policy[1]});
  CHECK(key.description == "Ger\xc3\xa4t 7");
  CHECK(key.rsa_parent);
  CHECK(key.parent_name.size() == 34);
  CHECK(key.parent == 0x81000001);

  const Bytes der = encode_tss2(key);
  const Tss2Key again = decode_tss2(der);
  CHECK(again.policy == key.policy);
  CHECK(again.auth_policy == key.auth_policy);
  CHECK(again.secret == key.secret);
  CHECK(again.description == key.description);
  CHECK(again.rsa_parent);
  CHECK(again.parent_name == key.parent_name);
  check_same_key(again, key);
  CHECK(encode_tss2(again) == der);
}

TEST_CASE("tss2: what is written is the draft's form") {
  Tss2Key key = tss2_key("tpm2-tools-ec.pem");
  const Bytes loadable = {0x06, 0x06, 0x67, 0x81, 0x05, 0x0a, 0x01, 0x03};
  key.empty_auth = true;
  key.parent = 0x81000001;
  Bytes head = loadable;
  head.insert(head.end(), {0xa0, 0x03, 0x01, 0x01, 0xff, 0x02, 0x05, 0x00, 0x81, 0, 0, 1, 0x04});
  Bytes der = encode_tss2(key);
  CHECK(std::equal(head.begin(), head.end(), der.begin() + 3));
  CHECK(der[0] == 0x30);
  CHECK(der[1] == 0x81);
  key.empty_auth = false;
  key.parent = TPM2_RH_OWNER;
  head = loadable;
  head.insert(head.end(), {0xa0, 0x03, 0x01, 0x01, 0x00, 0x02, 0x04, 0x40, 0, 0, 1, 0x04});
  der = encode_tss2(key);
  CHECK(std::equal(head.begin(), head.end(), der.begin() + 3));
  key.kind = Tss2Key::Kind::kImportable;
  CHECK(decode_tss2(encode_tss2(key)).kind == Tss2Key::Kind::kImportable);
  CHECK(encode_tss2(tss2_key("tpm2-openssl-rsa.pem"))[1] == 0x82);
}

TEST_CASE("tss2: what cannot be used is refused with a way out, and kept") {
  CHECK(says(refusal("sealed.pem"), "TSS2 PRIVATE KEY: it is sealed data"));
  CHECK(says(refusal("sealed.pem"), "tpm2_unseal"));
  CHECK(says(refusal("importable.pem"), "fixedTPM"));  // so no TPM lets it out, or in
  Tss2Key importable = tss2_key("importable.pem");
  TPMA_OBJECT& attributes = importable.public_area.publicArea.objectAttributes;
  attributes &= ~(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT);
  CHECK_NOTHROW(tpm2::require_usable(importable));
  attributes |= TPMA_OBJECT_ENCRYPTEDDUPLICATION;
  CHECK_THROWS_WITH_AS(tpm2::require_usable(importable), doctest::Contains("inner wrapper"), Error);
  CHECK_THROWS_WITH_AS(tpm2::seed_of(importable), doctest::Contains("secret: it is no TPM2B"),
                       Error);
  importable.secret = {0, 2, 7, 8};
  CHECK(tpm2::seed_of(importable).size == 2);
  CHECK(tss2_key("importable.pem").secret.size() == 6);
  CHECK(refusal("policy.pem") == "accepted");
  CHECK(tss2_key("policy.pem").policy.size() == 1);
  CHECK(refusal("all-fields.pem") == "accepted");
}

TEST_CASE("tss2: a damaged file is an error that names the field") {
  const Bytes good = encode_tss2(tss2_key("all-fields.pem"));
  Bytes longer = good;
  longer.push_back(0);
  CHECK(says(rejection(longer), "TSS2 PRIVATE KEY: SEQUENCE: bytes follow its end"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    CHECK(rejection(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))) !=
          "accepted");
  }
  CHECK(says(rejection(Bytes(20000, 0x30)), "16 KiB"));
  CHECK(says(rejection({0x30, 0x84, 0xff, 0xff, 0xff, 0xff}), "SEQUENCE"));
  CHECK(says(rejection({0x30, 0x80, 0x00, 0x00}), "SEQUENCE"));
  CHECK(says(rejection({0x30, 0x00}), "type: it is missing"));

  const Bytes plain = encode_tss2(tss2_key("tpm2-openssl-ec.pem"));
  const Bytes parent = {0x02, 0x05, 0x00, 0x81, 0x00, 0x00, 0x01};
  CHECK(says(rejection(changed(plain, parent, {0x02, 0x05, 0x00, 0x80, 0x00, 0x00, 0x01})),
             "parent: it is neither a hierarchy nor"));
  CHECK(says(rejection(changed(plain, parent, {0x02, 0x05, 0x01, 0x81, 0x00, 0x00, 0x01})),
             "parent: it is no number of 32 bits"));
  CHECK(says(rejection(changed(plain, parent, {0x02, 0x05, 0xff, 0x40, 0x00, 0x00, 0x01})),
             "parent: it is no number of 32 bits"));
  CHECK(says(rejection(changed(plain, parent, {0x04, 0x05, 0x00, 0x81, 0x00, 0x00, 0x01})),
             "parent: it is not what the format has"));
  CHECK(says(rejection(changed(plain, {0x0a, 0x01, 0x03}, {0x0a, 0x01, 0x07})),
             "type: 0x6781050a0107"));
  CHECK(says(rejection(changed(plain, {0xa0, 0x03, 0x01, 0x01, 0xff}, {0xa0, 3, 0x02, 1, 0xff})),
             "emptyAuth"));
  // The size fields inside: of TPM2B_PUBLIC, and of TPM2B_PRIVATE.
  CHECK(says(rejection(changed(plain, {0x04, 0x58, 0x00, 0x56}, {0x04, 0x58, 0x00, 0x55})),
             "pubkey: it is no TPM2B_PUBLIC"));
  CHECK(says(rejection(changed(plain, {0x04, 0x81, 0x80, 0x00, 0x7e}, {4, 0x81, 0x80, 0, 0x7d})),
             "privkey: it is no TPM2B_PRIVATE"));
  CHECK(says(rejection(changed(plain, {0x04, 0x81, 0x80, 0x00, 0x7e}, {4, 0x81, 0x80, 9, 0x7e})),
             "privkey: it is no TPM2B_PRIVATE"));
}
