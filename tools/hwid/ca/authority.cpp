#include "tools/hwid/ca/authority.h"

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool::ca {
namespace {

using core::Error;
using core::Reason;

constexpr char kMake[] =
    "make a CA with `hwid ca init --subject NAME`, or name its directory with --dir";

}  // namespace

void add_directory_option(po::options_description& options) {
  options.add_options()("dir", po::value<std::string>()->value_name("DIR"),
                        "the CA's directory (default: hwid/ca in $XDG_DATA_HOME, that is "
                        "~/.local/share/hwid/ca)");
}

std::string directory_of(const Invocation& invocation) {
  if (invocation.has("dir")) {
    std::string directory = invocation.text("dir");
    if (directory.empty()) throw UsageError("--dir: the directory's name is empty");
    while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
    return directory;
  }
  const std::string data = user_directory("XDG_DATA_HOME", "/.local/share");
  if (data.empty()) throw UsageError("HOME is not set: name the CA's directory with --dir");
  return data + "/hwid/ca";
}

std::vector<std::string> own_files(const std::string& directory) {
  std::vector<std::string> files;
  for (const char* const name : {"ca.pem", "ca.key", "index.txt", "index.txt.attr", "crlnumber"})
    files.push_back(directory + "/" + name);
  return files;
}

Lock::Lock(const std::string& directory) : DirectoryLock(directory, "`hwid ca`", kMake) {}

Authority::Authority(Invocation& invocation)
    : invocation_(invocation), directory_(directory_of(invocation)), lock_(directory_) {
  require_private_directory(directory_);
  const std::string file = path("ca.pem");
  if (!file_exists(file))
    throw Error(Reason::kBadConfiguration,
                "directory=" + directory_ + ": there is no ca.pem; " + kMake);
  certificate_ = std::move(
      x509::parse_certificates(read_file(file), file, invocation.software().get()).front());
  index_ = Index::read(path("index.txt"));
}

EVP_PKEY* Authority::key() {
  if (key_) return key_.get();
  key_ = open_private_key(invocation_, path("ca.key"));
  if (EVP_PKEY_eq(X509_get0_pubkey(certificate_.get()), key_.get()) != 1)
    throw Error(Reason::kKeyChanged, "file=" + path("ca.key") +
                                         ": it leads to another key than the one in ca.pem; put "
                                         "the CA's own key back");
  return key_.get();
}

x509::SignatureForm Authority::form() {
  return x509::signature_form(key(), "", false, invocation_.crypto());
}

std::string fault_of_key(EVP_PKEY* key) {
  if (key == nullptr) return "its public key is of a kind that is not known here";
  if (EVP_PKEY_is_a(key, "RSA") == 1 || EVP_PKEY_is_a(key, "RSA-PSS") == 1)
    return EVP_PKEY_get_bits(key) < 2048 ? "its RSA key has less than 2048 bits" : "";
  if (EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1) return "";
  const std::string algorithm = algorithm_text(key);
  for (const char* const curve : {"EC P-256", "EC P-384", "EC P-521"}) {
    if (algorithm == curve) return "";
  }
  return "its key is " + algorithm +
         ", which TLS does not take: RSA, or EC over P-256, P-384 or "
         "P-521";
}

}  // namespace hwid::tool::ca
