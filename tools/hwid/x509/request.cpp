#include "tools/hwid/x509/request.h"

#include "tools/hwid/crypto_error.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool::x509 {

std::string make_request(const RequestContent& content, EVP_PKEY* key, const SignatureForm& form,
                         OSSL_LIB_CTX* crypto) {
  const Request request = made(Request(X509_REQ_new_ex(crypto, nullptr)));
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_subject_name(request.get(), content.subject) != 1 ||
      X509_REQ_set_pubkey(request.get(), key) != 1)
    throw_crypto_error("X509_REQ_set_pubkey", "see that the key has a public half");
  Extensions extensions;
  extensions.add_alt_names(content.alt_names, false);
  if (content.usage) extensions.add_usage(key, *content.usage);
  if (content.more) content.more(extensions, request.get());
  extensions.copy_into(request.get());
  sign(request.get(), key, form, crypto);
  // A token may hold a public half that is not its private key's.
  if (X509_REQ_verify_ex(request.get(), key, crypto, nullptr) != 1)
    throw_crypto_error("X509_REQ_verify",
                       "the key's public half is not that of its private one: make the key anew");
  return pem(request.get());
}

}  // namespace hwid::tool::x509
