// hwid ca init: the directory, the key, and the certificate of a CA.
#include <openssl/evp.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/ca/authority.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/development.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/extensions.h"
#include "tools/hwid/x509/name.h"

namespace hwid::tool {
namespace {

using ca::directory_of;
using core::Error;
using core::Reason;
using core::shell_word;

constexpr long kDefaultDays = 3650;

void add_options(po::options_description& options) {
  ca::add_directory_option(options);
  auto add = options.add_options();
  add("subject", po::value<std::string>()->value_name("NAME")->required(),
      "the CA's name: \"/O=Example/CN=Development CA\", or \"CN=Development CA,O=Example\"");
  add("key", po::value<std::string>()->value_name("URI"),
      "its key, in a token or TPM (default: a new P-256 key in ca.key, readable by you alone: for "
      "development)");
  add("days", po::value<long>()->value_name("N"), "how long the CA is good (default: 3650)");
}

core::EvpPkey software_key(OSSL_LIB_CTX* crypto) {
  // A name of another provider's: not even `keygen = tpm` may make this key elsewhere.
  core::EvpPkey key(EVP_PKEY_Q_keygen(crypto, core::kNotHwid, "EC", "P-256"));
  if (!key) throw_crypto_error("EVP_PKEY_Q_keygen", "activate the default provider in openssl.cnf");
  return key;
}

x509::Certificate make_certificate(const X509_NAME* subject, long days, EVP_PKEY* key,
                                   OSSL_LIB_CTX* crypto) {
  x509::Certificate certificate = x509::made(x509::Certificate(X509_new_ex(crypto, nullptr)));
  const x509::Integer serial = x509::random_serial(crypto);
  const x509::Time begin = x509::time_from_now(0, x509::kClockTolerance);
  const x509::Time end = x509::time_from_now(days, 0);
  if (X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_serialNumber(certificate.get(), serial.get()) != 1 ||
      X509_set_subject_name(certificate.get(), subject) != 1 ||
      X509_set_issuer_name(certificate.get(), subject) != 1 ||
      X509_set1_notBefore(certificate.get(), begin.get()) != 1 ||
      X509_set1_notAfter(certificate.get(), end.get()) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1)
    throw_crypto_error("X509_set_pubkey", "see that the key has a public half");
  x509::Extensions extensions;
  extensions.add_ca();
  extensions.add_subject_key_id(certificate.get(), crypto);
  extensions.add_authority_key_id(x509::key_id(certificate.get(), crypto).get());
  extensions.copy_into(certificate.get());
  x509::sign(certificate.get(), key, x509::signature_form(key, "", false, crypto), crypto);
  if (X509_verify(certificate.get(), key) != 1)
    throw_crypto_error("X509_verify",
                       "the key's public half is not that of its private one: make the key anew");
  return certificate;
}

// The key comes late, and ca.pem last: without it there is no CA. What an interrupted run left of
// the others is as good as new.
void write_files(const std::string& directory, const std::string& key, const X509* certificate) {
  const auto write = [&](const char* name, const std::string& content, mode_t mode) {
    write_file(directory + "/" + name, content, mode, Existing::kRefuse);
  };
  const auto write_missing = [&](const char* name, const std::string& content) {
    if (!file_exists(directory + "/" + name)) write(name, content, 0600);
  };
  write_missing("index.txt", "");
  write_missing("index.txt.attr", "unique_subject = no\n");
  write_missing("crlnumber", "01\n");
  if (::mkdir((directory + "/certs").c_str(), 0700) != 0 && errno != EEXIST)
    throw Error(Reason::kNotPermitted, "mkdir: directory=" + directory + "/certs: " +
                                           std::strerror(errno) + "; name another one with --dir");
  write("ca.key", key, 0600);
  write("ca.pem", x509::pem(certificate), 0644);
}

void refuse_existing(const std::string& directory) {
  const auto refuse = [&](const std::string& what, const std::string& next) {
    throw Error(Reason::kExists, "directory=" + directory + ": there is " + what +
                                     " already, and a CA is never replaced; " + next);
  };
  const auto there = [&](const char* name) { return file_exists(directory + "/" + name); };
  constexpr char kNext[] = "name another directory with --dir, or remove this one yourself";
  if (there("ca.pem")) refuse("a ca.pem", kNext);
  if (there("ca.key"))
    refuse("a ca.key without its ca.pem",
           "if a `hwid ca init` was interrupted, nothing was signed with it: rm " +
               shell_word(directory + "/ca.key") + "; else name another directory with --dir");
  std::error_code error;
  if (there("index.txt") && std::filesystem::file_size(directory + "/index.txt", error) != 0)
    refuse("an index.txt", kNext);
}

void report(Output& out, const std::string& directory, const X509* certificate, EVP_PKEY* key,
            bool in_hardware) {
  const std::string subject = x509::name_text(X509_get_subject_name(certificate));
  const std::string end = x509::time_text(X509_get0_notAfter(certificate));
  out.heading("Certificate authority");
  out.field("subject", subject);
  out.field("directory", directory);
  out.field("certificate", directory + "/ca.pem");
  out.field("key", algorithm_text(key) + (in_hardware ? ", in a token (ca.key refers to it)"
                                                      : ", in the file ca.key"));
  out.field("ends", end);
  if (!in_hardware && !out.json())
    Output::note(
        "The CA's key is an ordinary file: this is for development. `--key URI` takes one "
        "in a token.");
  out.document({{"subject", subject},
                {"directory", directory},
                {"certificate", directory + "/ca.pem"},
                {"key", algorithm_text(key)},
                {"key_in_hardware", in_hardware},
                {"not_after", end}});
}

Exit run(Invocation& invocation) {
  const x509::Name subject = x509::parse_subject(invocation.text("subject"));
  const long days = x509::parse_days(invocation.value<long>("days").value_or(kDefaultDays));
  const std::string directory = directory_of(invocation);
  refuse_existing(directory);
  private_directory(directory);
  const ca::Lock lock(directory);
  refuse_existing(directory);
  OSSL_LIB_CTX* const crypto = invocation.crypto();
  const bool in_hardware = invocation.has("key");
  const core::EvpPkey key =
      in_hardware ? open_private_key(invocation, invocation.text("key")) : software_key(crypto);
  const std::string fault = ca::fault_of_key(key.get());
  if (!fault.empty())
    throw Error(Reason::kUnsupported, "--key: " + fault + "; make one with `hwid generate`");
  std::string pem = private_key_pem(key.get());
  const core::Cleansed guard(pem);
  if (in_hardware && !is_in_hardware(pem))
    throw UsageError(
        "--key: this is an ordinary key file, no key in a token; leave --key out for "
        "a software key");
  const x509::Certificate certificate = make_certificate(subject.get(), days, key.get(), crypto);
  write_files(directory, pem, certificate.get());
  report(invocation.out(), directory, certificate.get(), key.get(), in_hardware);
  return kGood;
}

}  // namespace

const Command kCaInit = {
    "ca init",
    "--subject NAME [OPTION...]",
    "make a CA for development in a directory",
    "Makes the directory, a key (or takes one in a token) and a certificate that signs itself, "
    "good\n"
    "for signing certificates and CRLs only. An existing CA is never replaced. Give ca.pem to who\n"
    "shall trust it; ca.key stays where it is.",
    "  hwid ca init --subject '/O=Example/CN=Development CA'\n"
    "  hwid ca init --dir ./ca --subject 'CN=Line 7 CA,O=Example' --days 730 \\\n"
    "      --key 'pkcs11:token=ca;object=ca-key'\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
