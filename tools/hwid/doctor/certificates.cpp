// Whether the certificate is one of the key, good now and for clients; and the CAs that are
// trusted.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "provider/core/error.h"
#include "tools/attest/structures.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/status/clock.h"
#include "tools/hwid/x509/encoding.h"
#include "transport/certificate_text.h"

namespace hwid::tool::doctor {
namespace {

using x509::Certificate;
using Certificates = std::vector<Certificate>;
using SslContext = std::unique_ptr<SSL_CTX, core::FreeWith<SSL_CTX_free>>;

constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of all CAs there are, and some

// The clock cannot be right: it stands before this program was built.
std::string clock_fault(std::time_t now) {
  status::Report report;
  status::check_clock(now, 0, report);
  for (const status::Check& check : report.checks()) {
    if (check.subject == "time" && check.state == status::State::kCritical) return check.text;
  }
  return "";
}

class OwnCertificate {
 public:
  explicit OwnCertificate(Examination& examination)
      : examination_(examination),
        values_{{"certificate", shown_source(examination.certificate)}} {}

  void run() {
    if (!load()) return;
    X509* const own = all_.front().get();
    values_["subject"] = transport::subject_of(own);
    values_["evidence"] = transport::dates_of(own);
    check_key();
    check_time(own);
    check_purpose(own);
    check_strength(own);
    if (!examination_.is_silenced(Probe::kTls, kNoBackend))
      examination_.passed("certificate " + values_["subject"]);
  }

 private:
  // Of the key's backend where it has one: what silences the key silences this.
  void add(const char* id) { examination_.add(id, values_, kNoBackend); }

  bool load() {
    try {
      if (!is_key_uri(examination_.certificate)) require_file(examination_.certificate);
      all_ = is_key_uri(examination_.certificate)
                 ? from_token()
                 : x509::parse_certificates(read_file(examination_.certificate, kMostBytes),
                                            examination_.certificate,
                                            examination_.invocation().software().get());
    } catch (const core::Error& error) {
      values_["evidence"] = error.what();
      add("certificate-unusable");
    }
    return !all_.empty();
  }

  Certificates from_token() {
    Certificates found;
    examination_.begins_at_device("looking for " + values_["certificate"], examination_.key_scope);
    const auto objects = examination_.invocation().router_without_login().open(
        core::KeyUri::parse(examination_.certificate), core::Wanted{false, false, true}, nullptr,
        core::Router::Origin::kProgram);
    for (const core::Object& object : objects) {
      Certificate certificate =
          core::parse_certificate(examination_.invocation().software(), object.certificate);
      if (certificate) found.push_back(std::move(certificate));
    }
    if (found.empty())
      throw core::Error(core::Reason::kNoObject,
                        values_["certificate"] + ": there is no certificate");
    return found;
  }

  // The key as it was opened before; of an ordinary file here.
  EVP_PKEY* private_key() {
    if (examination_.private_key()) return examination_.private_key();
    if (examination_.key.empty() || is_key_uri(examination_.key)) return nullptr;
    const core::ErrorMark mark;
    const core::Bio in(BIO_new_file(examination_.key.c_str(), "r"));
    if (!in) return nullptr;
    software_key_.reset(
        PEM_read_bio_PrivateKey_ex(in.get(), nullptr, &attest::no_passphrase, nullptr,
                                   examination_.invocation().software().get(), nullptr));
    return software_key_.get();
  }

  void check_key() {
    EVP_PKEY* const key = private_key();
    if (key == nullptr) return;
    const core::ErrorMark mark;
    const auto fits = [key](const Certificate& certificate) {
      const EVP_PKEY* const own = X509_get0_pubkey(certificate.get());
      return own != nullptr && EVP_PKEY_eq(own, key) == 1;
    };
    const auto found = std::ranges::find_if(all_, fits);
    if (found == all_.begin()) return;
    values_["key"] = shown_source(examination_.key);
    values_["evidence"] = "its first certificate is " + values_["subject"] + ", serial " +
                          transport::serial_of(all_.front().get());
    add(found == all_.end() ? "certificate-of-other-key" : "certificate-not-first");
  }

  void check_time(const X509* own) {
    const std::string clock = clock_fault(std::time(nullptr));
    const transport::Validity validity = transport::validity_of(own);
    values_["evidence"] = transport::dates_of(own);
    if (!clock.empty()) {
      values_["evidence"] = clock;
      add("clock-wrong");
    } else if (validity == transport::Validity::not_yet) {
      add("certificate-not-yet-valid");
    } else if (validity == transport::Validity::expired) {
      add("certificate-expired");
    }
    for (std::size_t at = 1; at < all_.size(); ++at) {
      if (transport::validity_of(all_[at].get()) != transport::Validity::expired) continue;
      values_["subject"] = transport::subject_of(all_[at].get());
      values_["evidence"] = transport::dates_of(all_[at].get());
      add("certificate-expired");
      return;
    }
  }

  void check_purpose(X509* own) {
    if (X509_check_purpose(own, X509_PURPOSE_SSL_CLIENT, 0) == 1) return;
    const std::uint32_t extended = X509_get_extended_key_usage(own);
    const std::uint32_t usage = X509_get_key_usage(own);
    std::string what;
    if (extended != UINT32_MAX && (extended & XKU_SSL_CLIENT) == 0)
      what = (extended & XKU_SSL_SERVER) != 0
                 ? "its extended key usage is serverAuth, and not clientAuth"
                 : "its extended key usage has no clientAuth";
    else if (usage != UINT32_MAX && (usage & KU_DIGITAL_SIGNATURE) == 0)
      what = "its key usage has no digitalSignature";
    values_["evidence"] = what.empty() ? "its extensions do not allow it" : what;
    add("certificate-not-for-clients");
  }

  // As libssl sees it: Paho C sets level 1 where device.conf's MQTT is meant.
  void check_strength(X509* own) {
    const core::ErrorMark mark;
    const SslContext context(
        SSL_CTX_new_ex(examination_.invocation().software().get(), nullptr, TLS_client_method()));
    if (!context) return;
    if (examination_.device) SSL_CTX_set_security_level(context.get(), 1);
    ERR_clear_error();
    if (SSL_CTX_use_certificate(context.get(), own) == 1) return;
    const unsigned long error = ERR_peek_last_error();
    const int reason = ERR_GET_REASON(error);
    if (ERR_GET_LIB(error) != ERR_LIB_SSL ||
        (reason != SSL_R_EE_KEY_TOO_SMALL && reason != SSL_R_CA_MD_TOO_WEAK &&
         reason != SSL_R_CA_KEY_TOO_SMALL))
      return;
    const char* const text = ERR_reason_error_string(error);
    values_["evidence"] =
        std::string(text != nullptr ? text : "too weak") + " for security level " +
        std::to_string(SSL_CTX_get_security_level(context.get())) + "; its key has " +
        std::to_string(EVP_PKEY_get_bits(X509_get0_pubkey(own))) + " bits, its signature is " +
        OBJ_nid2sn(X509_get_signature_nid(own));
    add("certificate-weak");
  }

  Examination& examination_;
  Values values_;
  Certificates all_;
  core::EvpPkey software_key_;
};

}  // namespace

void probe_certificate(Examination& examination) {
  if (examination.certificate.empty()) return;
  if (examination.is_silenced(Probe::kCertificate, kNoBackend)) return;
  const bool is_on_token = is_key_uri(examination.certificate);
  if (is_on_token && examination.is_silenced(Probe::kCertificate, examination.key_scope)) return;
  OwnCertificate(examination).run();
}

void probe_trust(Examination& examination) {
  if (examination.authority.empty() || examination.is_silenced(Probe::kTrust, kNoBackend)) return;
  Values values = {{"authority", examination.authority}};
  try {
    require_file(examination.authority);
    const Certificates all =
        x509::parse_certificates(read_file(examination.authority, kMostBytes),
                                 examination.authority, examination.invocation().software().get());
    const auto is_ca = [](const Certificate& certificate) {
      return X509_check_ca(certificate.get()) != 0 || X509_self_signed(certificate.get(), 0) == 1;
    };
    const auto is_good = [&is_ca](const Certificate& certificate) {
      return is_ca(certificate) &&
             transport::validity_of(certificate.get()) == transport::Validity::valid;
    };
    values["evidence"] =
        transport::subject_of(all.front().get()) + ", " + transport::dates_of(all.front().get());
    if (std::ranges::none_of(all, is_ca))
      examination.add("ca-is-none", std::move(values), kNoBackend);
    else if (std::ranges::none_of(all, is_good))
      examination.add("ca-expired", std::move(values), kNoBackend);
  } catch (const core::Error& error) {
    values["evidence"] = error.what();
    examination.add("ca-unusable", std::move(values), kNoBackend);
  }
}

}  // namespace hwid::tool::doctor
