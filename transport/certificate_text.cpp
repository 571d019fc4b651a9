#include "transport/certificate_text.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "transport/utc_time.h"

namespace hwid::transport {

namespace {

constexpr std::size_t kLongestText = 300;
constexpr int kMostNames = 10;

std::string printable(std::string text) {
  if (text.size() > kLongestText) text = text.substr(0, kLongestText) + "...";
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~') c = '?';
  return text;
}

std::string name_text(const X509_NAME* name) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || name == nullptr || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0)
    return "(no name)";
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  if (size <= 0) return "(empty name)";
  return printable({bytes, static_cast<std::size_t>(size)});
}

std::string string_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string time_text(const ASN1_TIME* time) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return "(no time)";
  return utc_text(fields);
}

std::string address_text(const ASN1_OCTET_STRING* address) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (ASN1_STRING_length(address) != 4 && ASN1_STRING_length(address) != 16) return "?";
  ::inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof text);
  return text;
}

}  // namespace

std::string utc_text(std::time_t time) {
  std::tm fields{};
  return ::gmtime_r(&time, &fields) == nullptr ? "(no time)" : utc_text(fields);
}

std::string utc_text(const std::tm& fields) {
  char text[40];
  return std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &fields) == 0 ? "(no time)" : text;
}

std::string subject_of(const X509* certificate) {
  return name_text(X509_get_subject_name(certificate));
}

std::string issuer_of(const X509* certificate) {
  return name_text(X509_get_issuer_name(certificate));
}

std::string serial_of(const X509* certificate) {
  const std::unique_ptr<BIGNUM, OpensslDelete<BN_free>> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* const digits = number ? BN_bn2hex(number.get()) : nullptr;
  std::string text = digits == nullptr ? "?" : digits;
  OPENSSL_free(digits);
  return printable(text);
}

std::string name_part(const X509_NAME* name, int nid) {
  const int at = X509_NAME_get_index_by_NID(name, nid, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  std::string part;
  if (size > 0) part.assign(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  ERR_clear_error();
  return part;
}

std::string dates_of(const X509* certificate) {
  return "valid from " + time_text(X509_get0_notBefore(certificate)) + " to " +
         time_text(X509_get0_notAfter(certificate)) + "; the clock says " +
         utc_text(std::time(nullptr));
}

std::string names_of(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, OpensslDelete<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  std::string text;
  int shown = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    if (++shown > kMostNames) return printable(text) + " and more";
    text += (text.empty() ? "" : ", ");
    text += name->type == GEN_DNS ? "DNS:" + string_of(name->d.dNSName)
                                  : "IP:" + address_text(name->d.iPAddress);
  }
  return text.empty() ? "no name but its subject " + subject_of(certificate) : printable(text);
}

Validity validity_of(const X509* certificate) {
  const std::time_t now = std::time(nullptr);
  if (ASN1_TIME_cmp_time_t(X509_get0_notBefore(certificate), now) == 1) return Validity::not_yet;
  const int end = ASN1_TIME_cmp_time_t(X509_get0_notAfter(certificate), now);
  if (end == -1 || end == 0) return Validity::expired;  // as X509_verify_cert() counts; -2: no time
  return Validity::valid;
}

std::vector<X509Ptr> read_certificates(const std::string& file) {
  std::vector<X509Ptr> found;
  const BioPtr in(BIO_new_file(file.c_str(), "r"));
  while (in) {
    X509Ptr certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    found.push_back(std::move(certificate));
  }
  ERR_clear_error();
  return found;
}

}  // namespace hwid::transport
