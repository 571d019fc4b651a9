#include "tools/hwid/x509/request.h"

#include "tools/hwid/crypto_error.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool::x509 {
namespace {

void add_extensions(const RequestContent& content, EVP_PKEY* key, X509_REQ* request) {
  if (content.others != nullptr) return content.others->copy_into(request);
  Extensions extensions;
  extensions.add_alt_names(content.alt_names, false);
  if (content.usage) extensions.add_usage(key, *content.usage);
  if (content.more) content.more(extensions, request);
  extensions.copy_into(request);
}

void add_challenge_password(const std::string& password, X509_REQ* request) {
  if (password.empty()) return;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(password.data());
  if (X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, MBSTRING_ASC, bytes,
                                static_cast<int>(password.size())) != 1)
    throw_crypto_error("X509_REQ_add1_attr_by_NID: challengePassword",
                       "it must have 1 to 255 characters");
}

}  // namespace

std::string make_request(const RequestContent& content, EVP_PKEY* key, const SignatureForm& form,
                         OSSL_LIB_CTX* crypto) {
  const Request request = made(Request(X509_REQ_new_ex(crypto, nullptr)));
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_subject_name(request.get(), content.subject) != 1 ||
      X509_REQ_set_pubkey(request.get(), key) != 1)
    throw_crypto_error("X509_REQ_set_pubkey", "see that the key has a public half");
  add_extensions(content, key, request.get());
  add_challenge_password(content.challenge_password, request.get());
  sign(request.get(), key, form, crypto);
  // A token may hold a public half that is not its private key's.
  if (X509_REQ_verify_ex(request.get(), key, crypto, nullptr) != 1)
    throw_crypto_error("X509_REQ_verify",
                       "the key's public half is not that of its private one: make the key anew");
  return pem(request.get());
}

}  // namespace hwid::tool::x509
