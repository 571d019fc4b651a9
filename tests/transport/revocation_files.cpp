#include "revocation_files.h"

#include <openssl/ocsp.h>
#include <openssl/pem.h>

#include <memory>
#include <stdexcept>

#include "openssl_owners.h"

namespace hwid::test {

namespace {

using Time = std::unique_ptr<ASN1_TIME, Delete<ASN1_TIME_free>>;
using Crl = std::unique_ptr<X509_CRL, Delete<X509_CRL_free>>;
using Basic = std::unique_ptr<OCSP_BASICRESP, Delete<OCSP_BASICRESP_free>>;
using Response = std::unique_ptr<OCSP_RESPONSE, Delete<OCSP_RESPONSE_free>>;
using CertId = std::unique_ptr<OCSP_CERTID, Delete<OCSP_CERTID_free>>;

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string("test revocation: ") + what);
}

Cert certificate_of(const std::filesystem::path& directory, const std::string& name) {
  const Bio bio(BIO_new_file((directory / (name + ".pem")).c_str(), "r"));
  Cert certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  require(certificate != nullptr, name.c_str());
  return certificate;
}

Pkey key_of(const std::filesystem::path& directory, const std::string& name) {
  const Bio bio(BIO_new_file((directory / (name + ".key")).c_str(), "r"));
  Pkey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  require(key != nullptr, name.c_str());
  return key;
}

Time time_at(long seconds) { return Time(X509_gmtime_adj(nullptr, seconds)); }

}  // namespace

void append_crl(const std::filesystem::path& directory, const std::string& file,
                const std::string& ca, const std::vector<std::string>& revoked, Period period) {
  const Crl crl(X509_CRL_new());
  const Cert issuer = certificate_of(directory, ca);
  X509_CRL_set_version(crl.get(), 1);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer.get()));
  X509_CRL_set1_lastUpdate(crl.get(), time_at(period.from).get());
  if (period.until != 0) X509_CRL_set1_nextUpdate(crl.get(), time_at(period.until).get());
  for (const auto& name : revoked) {
    const Cert certificate = certificate_of(directory, name);
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get()));
    X509_REVOKED_set_revocationDate(entry, time_at(period.from).get());
    require(X509_CRL_add0_revoked(crl.get(), entry) == 1, "CRL entry");
  }
  const Bio out(BIO_new_file((directory / file).c_str(), "a"));
  require(X509_CRL_sign(crl.get(), key_of(directory, ca).get(), EVP_sha256()) > 0 &&
              PEM_write_bio_X509_CRL(out.get(), crl.get()) == 1,
          "CRL");
}

void write_ocsp_response(const std::filesystem::path& directory, const std::string& file,
                         const std::string& ca, const std::string& signer, const std::string& about,
                         OcspStatus status, Period period) {
  const Basic basic(OCSP_BASICRESP_new());
  const Cert issuer = certificate_of(directory, ca);
  const Cert responder = certificate_of(directory, signer);
  const CertId id(
      OCSP_cert_to_id(EVP_sha256(), certificate_of(directory, about).get(), issuer.get()));
  const Time from = time_at(period.from);
  const Time until = time_at(period.until);
  const int number = status == OcspStatus::good      ? V_OCSP_CERTSTATUS_GOOD
                     : status == OcspStatus::revoked ? V_OCSP_CERTSTATUS_REVOKED
                                                     : V_OCSP_CERTSTATUS_UNKNOWN;
  require(OCSP_basic_add1_status(basic.get(), id.get(), number, OCSP_REVOKED_STATUS_KEYCOMPROMISE,
                                 status == OcspStatus::revoked ? from.get() : nullptr, from.get(),
                                 period.until == 0 ? nullptr : until.get()) != nullptr &&
              OCSP_basic_sign(basic.get(), responder.get(), key_of(directory, signer).get(),
                              EVP_sha256(), nullptr, 0) == 1,
          "OCSP response");
  const Response response(OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.get()));
  const Bio out(BIO_new_file((directory / file).c_str(), "w"));
  require(response && out && i2d_OCSP_RESPONSE_bio(out.get(), response.get()) == 1, "write");
}

}  // namespace hwid::test
