// RSA decryption and key agreement by a TPM.
#include "tests/fixture/operations.h"
#include "tests/fixture/pki.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;

namespace {

constexpr const char* kDecrypt =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|decrypt";
const std::string kMessage = "a message of thirty-two bytes...";

// Without a scheme: what every padding is taken off of.
const EvpPkey& rsa() {
  static const EvpPkey made = key(by_handle(world().add_key("rsa2048")));
  return made;
}

std::string opened(const EvpPkey& key, const Padding& padding, const std::string& ciphertext) {
  return decrypted(context().get(), key.get(), padding, ciphertext);
}

void check_refused(const std::string& text) {
  const std::string errors = openssl_errors();
  CHECK_MESSAGE(contains(errors, text), errors);
}

}  // namespace

TEST_CASE("tpm provider: decrypts what was encrypted with the public half, in every padding") {
  const EvpPkey judge = software_public(rsa().get());
  for (const Padding& padding :
       {Padding{}, Padding{RSA_PKCS1_OAEP_PADDING}, Padding{RSA_PKCS1_OAEP_PADDING, "SHA256"},
        Padding{RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA1"},
        Padding{RSA_PKCS1_OAEP_PADDING, "SHA256", nullptr, "a label"},
        Padding{RSA_PKCS1_OAEP_PADDING, "SHA3-256"}}) {
    CAPTURE(padding.mode);
    CAPTURE(std::string(padding.digest == nullptr ? "" : padding.digest));
    CHECK(opened(rsa(), padding, encrypted(judge.get(), padding, kMessage)) == kMessage);
    CHECK(opened(rsa(), padding, encrypted(judge.get(), padding, "")).empty());
  }
}

TEST_CASE("tpm provider: a damaged PKCS#1 ciphertext gives a message, always the same") {
  const EvpPkey judge = software_public(rsa().get());
  const LibraryContext other(world().conf());
  std::string block(256, '\x5a');  // no 00 02
  block[0] = 0;
  const std::string ciphertext = encrypted(judge.get(), {RSA_NO_PADDING}, block);
  (void)openssl_errors();
  const std::string message = opened(rsa(), {}, ciphertext);
  CHECK(message != "(failed)");
  CHECK(openssl_errors().empty());
  CHECK(opened(rsa(), {}, ciphertext) == message);
  std::string damaged = encrypted(judge.get(), {}, kMessage);
  damaged[200] = static_cast<char>(damaged[200] ^ 1);
  const std::string made = opened(rsa(), {}, damaged);
  CHECK(made != "(failed)");
  CHECK(made != kMessage);
  CHECK(opened(rsa(), {}, damaged) == made);
}

TEST_CASE("tpm provider: a damaged OAEP ciphertext, or one for another label, is an error") {
  const EvpPkey judge = software_public(rsa().get());
  const Padding right{RSA_PKCS1_OAEP_PADDING, "SHA256", nullptr, "right"};
  std::string ciphertext = encrypted(judge.get(), right, kMessage);
  (void)openssl_errors();
  CHECK(opened(rsa(), {RSA_PKCS1_OAEP_PADDING, "SHA256", nullptr, "wrong"}, ciphertext) ==
        "(failed)");
  check_refused("the ciphertext is damaged");
  ciphertext[100] = static_cast<char>(ciphertext[100] ^ 1);
  CHECK(opened(rsa(), right, ciphertext) == "(failed)");
  check_refused("the ciphertext is damaged");
  CHECK(opened(rsa(), right, std::string(256, '\xff')) == "(failed)");  // larger than the modulus
  check_refused("the ciphertext is damaged");
}

TEST_CASE("tpm provider: keys with a decryption scheme use it, and no other") {
  const EvpPkey oaep = key(by_handle(world().add_key("rsa2048:oaep-sha256:null", kDecrypt)));
  const EvpPkey pkcs1 = key(by_handle(world().add_key("rsa2048:rsaes:null", kDecrypt)));
  const EvpPkey oaep_judge = software_public(oaep.get());
  const EvpPkey pkcs1_judge = software_public(pkcs1.get());
  const Padding sha256{RSA_PKCS1_OAEP_PADDING, "SHA256"};
  CHECK(opened(oaep, sha256, encrypted(oaep_judge.get(), sha256, kMessage)) == kMessage);
  CHECK(opened(pkcs1, {}, encrypted(pkcs1_judge.get(), {}, kMessage)) == kMessage);
  (void)openssl_errors();
  CHECK(opened(oaep, {}, encrypted(oaep_judge.get(), {}, kMessage)) == "(failed)");
  check_refused("the key was made for TPM2_ALG_OAEP only");
  CHECK(opened(pkcs1, sha256, encrypted(pkcs1_judge.get(), sha256, kMessage)) == "(failed)");
  check_refused("the key was made for TPM2_ALG_RSAES only");
  std::string damaged = encrypted(oaep_judge.get(), sha256, kMessage);
  damaged[100] = static_cast<char>(damaged[100] ^ 1);
  CHECK(opened(oaep, sha256, damaged) == "(failed)");
  check_refused("the ciphertext is damaged");
}

TEST_CASE("tpm provider: who may only sign decrypts nothing") {
  const std::string sign_only = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
  const EvpPkey key = provider::key(by_handle(world().add_key("rsa2048", sign_only)));
  const EvpPkey judge = software_public(key.get());
  CHECK(opened(key, {}, encrypted(judge.get(), {}, kMessage)) == "(failed)");
  check_refused("the key has no decrypt attribute; use a key that may decrypt");
}

TEST_CASE("tpm provider: key agreement gives what the software peer has") {
  for (const auto& [algorithm, group] :
       {std::pair{"ecc256", "P-256"}, {"ecc384", "P-384"}, {"ecc521", "P-521"}}) {
    const auto& which = group;
    CAPTURE(std::string(which));
    const EvpPkey own = key(by_handle(world().add_key(algorithm)));
    const EvpPkey own_public = software_public(own.get());
    for (int round = 0; round < 3; ++round) {
      const EvpPkey peer = new_software_key(std::string("ec:") + group);
      const EvpPkey peer_public = software_public(peer.get());
      CHECK(derived(context().get(), own.get(), peer_public.get()) ==
            derived(nullptr, peer.get(), own_public.get()));
    }
  }
  const EvpPkey own = key(by_handle(world().add_key("ecc256")));
  const EvpPkey other_curve = new_software_key("ec:P-384");
  CHECK(derived(context().get(), own.get(), other_curve.get()) == "(failed)");
}

TEST_CASE("tpm provider: key agreement and decryption by keys that are loaded from files") {
  const EvpPkey own = key(world().add_file({"ecc256", kDecrypt, {}, kParent, {}}));
  const EvpPkey own_public = software_public(own.get());
  const EvpPkey peer = new_software_key("ec:P-256");
  CHECK(derived(context().get(), own.get(), peer.get()) ==
        derived(nullptr, peer.get(), own_public.get()));
  const EvpPkey file = key(world().add_file({"rsa2048", kDecrypt, {}, kParent, {}}));
  const EvpPkey judge = software_public(file.get());
  CHECK(opened(file, {}, encrypted(judge.get(), {}, kMessage)) == kMessage);
}
