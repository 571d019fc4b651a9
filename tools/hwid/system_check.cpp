#include "tools/hwid/system_check.h"

#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/x509/owners.h"

namespace hwid::tool {
namespace {

constexpr std::chrono::seconds kDeadline{60};  // a busy machine is not a broken one

using Context = std::unique_ptr<OSSL_LIB_CTX, core::FreeWith<OSSL_LIB_CTX_free>>;
using SslContext = std::unique_ptr<SSL_CTX, core::FreeWith<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, core::FreeWith<SSL_free>>;

[[noreturn]] void fail(const char* call) {
  throw core::Error(core::Reason::kLibcrypto,
                    std::string(call) + ": " + core::last_libcrypto_error());
}

// As OPENSSL_init_crypto does it by itself: what is wrong in the file stops nothing.
Context context_of(const std::string& file) {
  Context context(OSSL_LIB_CTX_new());
  if (!context) throw std::bad_alloc();
  CONF_modules_load_file_ex(context.get(), file.c_str(), nullptr,
                            CONF_MFLAGS_DEFAULT_SECTION | CONF_MFLAGS_IGNORE_MISSING_FILE |
                                CONF_MFLAGS_IGNORE_RETURN_CODES);
  ERR_clear_error();
  return context;
}

core::Certificate self_signed(OSSL_LIB_CTX* context, EVP_PKEY* key) {
  core::Certificate certificate(X509_new_ex(context, nullptr));
  if (!certificate) throw std::bad_alloc();
  const x509::Name name = x509::made(x509::Name(X509_NAME_new()));
  const bool made = X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
                    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1) == 1 &&
                    X509_NAME_add_entry_by_txt(name.get(), "CN", MBSTRING_ASC,
                                               reinterpret_cast<const unsigned char*>("localhost"),
                                               -1, -1, 0) == 1 &&
                    X509_set_subject_name(certificate.get(), name.get()) == 1 &&
                    X509_set_issuer_name(certificate.get(), name.get()) == 1 &&
                    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60) != nullptr &&
                    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600) != nullptr &&
                    X509_set_pubkey(certificate.get(), key) == 1;
  const std::unique_ptr<EVP_MD, core::FreeWith<EVP_MD_free>> digest(
      EVP_MD_fetch(context, "SHA256", nullptr));
  if (!made || !digest || X509_sign(certificate.get(), key, digest.get()) == 0) fail("X509_sign");
  return certificate;
}

// Each side goes on until it waits for the other.
void shake_hands(SSL* client, SSL* server) {
  bool done = false;
  for (int round = 0; round < 20 && !done; ++round) {
    done = true;
    for (SSL* const side : {client, server}) {
      const int result = SSL_do_handshake(side);
      if (result == 1) continue;
      done = false;
      if (SSL_get_error(side, result) != SSL_ERROR_WANT_READ) fail("SSL_do_handshake");
    }
  }
  if (!done) throw core::Error(core::Reason::kLibcrypto, "SSL_do_handshake: it does not end");
}

void handshake(OSSL_LIB_CTX* context) {
  const core::EvpPkey key(EVP_PKEY_Q_keygen(context, nullptr, "EC", "P-256"));
  if (!key) fail("EVP_PKEY_Q_keygen");
  const core::Certificate certificate = self_signed(context, key.get());
  const SslContext for_client(SSL_CTX_new_ex(context, nullptr, TLS_client_method()));
  const SslContext for_server(SSL_CTX_new_ex(context, nullptr, TLS_server_method()));
  if (!for_client || !for_server ||
      X509_STORE_add_cert(SSL_CTX_get_cert_store(for_client.get()), certificate.get()) != 1 ||
      SSL_CTX_use_certificate(for_server.get(), certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(for_server.get(), key.get()) != 1)
    fail("SSL_CTX_new_ex");
  SSL_CTX_set_verify(for_client.get(), SSL_VERIFY_PEER, nullptr);
  const Ssl client(SSL_new(for_client.get()));
  const Ssl server(SSL_new(for_server.get()));
  BIO* one = nullptr;
  BIO* other = nullptr;
  if (!client || !server || BIO_new_bio_pair(&one, 0, &other, 0) != 1) fail("SSL_new");
  SSL_set_bio(client.get(), one, one);
  SSL_set_bio(server.get(), other, other);
  SSL_set_connect_state(client.get());
  SSL_set_accept_state(server.get());
  shake_hands(client.get(), server.get());
}

std::string problem_of(const ChildResult& result) {
  if (result.problem.empty()) return "";
  std::string words = result.output.substr(0, 1000);
  while (words.ends_with('\n')) words.pop_back();
  return result.problem + (words.empty() ? "" : ": " + words);
}

void require_hwid(OSSL_LIB_CTX* context) {
  if (OSSL_PROVIDER_available(context, "hwid") != 1)
    throw core::Error(core::Reason::kModuleNotLoadable,
                      "the provider is not active: hwid.so could not be loaded");
}

}  // namespace

std::vector<Check> check_system(const std::string& openssl_conf, bool with_hwid) {
  // A variable of this shell is not there in the programs that are to work.
  const Environment environment = {"OPENSSL_CONF=" + openssl_conf, "OPENSSL_MODULES"};
  std::vector<Check> checks;
  const std::vector<std::string> commands[] = {
      {"openssl", "version"},
      {"openssl", "rand", "-hex", "16"},
      {"openssl", "dgst", "-sha256", "/dev/null"},
      {"openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256"}};
  for (const std::vector<std::string>& command : commands) {
    const ChildResult result = run_program(command, environment, kDeadline);
    if (result.problem == "exit code 127" && result.output.empty()) break;  // not installed
    std::string words;
    for (std::size_t at = 0; at < 2; ++at) words.append(at == 0 ? "" : " ").append(command[at]);
    checks.push_back({words, problem_of(result)});
  }
  const auto in_context = [&](const char* what, void (*use)(OSSL_LIB_CTX*)) {
    const ChildResult result = run_forked(
        [&] {
          const Context context = context_of(openssl_conf);
          use(context.get());
        },
        environment, kDeadline);
    checks.push_back({what, problem_of(result)});
  };
  in_context("TLS client and server", handshake);
  if (with_hwid) in_context("provider hwid", require_hwid);
  return checks;
}

std::string first_problem(const std::vector<Check>& checks) {
  for (const Check& check : checks) {
    if (!check.problem.empty()) return check.what + ": " + check.problem;
  }
  return "";
}

}  // namespace hwid::tool
