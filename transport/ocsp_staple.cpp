#include "transport/ocsp_staple.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::transport {

namespace {

constexpr long kClockSkew = 300;
constexpr long kLongestWithoutEnd = 24L * 3600;  // a response that does not say how long it holds
constexpr long kStatusRequest = 5;               // the TLS extension (RFC 6066)

using ResponsePtr = std::unique_ptr<OCSP_RESPONSE, OpensslDelete<OCSP_RESPONSE_free>>;
using BasicPtr = std::unique_ptr<OCSP_BASICRESP, OpensslDelete<OCSP_BASICRESP_free>>;
using CertIdPtr = std::unique_ptr<OCSP_CERTID, OpensslDelete<OCSP_CERTID_free>>;

StapleVerdict unknown(const std::string& why) { return {StapleVerdict::unknown, why}; }

bool demands_staple(const X509* certificate) {
  const std::unique_ptr<TLS_FEATURE, OpensslDelete<TLS_FEATURE_free>> features(
      static_cast<TLS_FEATURE*>(X509_get_ext_d2i(certificate, NID_tlsfeature, nullptr, nullptr)));
  ERR_clear_error();
  for (int i = 0; i < sk_ASN1_INTEGER_num(features.get()); ++i)
    if (ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features.get(), i)) == kStatusRequest) return true;
  return false;
}

std::string time_text(const ASN1_GENERALIZEDTIME* time) {
  std::tm fields{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &fields) != 1) return "(no time)";
  return utc_text(fields);
}

// The responder chooses the digest of the certificate's id.
bool is_about(const OCSP_SINGLERESP* single, const X509* certificate, const X509* issuer) {
  const OCSP_CERTID* id = OCSP_SINGLERESP_get0_id(single);
  ASN1_OBJECT* digest = nullptr;
  OCSP_id_get0_info(nullptr, &digest, nullptr, nullptr, const_cast<OCSP_CERTID*>(id));
  const EVP_MD* md = EVP_get_digestbyobj(digest);
  if (md == nullptr) return false;
  const CertIdPtr ours(OCSP_cert_to_id(md, certificate, issuer));
  return ours && OCSP_id_cmp(id, ours.get()) == 0;
}

StapleVerdict judge_single(OCSP_SINGLERESP* single) {
  int reason = -1;
  ASN1_GENERALIZEDTIME* revoked_at = nullptr;
  ASN1_GENERALIZEDTIME* from = nullptr;
  ASN1_GENERALIZEDTIME* until = nullptr;
  const int status = OCSP_single_get0_status(single, &reason, &revoked_at, &from, &until);
  if (status == V_OCSP_CERTSTATUS_REVOKED)
    return {StapleVerdict::revoked,
            "it was revoked at " + time_text(revoked_at) +
                (reason < 0 ? "" : std::string(", ") + OCSP_crl_reason_str(reason))};
  if (status != V_OCSP_CERTSTATUS_GOOD)
    return unknown("the responder does not know the certificate");
  const long longest = until == nullptr ? kLongestWithoutEnd : -1;
  if (OCSP_check_validity(from, until, kClockSkew, longest) != 1) {
    ERR_clear_error();
    return unknown("the stapled response is of " + time_text(from) + " and holds until " +
                   (until == nullptr ? "a day after" : time_text(until)) + "; the clock says " +
                   utc_text(std::time(nullptr)));
  }
  return {};
}

StapleVerdict judge_response(SSL* ssl, X509_STORE* trusted, const OCSP_RESPONSE* response) {
  const int status = OCSP_response_status(const_cast<OCSP_RESPONSE*>(response));
  if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return unknown(std::string("the responder answered ") + OCSP_response_status_str(status));
  STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  const BasicPtr basic(OCSP_response_get1_basic(const_cast<OCSP_RESPONSE*>(response)));
  if (!basic || sk_X509_num(chain) < 1) return unknown("the stapled response is not readable");
  ERR_clear_error();
  if (OCSP_basic_verify(basic.get(), chain, trusted, 0) != 1)
    return unknown("nobody who may has signed the stapled response: " + take_openssl_errors());
  const X509* certificate = sk_X509_value(chain, 0);
  const X509* issuer = sk_X509_value(chain, sk_X509_num(chain) > 1 ? 1 : 0);
  for (int i = 0; i < OCSP_resp_count(basic.get()); ++i)
    if (OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), i);
        is_about(single, certificate, issuer))
      return judge_single(single);
  return unknown("the stapled response is about another certificate");
}

}  // namespace

StapleVerdict judge_staple(SSL* ssl, X509_STORE* trusted, Ocsp wanted) {
  if (wanted == Ocsp::no) return {};
  const unsigned char* bytes = nullptr;
  const long size = SSL_get_tlsext_status_ocsp_resp(ssl, &bytes);
  if (bytes == nullptr || size <= 0) {
    const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
    if (wanted == Ocsp::require) return unknown("the server stapled no OCSP response");
    if (certificate && demands_staple(certificate.get()))
      return unknown("the server stapled no OCSP response, and its certificate demands one");
    return {};
  }
  const ResponsePtr response(d2i_OCSP_RESPONSE(nullptr, &bytes, size));
  if (!response) {
    ERR_clear_error();
    return unknown("the stapled response is not readable");
  }
  return judge_response(ssl, trusted, response.get());
}

Ocsp ocsp_of(const DeviceConfig& config) {
  if (config.ocsp == "require") return Ocsp::require;
  return config.ocsp == "staple" ? Ocsp::staple : Ocsp::no;
}

}  // namespace hwid::transport
