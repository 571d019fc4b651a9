#include "pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "openssl_owners.h"

namespace hwid::test {

namespace {

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string("test PKI: ") + what);
}

Bio open_bio(const std::filesystem::path& file, const char* mode) {
  Bio bio(BIO_new_file(file.c_str(), mode));
  require(bio != nullptr, file.c_str());
  return bio;
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Delete<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  require(extension && X509_add_ext(certificate, extension.get(), -1) == 1, value);
}

void add_extensions(X509* certificate, X509* issuer, const CertificateOptions& options) {
  const bool ca = options.ca || issuer == certificate;
  add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
  if (issuer != certificate)
    add_extension(certificate, issuer, NID_authority_key_identifier, "keyid");
  add_extension(certificate, issuer, NID_basic_constraints, ca ? "critical,CA:TRUE" : "CA:FALSE");
  add_extension(certificate, issuer, NID_key_usage,
                ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (!options.san.empty())
    add_extension(certificate, issuer, NID_subject_alt_name, options.san.c_str());
  for (const auto& extension : options.extensions)
    add_extension(certificate, issuer, extension.first, extension.second.c_str());
}

void add_part(X509_NAME* name, const char* field, const std::string& value) {
  if (value.empty()) return;
  X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1, 0);
}

Pkey read_key(const std::filesystem::path& file) {
  return Pkey(PEM_read_bio_PrivateKey(open_bio(file, "r").get(), nullptr, nullptr, nullptr));
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "hwid-test-XXXXXX").string();
  require(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void make_certificate(const std::filesystem::path& directory, const std::string& name,
                      const std::string& issuer, const std::string& san) {
  CertificateOptions options;
  options.issuer = issuer;
  options.san = san;
  make_certificate(directory, name, options);
}

void make_certificate(const std::filesystem::path& directory, const std::string& name,
                      const CertificateOptions& options) {
  const std::string& issuer = options.issuer;
  const Pkey key = options.key.empty() ? Pkey(EVP_EC_gen("P-256"))
                                       : read_key(directory / (options.key + ".key"));
  const Cert certificate(X509_new());
  require(key && certificate, "out of memory");
  Cert issuer_certificate;
  Pkey issuer_key;
  if (!issuer.empty()) {
    issuer_certificate.reset(PEM_read_bio_X509(open_bio(directory / (issuer + ".pem"), "r").get(),
                                               nullptr, nullptr, nullptr));
    issuer_key = read_key(directory / (issuer + ".key"));
    require(issuer_certificate && issuer_key, "the issuer is missing");
  }
  X509* const signer = issuer.empty() ? certificate.get() : issuer_certificate.get();

  static long serial = 1;
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), options.valid_from);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), options.valid_until);
  X509_set_pubkey(certificate.get(), key.get());
  const Name subject(X509_NAME_new());
  add_part(subject.get(), "O", options.organization);
  add_part(subject.get(), "CN", name);
  X509_set_subject_name(certificate.get(), subject.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  add_extensions(certificate.get(), signer, options);
  require(
      X509_sign(certificate.get(), issuer.empty() ? key.get() : issuer_key.get(), EVP_sha256()) > 0,
      "X509_sign");

  require(PEM_write_bio_X509(open_bio(directory / (name + ".pem"), "w").get(), certificate.get()) ==
                  1 &&
              PEM_write_bio_PrivateKey(open_bio(directory / (name + ".key"), "w").get(), key.get(),
                                       nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "write PEM");
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text;
  require(out.good(), file.c_str());
}

std::string read_file(const std::filesystem::path& file) {
  const std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace hwid::test
