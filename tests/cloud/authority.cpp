#include "cloud/authority.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

#include <cstdio>
#include <stdexcept>

#include "cloud/cloud.h"

namespace hwid::stand_in {

namespace {

constexpr long kYear = 365L * 24 * 3600;
constexpr int kLeastRsaBits = 2048;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Request = std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)>;

Bio bio_of(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

void check_key(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    if (EVP_PKEY_get_bits(key) < kLeastRsaBits) throw std::runtime_error("RSA below 2048 bits");
    return;
  }
  char group[64] = {};
  std::size_t size = 0;
  if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1)
    for (const char* allowed : {"prime256v1", "P-256", "secp384r1", "P-384", "secp521r1", "P-521"})
      if (std::string(group) == allowed) return;
  throw std::runtime_error("a kind of key that is not taken");
}

}  // namespace

Authority::Authority(const std::string& certificate_file, const std::string& key_file)
    : certificate_(
          PEM_read_bio_X509(bio_of(read_file(certificate_file)).get(), nullptr, nullptr, nullptr),
          X509_free),
      key_(PEM_read_bio_PrivateKey(bio_of(read_file(key_file)).get(), nullptr, nullptr, nullptr),
           EVP_PKEY_free) {
  if (!certificate_ || !key_) throw std::runtime_error("no CA in " + certificate_file);
}

Certificate Authority::sign(const std::string& csr) const {
  const Request request(PEM_read_bio_X509_REQ(bio_of(csr).get(), nullptr, nullptr, nullptr),
                        X509_REQ_free);
  if (!request) throw std::runtime_error("no certificate request in PEM");
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr || X509_REQ_verify(request.get(), key) != 1)
    throw std::runtime_error("the request is not signed by its own key");
  check_key(key);
  unsigned char serial[16];
  RAND_bytes(serial, sizeof serial);
  serial[0] = 0x40 | (serial[0] & 0x3f);  // positive, and no leading zero that DER does not allow
  Certificate made(X509_new(), X509_free);
  ASN1_STRING_set(X509_get_serialNumber(made.get()), serial, sizeof serial);
  X509_set_version(made.get(), X509_VERSION_3);
  X509_set_subject_name(made.get(), X509_REQ_get_subject_name(request.get()));
  X509_set_issuer_name(made.get(), X509_get_subject_name(certificate_.get()));
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), kYear);
  X509_set_pubkey(made.get(), key);
  if (X509_sign(made.get(), key_.get(), EVP_sha256()) == 0)
    throw std::runtime_error("the CA cannot sign");
  return made;
}

std::string pem_of(X509* certificate) {
  const Bio out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(out.get(), certificate);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string fingerprint_of(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  X509_digest(certificate, EVP_sha256(), digest, &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", digest[i]);
    text += digits;
  }
  return text;
}

}  // namespace hwid::stand_in
