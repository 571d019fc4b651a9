#include <doctest/doctest.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tests/fixture/command.h"
#include "tests/token/world.h"

using hwid::test::EvpPkey;
using hwid::test::LibraryContext;
using hwid::test::OpensslConf;
using hwid::test::Settings;
using hwid::test::world;

namespace {

// A backend that serves whatever token the module shows.
Settings without(const Settings& settings, const std::string& name) {
  Settings rest;
  std::copy_if(settings.begin(), settings.end(), std::back_inserter(rest),
               [&](const auto& setting) { return setting.first != name; });
  return rest;
}

Settings vague_backend() { return without(world().token.backend(world().module.path()), "token"); }

std::string failure(LibraryContext& context, const std::string& uri) {
  try {
    (void)context.private_key(uri);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "opened";
}

bool has(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_CASE("backends: a vague URI sends the PIN to no token that it does not name") {
  world().token.add_token("other");
  LibraryContext context(OpensslConf().backend("dev", vague_backend()));
  world().module.clear();
  CHECK(has(failure(context, "pkcs11:object=rsa;type=private"), "name it in the URI"));
  CHECK(world().module.count("C_Login") == 0);
  const EvpPkey named = context.private_key(world().token.uri("rsa"));
  CHECK(EVP_PKEY_get_bits(named.get()) == 2048);
  CHECK(world().module.count("C_Login") == 1);
}

TEST_CASE("backends: the token of a section is asked there, and the order decides else") {
  Settings missing = {{"type", "pkcs11"}, {"module", "/nonexistent/module.so"}};
  LibraryContext context(OpensslConf()
                             .backend("gone", missing)
                             .backend("dev", world().token.backend(world().module.path())));
  // Owned by "dev": the other backend is not touched, so its error does not matter.
  const EvpPkey owned = context.private_key(world().token.uri("rsa"));
  CHECK(EVP_PKEY_get_bits(owned.get()) == 2048);
  // Anybody's: the first backend cannot be used, the second has it.
  const EvpPkey found = context.private_key("pkcs11:object=ec384;type=private");
  CHECK(EVP_PKEY_get_bits(found.get()) == 384);
  CHECK(has(failure(context, "pkcs11:object=nobody;type=private"), "/nonexistent/module.so"));
}

TEST_CASE("backends: a name's own PIN comes before the configuration's") {
  Settings no_pin = without(world().token.backend(world().module.path()), "pin-source");
  LibraryContext context(
      OpensslConf().backend("dev", no_pin).key("device", world().token.uri("rsa")));
  world().module("log-out");
  const EvpPkey key =
      context.private_key("hwid:device?pin-value=" + std::string(hwid::test::SoftHsmToken::kPin));
  CHECK(EVP_PKEY_get_bits(key.get()) == 2048);
}

TEST_CASE("backends: a key by its id alone, and one in a name's file") {
  LibraryContext context(world().conf());
  const EvpPkey by_id = context.private_key("pkcs11:token=" + world().token.label() + ";id=%03");
  CHECK(EVP_PKEY_get_bits(by_id.get()) == 256);
  const hwid::test::TemporaryDirectory directory;
  LibraryContext files(world().conf().key("other", directory.file("key.pem")));
  CHECK(has(failure(files, "hwid:other"), "key.pem"));
  hwid::test::write_file(directory.file("key.pem"), "not PEM\n");
  CHECK(has(failure(files, "hwid:other"), "holds no key reference"));
}

TEST_CASE(
    "backends: pkcs11-provider's names and variable serve a key, p11-kit's modules by default") {
  const auto open = [](const std::string& lines, const std::string& module,
                       const std::string& uri) {
    const hwid::test::TemporaryDirectory directory;
    hwid::test::write_file(directory.file("openssl.cnf"),
                           "openssl_conf = init\n[init]\nproviders = all\n[all]\ndefault = d\n"
                           "pkcs11 = p\n[d]\nactivate = 1\n[p]\nmodule = hwid.so\nactivate = 1\n" +
                               lines);
    hwid::test::RunOptions options;
    options.environment = world().token.environment();
    options.environment["OPENSSL_CONF"] = directory.file("openssl.cnf");
    options.environment["OPENSSL_MODULES"] = std::getenv("HWID_MODULE_DIR");
    options.environment["PKCS11_PROVIDER_MODULE"] = module;
    if (const char* const preload = std::getenv("HWID_PRELOAD"))
      options.environment["LD_PRELOAD"] = preload;
    const hwid::test::RunResult result =
        hwid::test::run({"openssl", "pkey", "-in", uri, "-noout", "-text"}, options);
    return result.exit_code == 0 ? "opened" : result.err;
  };
  const std::string softhsm = std::getenv("HWID_SOFTHSM_MODULE");
  const std::string uri = world().token.uri("rsa");
  CHECK(open("pkcs11-module-path = " + softhsm + "\npkcs11-module-token-pin = 1111\n", "", uri) ==
        "opened");
  CHECK(open("pkcs11-module-path = /nonexistent\npkcs11-module-token-pin = 1111\n", softhsm, uri) ==
        "opened");
  CHECK(open("pkcs11_module = " + softhsm + "\npin = 1111\n", "", uri) == "opened");
  CHECK(open("pin = 1111\n", "", uri) == "opened");
  // The environment's module is the section's own: searched once, with the section's PIN.
  CHECK(open("backends = dev\ndev = dev_sect\n[dev_sect]\ntype = pkcs11\nmodule = " + softhsm +
                 "\npin-source = file:" + world().token.pin_file() +
                 "\ntoken = " + world().token.label() + "\n",
             softhsm, uri) == "opened");
}

TEST_CASE("backends: fips=yes finds the keys of whoever calls the token validated") {
  const std::string uri = world().token.uri("ec");
  for (const bool assumed : {true, false}) {
    CAPTURE(assumed);
    const LibraryContext own(
        world().conf().setting("pkcs11-module-assume-fips", assumed ? "true" : "false"));
    if (!assumed) {
      CHECK_THROWS(own.private_key(uri, "provider=hwid,fips=yes"));
      continue;
    }
    const EvpPkey key = own.private_key(uri, "provider=hwid,fips=yes");
    CHECK_FALSE(hwid::test::sign(own.get(), key.get(), "SHA256", "message").empty());
  }
}
