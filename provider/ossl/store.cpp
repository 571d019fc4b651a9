#include "provider/ossl/store.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include <array>

#include "provider/ossl/key_object.h"

namespace hwid::ossl::store {
namespace {

using core::Object;
using core::ObjectClass;

// With what the token says of it, in OpenSSL's own form for that. Throws kLibcrypto.
core::Bytes with_trust(const core::Libcrypto& crypto, const Object& object) {
  const core::Certificate certificate = core::parse_certificate(crypto, object.certificate);
  if (!certificate) return object.certificate;  // nor can OpenSSL read it
  const ASN1_OBJECT* const any = OBJ_nid2obj(NID_anyExtendedKeyUsage);
  const auto add =
      object.trust == core::Trust::kTrusted ? X509_add1_trust_object : X509_add1_reject_object;
  std::uint8_t* der = nullptr;
  const bool is_marked = add(certificate.get(), any) == 1;
  const int size = is_marked ? i2d_X509_AUX(certificate.get(), &der) : -1;
  if (size <= 0)
    throw core::Error(core::Reason::kLibcrypto,
                      object.description.uri + ": the certificate's trust cannot be told: " +
                          core::last_libcrypto_error() + "; free memory and try again");
  core::Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

int emit_certificate(const core::Libcrypto& crypto, const Object& object, OSSL_CALLBACK* callback,
                     void* argument) {
  const bool is_plain = object.trust == core::Trust::kUnsaid;
  const core::Bytes der = is_plain ? object.certificate : with_trust(crypto, object);
  int type = OSSL_OBJECT_CERT;
  const char* const name = is_plain ? PEM_STRING_X509 : PEM_STRING_X509_TRUSTED;
  const std::array<OSSL_PARAM, 4> params{
      OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
      OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, const_cast<char*>(name), 0),
      OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA,
                                        const_cast<std::uint8_t*>(der.data()), der.size()),
      OSSL_PARAM_construct_end()};
  return callback(params.data(), argument);
}

int emit_name(const std::string& name, OSSL_CALLBACK* callback, void* argument) {
  int type = OSSL_OBJECT_NAME;
  const std::string uri = "hwid://" + name;
  const std::array<OSSL_PARAM, 3> params{
      OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
      OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, const_cast<char*>(uri.c_str()), 0),
      OSSL_PARAM_construct_end()};
  return callback(params.data(), argument);
}

}  // namespace

void Loader::search(const core::PinPrompt& prompt) {
  searched_ = true;  // also when it throws: a program that loops until EOF must come to an end
  if (uri_.scheme() == core::KeyUri::Scheme::kName && uri_.name().empty()) {
    names_ = provider_.router().names();
    return;
  }
  core::Wanted wanted;
  const bool keys = !criterion_.is_of_certificates();  // for which nobody need log in
  wanted.private_keys = keys && (expected_ == 0 || expected_ == OSSL_STORE_INFO_PKEY);
  wanted.public_keys = keys && (expected_ == 0 || expected_ == OSSL_STORE_INFO_PUBKEY);
  wanted.certificates = expected_ == 0 || expected_ == OSSL_STORE_INFO_CERT;
  const bool any = wanted.private_keys || wanted.public_keys || wanted.certificates;
  if (!any) return;  // parameters and CRLs are not kept on tokens
  const TokenCall call(provider_);
  const auto open = [&] {
    return provider_.router().open(uri_, wanted, prompt, core::Router::Origin::kProgram);
  };
  const bool for_keys = wanted.private_keys &&
                        uri_.type().value_or(ObjectClass::kPrivateKey) == ObjectClass::kPrivateKey;
  objects_ = for_keys ? audit_.search(&uri_, open) : open();
  std::erase_if(objects_, [this](const Object& object) {
    return !criterion_.admits(provider_.crypto(), object);
  });
}

int Loader::load_next(OSSL_CALLBACK* callback, void* argument, const core::PinPrompt& prompt) {
  failed_ = !searched_;
  if (!searched_) search(prompt);
  failed_ = false;
  if (is_done()) return 1;  // nothing there: 0 would be OSSL_STORE_error
  const std::size_t index = next_++;
  if (index >= objects_.size())
    return emit_name(names_[index - objects_.size()], callback, argument);
  const Object& object = objects_[index];
  if (object.object_class == ObjectClass::kCertificate)
    return emit_certificate(provider_.crypto(), object, callback, argument);
  const int result = emit_key(KeyObject::from_object(provider_, object), callback, argument);
  if (result == 1) audit_.taken(object);
  return result;
}

Loader* open(Provider* provider, const char* uri) {
  return new Loader(*provider, core::KeyUri::parse(uri));
}

int set_ctx_params(Loader* loader, const OSSL_PARAM params[]) {
  loader->criterion().set_params(params);
  const OSSL_PARAM* const expected = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
  int type = 0;
  if (expected != nullptr) {
    if (OSSL_PARAM_get_int(expected, &type) != 1) return 0;
    loader->set_expected(type);
  }
  return 1;
}

const OSSL_PARAM* settable_ctx_params(Provider*) {
  static const OSSL_PARAM kSettable[] = {
      OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, nullptr),
      OSSL_PARAM_octet_string(OSSL_STORE_PARAM_SUBJECT, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_STORE_PARAM_ISSUER, nullptr, 0),
      OSSL_PARAM_BN(OSSL_STORE_PARAM_SERIAL, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_DIGEST, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_STORE_PARAM_FINGERPRINT, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_ALIAS, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, nullptr, 0),
      OSSL_PARAM_END};
  return kSettable;
}

int load(Loader* loader, OSSL_CALLBACK* callback, void* argument,
         OSSL_PASSPHRASE_CALLBACK* pin_callback, void* pin_argument) {
  return loader->load_next(callback, argument, pin_prompt(pin_callback, pin_argument));
}

int eof(Loader* loader) { return loader->at_end() ? 1 : 0; }

int close(Loader* loader) {
  delete loader;
  return 1;
}

}  // namespace hwid::ossl::store
