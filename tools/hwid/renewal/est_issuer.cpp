#include "tools/hwid/renewal/est_issuer.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "provider/core/audit.h"
#include "provider/core/error.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/renewal/audited_step.h"
#include "tools/hwid/x509/alt_names.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"
#include "tools/hwid/x509/request.h"
#include "transport/certificate_text.h"
#include "transport/cloud/est_anchors.h"
#include "transport/durable_file.h"

namespace hwid::tool::renewal {
namespace {

namespace est = transport::est;
using Generation = transport::CredentialStore::Generation;
using transport::X509Ptr;

constexpr const char* kBackend = "est";  // in the audit trail
constexpr const char* kAnchorsFile = "est-ca.pem";
constexpr const char* kRequestFile = "request.pem";
constexpr const char* kWhat = "keep what the CA said";
constexpr mode_t kMode = 0644;

std::filesystem::path beside(const Generation& generation, const std::string& name) {
  return generation.key.parent_path() / name;
}

// Of a file that the store takes for a leftover where a crash leaves it.
std::filesystem::path temporary(const Generation& generation, const char* name) {
  return beside(generation, std::string(transport::kTemporaryPrefix) + name);
}

class TemporaryFile {
 public:
  TemporaryFile(std::filesystem::path path, const std::string& content) : path_(std::move(path)) {
    transport::write_durably(kWhat, path_, content, kMode);
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

[[noreturn]] void refuse_key(const std::string& url, const std::string& wanted,
                             const std::string& is) {
  throw transport::Error(transport::ErrorKind::refused, "EST csrattrs", url,
                         "the server wants " + wanted + "; this key is " + is,
                         "make such a key with hwid generate --type, and enrol it");
}

// RFC 7030, section 4.5.2: a key that the server does not want would be refused.
void check_key(EVP_PKEY* key, const est::CsrAttributes& wanted, const std::string& url) {
  const std::string is = algorithm_text(key);
  const bool is_type = wanted.key_type.empty() || is.starts_with(wanted.key_type);
  const int nid = OBJ_txt2nid(wanted.group.c_str());
  const char* const nist = nid == NID_undef ? nullptr : EC_curve_nid2nist(nid);
  const std::string group = nist != nullptr ? nist : wanted.group;
  if (!is_type || (!group.empty() && is.starts_with("EC") && is != "EC " + group))
    refuse_key(url, group.empty() ? wanted.key_type + " keys" : "EC " + group + " keys", is);
  if (is.starts_with("RSA") && wanted.rsa_bits > EVP_PKEY_get_bits(key))
    refuse_key(url, "RSA keys of " + std::to_string(wanted.rsa_bits) + " bits", is);
}

std::string der_of(const X509_REQ* request) {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509_REQ(request, &bytes);
  if (size <= 0) throw_crypto_error("i2d_X509_REQ", "enrol anew");
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

// As OpenSSL has it by itself: of no token.
x509::Request parsed(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  x509::Request request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  if (!request) throw_crypto_error("d2i_X509_REQ", "enrol anew");
  return request;
}

// A no to the request itself: not to who asks, when, or how often.
bool is_decision(int status) {
  constexpr std::array<int, 5> kOther = {401, 407, 408, 425, 429};
  return status >= 400 && status < 500 && std::ranges::find(kOther, status) == kOther.end();
}

[[noreturn]] void refuse_issued(const std::string& url, const std::string& why) {
  throw transport::Error(transport::ErrorKind::refused, "EST simplereenroll", url, why,
                         "the certificate that is in use stays; ask the CA's operator, or enrol "
                         "anew under another name: hwid enroll est");
}

std::vector<std::string> alternative_names(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const x509::AltNames names(d2i_GENERAL_NAMES(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  return names ? x509::alt_name_texts(names.get()) : std::vector<std::string>();
}

// Who is renewed stays who it is (RFC 7030, section 4.2.2): brokers know it by its name. A CA may
// add names of its own.
void check_renewed(const Applicant& applicant, const X509* issued, const std::string& url) {
  if (applicant.operation != est::Operation::reenroll) return;
  Applicant now;
  copy_identity(issued, now);
  if (X509_NAME_cmp(now.subject.get(), applicant.subject.get()) != 0)
    refuse_issued(url, "the CA issued for " + x509::name_text(now.subject.get()) + ", not for " +
                           x509::name_text(applicant.subject.get()));
  const auto names = alternative_names(now.extensions.value_of(NID_subject_alt_name));
  for (const std::string& name :
       alternative_names(applicant.extensions.value_of(NID_subject_alt_name)))
    if (std::ranges::find(names, name) == names.end())
      refuse_issued(url, "the CA issued without the alternative name " + name);
  const auto shown = transport::read_certificates(applicant.cert);
  if (!shown.empty() && X509_cmp(shown.front().get(), issued) == 0)
    refuse_issued(url, "the CA answered with the certificate that is to be renewed");
}

std::string operation_name(est::Operation operation) {
  return operation == est::Operation::enroll ? "simpleenroll" : "simplereenroll";
}

}  // namespace

std::string EstIssuer::anchors_of(const Generation& generation) {
  const std::string file = beside(generation, kAnchorsFile).string();
  return file_exists(file) ? file : "";
}

std::string EstIssuer::request_of(const Generation& generation) {
  const std::string file = beside(generation, kRequestFile).string();
  return file_exists(file) ? file : "";
}

est::Access EstIssuer::access_of(const Applicant& applicant, const Trust& trust) const {
  est::Access access;
  access.url = config_.est_url;
  access.ca_file = trust.ca_file.empty() ? config_.ca_file : trust.ca_file;
  access.ca_path = trust.ca_file.empty() ? config_.ca_path : "";
  access.cert = applicant.cert;
  access.key = applicant.key;
  access.user = applicant.user;
  access.password = applicant.password;
  return access;
}

// RFC 7030, section 4.1.1: what an unproved server offers counts where it is what we know already.
std::string EstIssuer::pinned_anchor(const std::string& fingerprint) const {
  est::Access anybody;
  anybody.url = config_.est_url;
  est::Client client(config_, anybody);
  const auto offered = client.unproved_ca_certificates();
  return est::pem_of(
      est::pinned_anchor(offered, fingerprint, client.server_certificate(), client.url()));
}

// What was learned has the place of ca-file: advice to give that would be none.
std::vector<X509Ptr> EstIssuer::authorities_of(est::Client& client, const Trust& trust) const {
  try {
    return client.ca_certificates();
  } catch (const transport::Error& error) {
    const bool is_about_anchors =
        std::string_view(error.what()).find("ca-file") != std::string::npos;
    if (!trust.is_learned || !is_about_anchors) throw;
    throw transport::Error(transport::ErrorKind::environment, "EST cacerts", client.url(),
                           "the server is not proved by " + trust.ca_file +
                               ", which is what the CA said of itself before",
                           "if its operator says that the CA was replaced: hwid enroll est "
                           "--fingerprint HEX or --ca-file FILE");
  }
}

// What cacerts says takes the place of what was believed before (RFC 7030, section 4.1.3), where
// the server is still proved by it: its own certificate may be of another CA than those it issues.
void EstIssuer::keep_anchors(const Generation& generation, const std::vector<X509Ptr>& authorities,
                             const est::Access& proved) const {
  const std::filesystem::path file = beside(generation, kAnchorsFile);
  const auto anchors = est::anchors_in(authorities);
  const auto before = transport::read_certificates(proved.ca_file);
  std::string kept = est::pem_of(anchors);
  if (!est::same_certificates(anchors, before)) {
    const TemporaryFile tried(temporary(generation, "anchors.pem"), kept);
    est::Access access;
    access.url = proved.url;
    access.ca_file = tried.path();
    access.cert = proved.cert;  // it may let nobody else in
    access.key = proved.key;
    try {
      (void)est::Client(config_, access).ca_certificates();
    } catch (const transport::Error&) {
      if (proved.ca_file == config_.ca_file) return;  // as device.conf says, from now on as well
      kept = est::pem_of(before);
    }
  }
  transport::write_durably(kWhat, file, kept, kMode);
}

std::string EstIssuer::request_for(const Generation& generation, const Applicant& applicant,
                                   const std::optional<est::CsrAttributes>& wanted,
                                   const std::string& binding, bool pending) {
  OSSL_LIB_CTX* const crypto = invocation_.crypto();
  const std::string sent = request_of(generation);
  if (pending && binding.empty() && !sent.empty()) {
    Applicant before;
    copy_identity(sent, before);
    if (is_same_identity(before, applicant))
      return der_of(x509::parse_request(read_file(sent), sent, crypto).get());
  }
  const core::EvpPkey key = open_private_key(invocation_, generation.key.string());
  if (wanted) check_key(key.get(), *wanted, config_.est_url);
  const x509::SignatureForm form =
      x509::signature_form(key.get(), wanted ? wanted->digest : "", false, crypto);
  x509::RequestContent content{applicant.subject.get()};
  content.others = &applicant.extensions;
  content.challenge_password = binding;
  const std::string pem = x509::make_request(content, key.get(), form, crypto);
  const std::string file = beside(generation, kRequestFile).string();
  transport::write_durably(kWhat, file, pem, kMode);
  const x509::Request request = x509::parse_request(pem, file, crypto);
  return der_of(request.get());
}

std::vector<X509Ptr> EstIssuer::ask(est::Client& client, const Applicant& applicant,
                                    const std::string& request, std::optional<Later>& later,
                                    bool& pending) {
  const std::string name = operation_name(applicant.operation);
  const AuditedStep step(invocation_, store_, kBackend);
  try {
    est::Answer answer = client.ask(applicant.operation, request);
    if (answer.certificates.empty()) {
      later = Later{answer.retry_after, answer.words, answer.pending};
      pending = pending || answer.pending;
      step.record(name, answer.pending ? "pending" : "busy");
    }
    return std::move(answer.certificates);
  } catch (const transport::Error& error) {
    step.record_failure(name, error);
    if (is_decision(error.status())) pending = false;
    throw;
  }
}

std::optional<EstIssuer::Later> EstIssuer::obtain(const Generation& generation,
                                                  const Applicant& applicant, const Trust& trust,
                                                  bool& pending) {
  const std::string asked = operation_name(applicant.operation);
  const AuditedStep step(invocation_, store_, kBackend);
  Trust proof = trust;
  std::optional<TemporaryFile> pinned;
  if (!trust.fingerprint.empty()) {
    pinned.emplace(temporary(generation, "pinned.pem"),
                   step.watch("cacerts", [&] { return pinned_anchor(trust.fingerprint); }));
    proof.ca_file = pinned->path();
  }
  const est::Access access = access_of(applicant, proof);
  est::Client client(config_, access);
  const auto authorities = step.watch("cacerts", [&] { return authorities_of(client, trust); });
  keep_anchors(generation, authorities, access);
  const auto wanted = step.watch("csrattrs", [&] { return client.csr_attributes(); });
  const std::string der = request_for(generation, applicant, wanted, client.binding(), pending);
  std::optional<Later> later;
  const auto answer = ask(client, applicant, der, later, pending);
  if (later) return later;
  const x509::Request request = parsed(der);
  const est::Issued issued = step.watch(asked, [&] {
    est::Issued judged =
        est::judge_issued(answer, X509_REQ_get0_pubkey(request.get()), authorities, client.url());
    check_renewed(applicant, judged.certificate.get(), client.url());
    return judged;
  });
  store_.keep_certificate(generation.number, est::pem_of(issued));
  step.record(asked + " serial " + transport::serial_of(issued.certificate.get()),
              core::audit_field::kOk);
  pending = false;
  std::error_code ignored;
  std::filesystem::remove(beside(generation, kRequestFile), ignored);
  return std::nullopt;
}

void EstIssuer::connect_with(const Generation& generation) {
  Applicant applicant;
  applicant.cert = generation.cert.string();
  applicant.key = generation.key.string();
  (void)est::Client(config_, access_of(applicant, {"", anchors_of(generation), true}))
      .ca_certificates();
}

bool is_same_identity(const Applicant& one, const Applicant& other) {
  return X509_NAME_cmp(one.subject.get(), other.subject.get()) == 0 &&
         one.extensions.value_of(NID_subject_alt_name) ==
             other.extensions.value_of(NID_subject_alt_name);
}

void copy_identity(const X509* certificate, Applicant& applicant) {
  applicant.subject = x509::made(x509::Name(X509_NAME_dup(X509_get_subject_name(certificate))));
  const int at = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
  if (at >= 0) applicant.extensions.add_copy(X509_get_ext(certificate, at));
}

void copy_identity(const std::string& request_file, Applicant& applicant) {
  struct Delete {
    void operator()(STACK_OF(X509_EXTENSION) * list) const noexcept {
      sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    }
  };
  const x509::Request request = x509::parse_request(read_file(request_file), request_file, nullptr);
  applicant.subject =
      x509::made(x509::Name(X509_NAME_dup(X509_REQ_get_subject_name(request.get()))));
  const std::unique_ptr<STACK_OF(X509_EXTENSION), Delete> wanted(
      X509_REQ_get_extensions(request.get()));
  for (int at = 0; at < sk_X509_EXTENSION_num(wanted.get()); ++at)
    applicant.extensions.add_copy(sk_X509_EXTENSION_value(wanted.get(), at));
  ERR_clear_error();
}

}  // namespace hwid::tool::renewal
