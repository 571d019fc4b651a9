#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include <string>
#include <vector>

#include "tests/fixture/operations.h"
#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::decrypted;
using hwid::test::encrypted;
using hwid::test::EvpPkey;
using hwid::test::EvpPkeyCtx;
using hwid::test::key;
using hwid::test::LibraryContext;
using hwid::test::openssl_errors;
using hwid::test::Padding;
using hwid::test::software_public;
using hwid::test::world;

namespace {

const std::string kMessage = "a message of thirty-two bytes...";

// The same length of 00 02 PS 00 M, with a byte changed.
std::string damaged_block(EVP_PKEY* judge, std::size_t at, char byte) {
  const auto size = static_cast<std::size_t>(EVP_PKEY_get_size(judge));
  std::string block(size, '\x5a');
  block[0] = 0;
  block[1] = 2;
  block[size - kMessage.size() - 1] = 0;
  block.replace(size - kMessage.size(), kMessage.size(), kMessage);
  block[at] = byte;
  return encrypted(judge, {RSA_NO_PADDING}, block);
}

}  // namespace

TEST_CASE("decrypt: what was encrypted with the public half, in every padding") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  std::vector<Padding> paddings = {{RSA_PKCS1_PADDING}, {RSA_PKCS1_OAEP_PADDING}};
  for (const char* const digest :
       {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3-256", "SHA512-256"}) {
    paddings.push_back({RSA_PKCS1_OAEP_PADDING, digest});
    paddings.push_back({RSA_PKCS1_OAEP_PADDING, digest, "SHA1", "a label"});
  }
  for (const Padding& padding : paddings) {
    CAPTURE(padding.mode);
    CAPTURE(std::string(padding.digest == nullptr ? "" : padding.digest));
    const std::string ciphertext = encrypted(judge.get(), padding, kMessage);
    CHECK(decrypted(context().get(), rsa.get(), padding, ciphertext) == kMessage);
    CHECK(decrypted(context().get(), rsa.get(), padding, encrypted(judge.get(), padding, ""))
              .empty());
  }
  // Encryption needs no token.
  world().module("reset-counts");
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(context().get(), rsa.get(), nullptr));
  unsigned char out[512] = {};
  std::size_t size = sizeof out;
  REQUIRE(EVP_PKEY_encrypt_init(ctx.get()) == 1);
  CHECK(EVP_PKEY_encrypt(ctx.get(), out, &size, out, 16) == 1);
  CHECK(world().module.total() == 0);
}

TEST_CASE("decrypt: a wrong label, digest or ciphertext is an error that says so") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  const Padding right{RSA_PKCS1_OAEP_PADDING, "SHA256", nullptr, "right"};
  const std::string ciphertext = encrypted(judge.get(), right, kMessage);
  openssl_errors();
  CHECK(decrypted(context().get(), rsa.get(), {RSA_PKCS1_OAEP_PADDING, "SHA256", nullptr, "wrong"},
                  ciphertext) == "(failed)");
  CHECK(openssl_errors().find("the ciphertext is damaged") != std::string::npos);
  CHECK(decrypted(context().get(), rsa.get(), {RSA_PKCS1_OAEP_PADDING, "SHA384", nullptr, "right"},
                  ciphertext) == "(failed)");
  // SoftHSM takes a label for none.
  CHECK(
      decrypted(context().get(), rsa.get(), {RSA_PKCS1_OAEP_PADDING, "SHA1", nullptr, "asked for"},
                encrypted(judge.get(), {RSA_PKCS1_OAEP_PADDING, "SHA1"}, kMessage)) == "(failed)");
  CHECK(decrypted(context().get(), rsa.get(), right, ciphertext + "x") == "(failed)");
  CHECK(openssl_errors().find("the ciphertext has 257 bytes, the key 256") != std::string::npos);
}

TEST_CASE("decrypt: a damaged PKCS#1 padding is not to be told from a good one") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  const LibraryContext other(world().conf());
  const EvpPkey again = other.private_key(world().token.uri("rsa"));
  const std::string whole = damaged_block(judge.get(), 1, 2);
  CHECK(decrypted(context().get(), rsa.get(), {}, whole) == kMessage);
  const std::string no_separator =
      encrypted(judge.get(), {RSA_NO_PADDING}, std::string("\0\2", 2) + std::string(254, 'x'));
  for (const std::string& ciphertext :
       {damaged_block(judge.get(), 1, 1), damaged_block(judge.get(), 5, 0), no_separator}) {
    openssl_errors();
    const std::string message = decrypted(context().get(), rsa.get(), {}, ciphertext);
    CHECK(message != "(failed)");
    CHECK(message != kMessage);
    CHECK(openssl_errors().empty());
    // Neither does asking twice, or a second process, tell.
    CHECK(decrypted(context().get(), rsa.get(), {}, ciphertext) == message);
    CHECK(decrypted(other.get(), again.get(), {}, ciphertext) == message);
  }
}

TEST_CASE("decrypt: a damaged PKCS#1 padding is an error for who asks for that") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  unsigned no = 0;  // as CMS does, which tries one recipient after the other
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_uint("implicit-rejection", &no),
                               OSSL_PARAM_construct_end()};
  CHECK(decrypted(context().get(), rsa.get(), {}, encrypted(judge.get(), {}, kMessage), params) ==
        kMessage);
  openssl_errors();
  CHECK(decrypted(context().get(), rsa.get(), {}, damaged_block(judge.get(), 5, 0), params) ==
        "(failed)");
  CHECK(openssl_errors().find("the ciphertext is damaged") != std::string::npos);
}

TEST_CASE("decrypt: leading zeros that a writer left out") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  std::string ciphertext = "x";
  while (ciphertext[0] != '\0') ciphertext = encrypted(judge.get(), {}, kMessage);
  CHECK(decrypted(context().get(), rsa.get(), {}, ciphertext.substr(1)) == kMessage);
}

TEST_CASE("decrypt: TLS's premaster secret, or a random one") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  const Padding tls{RSA_PKCS1_WITH_TLS_PADDING};
  unsigned version = 0x0303;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
      OSSL_PARAM_construct_end()};
  const auto opened = [&](const std::string& ciphertext) {
    return decrypted(context().get(), rsa.get(), tls, ciphertext, params);
  };
  const std::string premaster = "\3\3" + std::string(46, 'p');
  const std::string good = encrypted(judge.get(), {}, premaster);
  const std::string old_version = encrypted(judge.get(), {}, "\3\1" + std::string(46, 'p'));
  const std::string shorter = encrypted(judge.get(), {}, premaster.substr(0, 47));
  for (const char* const plan : {"clear", "hide-mechanism 0x3"}) {  // CKM_RSA_X_509
    CAPTURE(plan);
    world().module(plan);
    CHECK(opened(good) == premaster);
    for (const std::string& bad : {old_version, shorter, damaged_block(judge.get(), 1, 1)}) {
      const std::string made = opened(bad);
      CHECK(made.size() == 48);
      CHECK(made != opened(bad));
    }
  }
  world().module("clear");
}

TEST_CASE("decrypt: without the raw mechanism the token takes the padding off") {
  const EvpPkey rsa = key("rsa3072");
  const EvpPkey judge = software_public(rsa.get());
  const std::string ciphertext = encrypted(judge.get(), {}, kMessage);
  world().module("hide-mechanism 0x3");
  CHECK(decrypted(context().get(), rsa.get(), {}, ciphertext) == kMessage);
  world().module("hide-mechanism 0x1");  // CKM_RSA_PKCS as well
  openssl_errors();
  CHECK(decrypted(context().get(), rsa.get(), {}, ciphertext) == "(failed)");
  CHECK(openssl_errors().find("CKM_RSA_PKCS") != std::string::npos);
  world().module("clear");
}

TEST_CASE("decrypt: two calls, and it heals") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  const Padding oaep{RSA_PKCS1_OAEP_PADDING, "SHA1"};
  const std::string ciphertext = encrypted(judge.get(), oaep, kMessage);
  CHECK(decrypted(context().get(), rsa.get(), oaep, ciphertext) == kMessage);
  world().module("reset-counts");
  CHECK(decrypted(context().get(), rsa.get(), oaep, ciphertext) == kMessage);
  CHECK(world().module.total() == 2);
  for (const char* const event : {"drop-sessions", "log-out", "reinitialize"}) {
    CAPTURE(event);
    world().module(event);
    CHECK(decrypted(context().get(), rsa.get(), oaep, ciphertext) == kMessage);
  }
}
