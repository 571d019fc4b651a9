// hwid ref: a file that names a key, for programs that take files only.
#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

void add_options(po::options_description& options) {
  options.add_options()("bundle", po::value<std::string>()->value_name("CERT"),
                        "put the certificates of this file behind it, the key's own first");
  add_delivery_options(options);
}

std::string subject_of(const X509* certificate) {
  return x509::name_text(X509_get_subject_name(certificate));
}

// The key's own certificate, then what signed the one before.
void check_chain(const std::vector<x509::Certificate>& chain, EVP_PKEY* key,
                 const std::string& file) {
  const core::ErrorMark mark;
  for (std::size_t index = 0; index < chain.size(); ++index) {
    const bool of_key = EVP_PKEY_eq(X509_get0_pubkey(chain[index].get()), key) == 1;
    if (of_key && index == 0) continue;
    if (of_key)
      throw Error(Reason::kUnsupported, "file=" + file + ": the key's own certificate (" +
                                            subject_of(chain[index].get()) + ") is number " +
                                            std::to_string(index + 1) +
                                            " in it, and programs want it first; put it there");
    if (index == 0) continue;
    if (X509_check_issued(chain[index].get(), chain[index - 1].get()) != X509_V_OK)
      throw Error(Reason::kUnsupported,
                  "file=" + file + ": certificate " + std::to_string(index + 1) + " (" +
                      subject_of(chain[index].get()) + ") did not issue the one before it (" +
                      subject_of(chain[index - 1].get()) + "); put them in that order");
  }
  if (EVP_PKEY_eq(X509_get0_pubkey(chain.front().get()), key) != 1)
    throw Error(Reason::kUnsupported,
                "file=" + file + ": its first certificate (" + subject_of(chain.front().get()) +
                    ") is not the key's: another public key; name the certificate that was made "
                    "for this key");
}

Exit run(Invocation& invocation) {
  const std::string& source = invocation.arguments()[0];
  check_delivery(invocation);
  const core::EvpPkey key = open_private_key(invocation, source);
  std::string reference = private_key_pem(key.get());
  const core::Cleansed guard(reference);
  if (!is_in_hardware(reference))
    throw Error(Reason::kUnsupported,
                "file=" + source + ": an ordinary key, which needs no reference; use the file");
  Product product;
  product.key = "pem";
  product.title = "Key reference";
  product.content = reference;
  Json subjects = Json::array();
  if (invocation.has("bundle")) {
    const std::string file = invocation.text("bundle");
    const std::vector<x509::Certificate> chain =
        x509::parse_certificates(read_file(file), file, invocation.crypto());
    check_chain(chain, key.get(), file);
    for (const x509::Certificate& certificate : chain) {
      product.content += x509::pem(certificate.get());
      subjects.push_back(subject_of(certificate.get()));
    }
  }
  const bool is_wrapped = reference.find(core::kTss2Label) != std::string::npos;
  product.mode = is_wrapped ? 0600 : 0644;
  product.facts = {{"kind", is_wrapped ? core::kTss2Label : "key reference"},
                   {"key", algorithm_text(key.get())},
                   {"certificates", subjects}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kRef = {
    "ref",
    "URI [--bundle CERT] [--out FILE]",
    "a file that stands for a key, for programs that take files only",
    "Prints a key reference: PEM that names the key and holds neither the key nor a PIN. Programs "
    "that\n"
    "use OpenSSL load it like a key file. A hwid: name stays a name, so that what it leads to can\n"
    "change. With --bundle the certificate and what signed it come behind it, in one file.",
    "  hwid ref hwid:device --out device.key\n"
    "  hwid ref 'pkcs11:token=line-7;object=web' --bundle web-chain.pem --out web.pem\n"
    "  hwid ref tpm2:handle=0x81000002 > gateway.key\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
