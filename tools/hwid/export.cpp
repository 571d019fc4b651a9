// hwid export: certificates and public keys out of a token. Private keys stay.
#include <openssl/err.h>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/stored_certificates.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Object;
using core::ObjectClass;
using core::Reason;
using core::Wanted;

constexpr Wanted kPublicKeys{false, true, false};

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("public", po::bool_switch(), "the public key instead of the certificate");
  add("private", po::bool_switch(), "refused: a private key stays on its token");
  add("der", po::bool_switch(), "DER instead of PEM; the URI must then mean one object");
  add_delivery_options(options);
}

std::vector<Object> found(Invocation& invocation, const KeyUri& uri, const Wanted& wanted) {
  return invocation.router().open(uri, wanted, Invocation::prompt(),
                                  core::Router::Origin::kProgram);
}

[[noreturn]] void refuse_private(const std::string& what) {
  throw Error(Reason::kPrivateStays,
              what +
                  ": a private key does not leave its token; --public gives its public half, and "
                  "`hwid ref` a file that programs take for the key");
}

// One of them, where the form holds one.
template <typename Objects>
void require_one(const Objects& objects, const KeyUri& uri) {
  if (objects.size() > 1)
    throw Error(Reason::kSeveralObjects,
                uri.text() + ": " + std::to_string(objects.size()) +
                    " objects, and a DER file holds one; name one by object= or id=");
}

Product certificate_product(Invocation& invocation, const KeyUri& uri) {
  const std::vector<x509::Certificate> all = stored_certificates(invocation, uri);
  const bool as_der = invocation.flag("der");
  if (as_der) require_one(all, uri);
  Product product;
  Json subjects = Json::array();
  Json ends = Json::array();
  for (const x509::Certificate& certificate : all) {
    product.content += as_der ? x509::der(certificate.get()) : x509::pem(certificate.get());
    subjects.push_back(x509::name_text(X509_get_subject_name(certificate.get())));
    ends.push_back(x509::time_text(X509_get0_notAfter(certificate.get())));
  }
  product.title = all.size() == 1 ? "Certificate" : "Certificates";
  product.facts = {{"kind", "certificate"}, {"subjects", subjects}, {"not_after", ends}};
  return product;
}

std::string public_der(EVP_PKEY* key) {
  unsigned char* bytes = nullptr;
  ERR_clear_error();
  const int size = i2d_PUBKEY(key, &bytes);
  if (size <= 0) throw_crypto_error("i2d_PUBKEY", "use PEM");
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

Product public_product(Invocation& invocation, const KeyUri& uri) {
  const std::vector<Object> all = found(invocation, uri, kPublicKeys);
  if (all.empty())
    throw Error(Reason::kNoObject,
                uri.text() + ": there is no public key; `hwid list` shows what is there");
  const bool as_der = invocation.flag("der");
  if (as_der) require_one(all, uri);
  Product product;
  Json algorithms = Json::array();
  for (const Object& object : all) {
    EVP_PKEY* const key = object.public_key->pkey();
    product.content += as_der ? public_der(key) : public_key_pem(key);
    algorithms.push_back(algorithm_text(key));
  }
  product.title = all.size() == 1 ? "Public key" : "Public keys";
  product.facts = {{"kind", "public key"}, {"algorithms", algorithms}};
  return product;
}

Exit run(Invocation& invocation) {
  const std::string& source = invocation.arguments()[0];
  if (!is_key_uri(source))
    throw UsageError("\"" + without_query(source) +
                     "\" is no key URI: pkcs11:, tpm2:, handle: or hwid:NAME is expected");
  const KeyUri uri = invocation.parse(source);
  const bool wants_public = invocation.flag("public");
  const bool asks_private = invocation.flag("private") || uri.type() == ObjectClass::kPrivateKey;
  if (asks_private && !wants_public) refuse_private(uri.text());
  if (invocation.flag("private")) throw UsageError("--public and --private: one of them");
  check_delivery(invocation);
  Product product =
      wants_public ? public_product(invocation, uri) : certificate_product(invocation, uri);
  product.binary = invocation.flag("der");
  product.key = product.binary ? "der" : "pem";
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kExport = {
    "export",
    "URI [--public] [--der] [--out FILE]",
    "certificates and public keys out of a token",
    "Prints the certificate that URI means, or that is beside the key that it means; several if "
    "it\n"
    "means several. With --public the public key. Private keys stay on their token.",
    "  hwid export hwid:device --out device.pem\n"
    "  hwid export 'pkcs11:token=line-7;type=cert'\n"
    "  hwid export tpm2:nv=0x1c00002 --out ek.pem\n"
    "  hwid export --public tpm2:handle=0x81000002 --der --out gateway.der\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
