#include "transport/credentials.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "transport/certificate_text.h"
#include "transport/openssl_handles.h"

namespace hwid::transport {

namespace {

constexpr std::string_view kReferenceLabels[] = {"PKCS#11 PROVIDER URI", "TSS2 PRIVATE KEY",
                                                 "HWID KEY REFERENCE"};

std::string_view pem_label(std::string_view pem) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  if (pem.substr(0, kBegin.size()) != kBegin) return {};
  pem.remove_prefix(kBegin.size());
  return pem.substr(0, pem.find("-----"));
}

std::string_view contents(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, size > 0 ? static_cast<std::size_t>(size) : 0};
}

// OpenSSL's reasons may quote the URI, and with it a PIN.
std::string store_errors(const std::string& uri) {
  std::string text = take_openssl_errors();
  const std::string shown = printable_uri(uri);
  for (auto at = text.find(uri); at != std::string::npos; at = text.find(uri, at + shown.size()))
    text.replace(at, uri.size(), shown);
  return text;
}

// Visits what `uri` holds of `type` until `visit` is content.
template <typename Visit>
void read_store(const char* what, const std::string& uri, int type, Visit visit) {
  const auto fail = [&] {
    throw Error(ErrorKind::environment, what, printable_uri(uri), store_errors(uri),
                "check the URI, OPENSSL_CONF and the token, e.g. with: openssl storeutl -noout "
                "'URI'");
  };
  ERR_clear_error();
  const StorePtr store(OSSL_STORE_open(uri.c_str(), nullptr, nullptr, nullptr, nullptr));
  if (!store) fail();
  if (OSSL_STORE_expect(store.get(), type) != 1) ERR_clear_error();  // a loader may not know it
  while (OSSL_STORE_eof(store.get()) == 0) {
    const StoreInfoPtr info(OSSL_STORE_load(store.get()));
    if (!info) {
      if (OSSL_STORE_error(store.get()) != 0) fail();
      continue;
    }
    if (OSSL_STORE_INFO_get_type(info.get()) == type && visit(info.get())) return;
  }
}

// Follows symbolic links of the directory, and only those: in STATE/NAME/current/key.pem `current`
// is switched when credentials are renewed. Remembers the last answer, so that two files of one
// directory come from the same one.
class GenerationResolver {
 public:
  std::string resolve(const std::string& file) {
    const std::filesystem::path path(file);
    const auto directory = path.parent_path();
    if (directory.empty()) return file;
    if (directory != asked_) {
      std::error_code failure;
      answer_ = std::filesystem::canonical(directory, failure);
      if (failure) return file;  // whoever opens the file says what is wrong
      asked_ = directory;
    }
    return (answer_ / path.filename()).string();
  }

 private:
  std::filesystem::path asked_;
  std::filesystem::path answer_;
};

void check_readable(const char* what, const std::string& file) {
  if (::access(file.c_str(), R_OK) != 0)
    throw Error(ErrorKind::environment, what, file, std::strerror(errno),
                "check the path and its permissions");
}

// With the reason that ask_for_no_passphrase() leaves open. A chain may stand before the key.
void refuse_encrypted(const std::string& file) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.find("BEGIN ENCRYPTED PRIVATE KEY") != std::string::npos ||
        line.find("Proc-Type: 4,ENCRYPTED") != std::string::npos)
      throw Error(ErrorKind::environment, "open key", file, "the key is encrypted by a passphrase",
                  "use a key in hardware, or a file without one");
}

// The chain, leaf first; not empty.
std::vector<X509Ptr> chain_of(const std::string& uri) {
  std::vector<X509Ptr> chain;
  read_store("open certificate", uri, OSSL_STORE_INFO_CERT, [&](OSSL_STORE_INFO* info) {
    if (X509Ptr certificate{OSSL_STORE_INFO_get1_CERT(info)})
      chain.push_back(std::move(certificate));
    return false;
  });
  if (chain.empty())
    throw Error(ErrorKind::environment, "open certificate", printable_uri(uri),
                "the URI names no certificate", "store one there, or give the path of a PEM file");
  return chain;
}

BioPtr certificates_of(const std::string& uri) {
  BioPtr pem(BIO_new(BIO_s_mem()));
  for (const auto& certificate : chain_of(uri))
    if (PEM_write_bio_X509(pem.get(), certificate.get()) != 1)
      throw Error(ErrorKind::environment, "print certificate", printable_uri(uri),
                  store_errors(uri));
  return pem;
}

PkeyPtr key_of(const std::string& uri) {
  PkeyPtr key;
  read_store("open key", uri, OSSL_STORE_INFO_PKEY, [&](OSSL_STORE_INFO* info) {
    key.reset(OSSL_STORE_INFO_get1_PKEY(info));
    return key != nullptr;
  });
  if (!key)
    throw Error(ErrorKind::environment, "open key", printable_uri(uri),
                "the URI names no private key", "check object= and token= of the URI");
  return key;
}

BioPtr key_reference_of(const std::string& uri) {
  const PkeyPtr key = key_of(uri);
  // Secure, because a software key prints its private bits before the label can be looked at.
  BioPtr pem(BIO_new(BIO_s_secmem()));
  ERR_clear_error();
  if (PEM_write_bio_PrivateKey(pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    throw Error(ErrorKind::environment, "print key reference", printable_uri(uri),
                store_errors(uri),
                "a provider that writes key references is needed; is its encoder switched off?");
  if (!is_key_reference(contents(pem.get())))
    throw Error(ErrorKind::environment, "print key reference", printable_uri(uri),
                "this is a software key, its PEM form would hold the key itself",
                "give the path of its file as key, or a URI of a key in hardware");
  return pem;
}

bool use_chain(SSL_CTX* context, const std::vector<X509Ptr>& chain) {
  bool good = SSL_CTX_use_certificate(context, chain.front().get()) == 1;
  for (std::size_t i = 1; good && i < chain.size(); ++i)
    good = SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1;
  return good;
}

// file:/path and file:///path (RFC 8089); empty for anything else.
std::string path_of_file_uri(const std::string& uri) {
  std::string_view rest = uri;
  if (rest.substr(0, 5) != "file:") return {};
  rest.remove_prefix(5);
  if (rest.substr(0, 2) == "//") {
    rest.remove_prefix(2);
    constexpr std::string_view kLocalhost = "localhost/";
    if (rest.substr(0, kLocalhost.size()) == kLocalhost) rest.remove_prefix(kLocalhost.size() - 1);
  }
  return std::string(rest);
}

}  // namespace

bool is_key_reference(std::string_view pem) {
  const auto label = pem_label(pem);
  for (const auto& known : kReferenceLabels)
    if (label == known) return true;
  return false;
}

bool is_uri(const std::string& value) {
  const auto colon = value.find(':');
  if (colon == std::string::npos || colon < 2 ||
      !std::isalpha(static_cast<unsigned char>(value[0])))
    return false;
  for (const unsigned char c : std::string_view(value).substr(0, colon))
    if (std::isalnum(c) == 0 && c != '+' && c != '-' && c != '.') return false;
  return true;
}

std::string printable_uri(const std::string& uri) {
  constexpr std::string_view kPin = "pin-value=";
  std::string shown = uri;
  for (auto at = shown.find(kPin); at != std::string::npos; at = shown.find(kPin, at)) {
    at += kPin.size();
    auto end = shown.find_first_of("&;?", at);
    if (end == std::string::npos) end = shown.size();
    shown.replace(at, end - at, "***");
  }
  if (shown.rfind("handle:", 0) == 0 || shown.rfind("object:", 0) == 0) {
    const auto question = shown.find('?');
    if (question != std::string::npos && shown.find('=', question) == std::string::npos &&
        shown.substr(question) != "?pass")
      shown.replace(question, std::string::npos, "?***");
  }
  return shown;
}

Credentials::~Credentials() {
  for (const int descriptor : descriptors_) ::close(descriptor);
}

std::string Credentials::keep_in_memory(const char* name, const char* bytes, std::size_t size) {
  const auto fail = [&](const char* call) {
    throw Error(ErrorKind::environment, call, name, std::strerror(errno),
                "the kernel must offer memfd_create, and /proc must be mounted");
  };
  const int descriptor = ::memfd_create(name, MFD_CLOEXEC);
  if (descriptor < 0) fail("memfd_create");
  try {
    descriptors_.push_back(descriptor);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  while (size > 0) {
    const auto written = ::write(descriptor, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write to memfd");
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
  std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  if (::access(path.c_str(), R_OK) != 0) fail("open memfd");
  return path;
}

namespace {

// The path that `value` is, or that it names as a file: URI; empty for any other URI.
std::string path_of(const std::string& value) {
  return is_uri(value) ? path_of_file_uri(value) : value;
}

}  // namespace

Credentials Credentials::load(const DeviceConfig& config) {
  Credentials credentials;
  GenerationResolver generation;
  const auto load_one = [&](const char* what, const char* name, const std::string& value,
                            BioPtr (*open_uri)(const std::string&)) -> std::string {
    if (value.empty()) return {};
    if (const auto path = path_of(value); !path.empty()) {
      auto file = generation.resolve(path);
      check_readable(what, file);
      return file;
    }
    const BioPtr pem = open_uri(value);
    const auto text = contents(pem.get());
    return credentials.keep_in_memory(name, text.data(), text.size());
  };
  credentials.cert_path_ =
      load_one("open certificate", "hwid-certificate", config.cert, certificates_of);
  credentials.key_path_ = load_one("open key", "hwid-key", config.key, key_reference_of);
  if (!credentials.key_path_.empty()) refuse_encrypted(credentials.key_path_);
  return credentials;
}

bool key_fits_certificate(SSL_CTX* context) { return SSL_CTX_check_private_key(context) == 1; }

X509Ptr load_certificate(const DeviceConfig& config) {
  GenerationResolver generation;
  const std::string path = path_of(config.cert);
  if (path.empty()) return std::move(chain_of(config.cert).front());
  const std::string file = generation.resolve(path);
  check_readable("open certificate", file);
  auto chain = read_certificates(file);
  if (chain.empty())
    throw Error(ErrorKind::environment, "open certificate", file, "it holds no certificate",
                "give the path of a PEM file, or a URI");
  return std::move(chain.front());
}

void ask_for_no_passphrase(SSL_CTX* context) {
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
}

void use_credentials(SSL_CTX* context, const DeviceConfig& config) {
  ask_for_no_passphrase(context);
  GenerationResolver generation;
  const auto use = [&](const char* what, const std::string& value, auto from_file, auto from_uri) {
    if (value.empty()) return;
    std::string path = path_of(value);
    if (!path.empty()) {
      path = generation.resolve(path);
      check_readable(what, path);
    }
    ERR_clear_error();
    if (!(path.empty() ? from_uri(value) : from_file(path)))
      throw Error(ErrorKind::environment, what, printable_uri(value), store_errors(value),
                  "check that it is PEM, and that key and certificate belong together");
  };
  use(
      "open certificate", config.cert,
      [&](const std::string& path) {
        return SSL_CTX_use_certificate_chain_file(context, path.c_str()) == 1;
      },
      [&](const std::string& uri) { return use_chain(context, chain_of(uri)); });
  use(
      "open key", config.key,
      [&](const std::string& path) {
        refuse_encrypted(path);
        return SSL_CTX_use_PrivateKey_file(context, path.c_str(), SSL_FILETYPE_PEM) == 1;
      },
      [&](const std::string& uri) {
        return SSL_CTX_use_PrivateKey(context, key_of(uri).get()) == 1;
      });
  if (!config.cert.empty() && !config.key.empty() && !key_fits_certificate(context))
    throw Error(ErrorKind::environment, "open key", printable_uri(config.key),
                "it does not belong to the certificate " + printable_uri(config.cert) + " (" +
                    store_errors(config.key) + ")",
                "use the key that the certificate was made for, or enrol anew");
}

}  // namespace hwid::transport
