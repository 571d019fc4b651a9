#include <doctest/doctest.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/store.h>

#include <algorithm>
#include <memory>

#include "pki.h"
#include "transport/credentials.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using namespace hwid::test;       // NOLINT(google-build-using-namespace)

namespace {

DeviceConfig config_of(const std::string& cert, const std::string& key) {
  DeviceConfig config;
  config.cert = cert;
  config.key = key;
  return config;
}

std::string load_error(const DeviceConfig& config) {
  try {
    Credentials::load(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A store for URIs test:FILE, as a provider would serve them: the certificates of a PEM file, or
// its key.
class TestStore {
 public:
  TestStore() : loader_(OSSL_STORE_LOADER_new(nullptr, "test")) {
    OSSL_STORE_LOADER_set_open(loader_, open);
    OSSL_STORE_LOADER_set_load(loader_, load);
    OSSL_STORE_LOADER_set_eof(loader_,
                              [](OSSL_STORE_LOADER_CTX* c) { return of(c)->done ? 1 : 0; });
    OSSL_STORE_LOADER_set_error(loader_, [](OSSL_STORE_LOADER_CTX*) { return 0; });
    OSSL_STORE_LOADER_set_close(loader_, [](OSSL_STORE_LOADER_CTX* c) {
      delete of(c);
      return 1;
    });
    REQUIRE(OSSL_STORE_register_loader(loader_) == 1);
  }
  TestStore(const TestStore&) = delete;
  TestStore& operator=(const TestStore&) = delete;
  ~TestStore() {
    OSSL_STORE_unregister_loader("test");
    OSSL_STORE_LOADER_free(loader_);
  }

 private:
  struct Context {
    std::string file;
    int next = 0;
    bool done = false;
  };
  static Context* of(OSSL_STORE_LOADER_CTX* context) { return reinterpret_cast<Context*>(context); }

  static OSSL_STORE_LOADER_CTX* open(const OSSL_STORE_LOADER*, const char* uri, const UI_METHOD*,
                                     void*) {
    auto* context = new Context{std::string(uri).substr(5)};
    return reinterpret_cast<OSSL_STORE_LOADER_CTX*>(context);
  }
  static OSSL_STORE_INFO* load(OSSL_STORE_LOADER_CTX* context, const UI_METHOD*, void*) {
    const std::unique_ptr<BIO, int (*)(BIO*)> pem(BIO_new_file(of(context)->file.c_str(), "r"),
                                                  BIO_free);
    for (int i = 0; auto* certificate = PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr);
         ++i) {
      if (i == of(context)->next) {
        of(context)->next++;
        return OSSL_STORE_INFO_new_CERT(certificate);
      }
      X509_free(certificate);
    }
    of(context)->done = true;
    if (of(context)->next > 0) return nullptr;
    (void)BIO_seek(pem.get(), 0);
    return OSSL_STORE_INFO_new_PKEY(PEM_read_bio_PrivateKey(pem.get(), nullptr, nullptr, nullptr));
  }

  OSSL_STORE_LOADER* loader_;
};

}  // namespace

TEST_CASE("credentials: a certificate behind a URI is readable as a path while it is held") {
  const TestStore store;
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  std::string path;
  {
    const auto loaded = Credentials::load(config_of("test:" + (directory / "ca.pem").string(), ""));
    path = loaded.cert_path();
    CHECK(path.rfind("/proc/self/fd/", 0) == 0);
    CHECK(read_file(path) == read_file(directory / "ca.pem"));
    CHECK(read_file(path) == read_file(directory / "ca.pem"));  // each reader from the start
    const int descriptor = std::stoi(path.substr(path.rfind('/') + 1));
    CHECK((::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(read_file(path).empty());
}

TEST_CASE("credentials: the chain behind a URI is sent in its order") {
  const TestStore store;
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  make_certificate(directory.path(), "leaf", "ca");
  const std::string chain = read_file(directory / "leaf.pem") + read_file(directory / "ca.pem");
  write_file(directory / "chain.pem", chain);
  const auto loaded =
      Credentials::load(config_of("test:" + (directory / "chain.pem").string(), ""));
  CHECK(read_file(loaded.cert_path()) == chain);
}

TEST_CASE("credentials: a software key behind a URI is refused, it would be written out") {
  const TestStore store;
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  const auto error = load_error(config_of("", "test:" + (directory / "ca.key").string()));
  CHECK_MESSAGE(contains(error, "software key"), error);
  const auto none = load_error(config_of("", "test:" + (directory / "ca.pem").string()));
  CHECK_MESSAGE(contains(none, "no private key"), none);
}

TEST_CASE("credentials: paths are handed on") {
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  const auto cert = (directory / "ca.pem").string();
  const auto key = (directory / "ca.key").string();
  const auto loaded = Credentials::load(config_of(cert, key));
  CHECK(loaded.cert_path() == cert);
  CHECK(loaded.key_path() == key);
  const auto by_uri = Credentials::load(config_of("file:" + cert, "file://" + key));
  CHECK(by_uri.cert_path() == cert);
  CHECK(by_uri.key_path() == key);
}

TEST_CASE("credentials: key and certificate come from one generation") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "gen-1");
  make_certificate(directory / "gen-1", "ca", "");
  std::filesystem::create_directory_symlink("gen-1", directory / "current");
  const auto loaded = Credentials::load(
      config_of((directory / "current/ca.pem").string(), (directory / "current/ca.key").string()));
  CHECK(loaded.cert_path() == (directory / "gen-1/ca.pem").string());
  CHECK(loaded.key_path() == (directory / "gen-1/ca.key").string());
}

TEST_CASE("credentials: a missing or encrypted file is an error that names it") {
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  const auto cert = (directory / "ca.pem").string();
  const auto missing = load_error(config_of(cert, "/nonexistent/key.pem"));
  CHECK_MESSAGE(contains(missing, "/nonexistent/key.pem"), missing);
  CHECK_MESSAGE(contains(missing, "No such file"), missing);
  write_file(directory / "locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
  const auto locked = load_error(config_of(cert, (directory / "locked.key").string()));
  CHECK_MESSAGE(contains(locked, "passphrase"), locked);
}

TEST_CASE(
    "credentials: an encrypted key is found behind a long chain, and nobody is asked for it") {
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  const auto cert = (directory / "ca.pem").string();
  std::string chain;
  while (std::count(chain.begin(), chain.end(), '\n') < 200) chain += read_file(cert);
  const auto both = directory / "both.pem";
  write_file(both, chain + "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
  const auto locked = load_error(config_of(both.string(), both.string()));
  CHECK_MESSAGE(contains(locked, "passphrase"), locked);

  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  use_credentials(context.get(), config_of(cert, (directory / "ca.key").string()));
  auto* const ask = SSL_CTX_get_default_passwd_cb(context.get());
  REQUIRE((ask != nullptr));
  char passphrase[8] = "";
  CHECK(ask(passphrase, sizeof passphrase, 0, nullptr) <= 0);
}

TEST_CASE("credentials: a URI that nobody serves says so, and shows no PIN") {
  const auto error = load_error(config_of("", "nobody:object=k?pin-value=4711"));
  CHECK_MESSAGE(contains(error, "nobody:object=k?pin-value=***"), error);
  CHECK_FALSE(contains(error, "4711"));
}

TEST_CASE("credentials: what may be shown of a URI") {
  CHECK(printable_uri("pkcs11:object=k;pin-value=12;type=private?pin-value=34&x=y") ==
        "pkcs11:object=k;pin-value=***;type=private?pin-value=***&x=y");
  CHECK(printable_uri("hwid:device") == "hwid:device");
  CHECK(printable_uri("handle:0x81000002?secret") == "handle:0x81000002?***");
  CHECK(printable_uri("handle:0x81000002?pass") == "handle:0x81000002?pass");
}

TEST_CASE("credentials: what is a URI") {
  for (const char* uri : {"hwid:device", "hwid://device", "pkcs11:object=k", "file:/a", "tpm2:x"})
    CHECK(is_uri(uri));
  for (const char* path : {"/etc/key.pem", "key.pem", "./a:b", "", "c:", ":x", "1a:x"})
    CHECK_FALSE(is_uri(path));
}
