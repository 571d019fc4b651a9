// hwid import: a certificate into a token, beside its key, or into a TPM's NV memory.
#include <openssl/rand.h>

#include "provider/core/error.h"
#include "tools/hwid/beside_key.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/verify/possession.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Object;
using core::Reason;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("force", po::bool_switch(),
      "replace another certificate that stands beside the key, or what else the NV index holds");
  add("owner-auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of the TPM's owner hierarchy is, as with --pin-source");
  add("yes-import-software-key", po::bool_switch(),
      "put the private key in the file onto the token, though it is no better for that: copies of "
      "it may be anywhere");
  add("passphrase-source", po::value<std::string>()->value_name("SOURCE"),
      "where the pass phrase of the private key's file is, as with --pin-source, which is the "
      "token's (default: a question at the terminal)");
}

std::string subject_of(const X509* certificate) {
  return x509::name_text(X509_get_subject_name(certificate));
}

core::Bytes random_id(Invocation& invocation) {
  core::Bytes id(16);
  if (RAND_bytes_ex(invocation.software().get(), id.data(), id.size(), 0) != 1)
    throw Error(Reason::kLibcrypto, "random bytes for a CKA_ID: " + core::last_libcrypto_error());
  return id;
}

// Where the token cannot try it, the message says what is left behind.
bool works_as_stored(Invocation& invocation, const core::Key& key) {
  try {
    const std::optional<bool> works = verify::works(invocation.software(), key);
    if (works) return *works;
    throw Error(Reason::kMechanismMissing,
                key.description().uri + ": the token lets the key do nothing that can be checked");
  } catch (const Error& error) {
    throw Error(error.reason, error.code,
                std::string(error.what()) +
                    " (the key is stored, and could not be tried; take it away with hwid delete)",
                error.where);
  }
}

// What the token made of it must be the same key: its public half is as we stored it, so what the
// private half does is tried.
Object stored_key(Invocation& invocation, const KeyUri& uri, EVP_PKEY* key) {
  const core::Wanted private_keys{true, false, false};
  std::vector<Object> found = invocation.router().open(uri, private_keys, Invocation::prompt(),
                                                       core::Router::Origin::kProgram);
  if (found.size() != 1 || EVP_PKEY_eq(found.front().key->public_key().pkey(), key) != 1 ||
      !works_as_stored(invocation, *found.front().key))
    throw Error(Reason::kKeyChanged,
                uri.text() +
                    ": the token does not have the key that was stored: it shows another one, or "
                    "signs as another one; see the module's own log, and remove it: hwid delete");
  return std::move(found.front());
}

Exit import_key(Invocation& invocation, const KeyUri& uri, const std::string& content,
                const std::string& file) {
  const core::EvpPkey key = software_key_of(invocation, content, file);
  core::KeyImport spec;
  spec.key = key.get();
  spec.id = random_id(invocation);
  invocation.router().store_key(uri, spec, Invocation::prompt());
  const Object stored = stored_key(invocation, uri, key.get());
  const std::string algorithm = algorithm_text(key.get());
  std::string stored_uri = "pkcs11:token=" + core::uri_escape(stored.description.token);
  stored_uri.append(";id=").append(core::uri_escape_id(stored.description.id));
  stored_uri.append(";type=private");
  Output::note("This key was made in software: copies of " + file +
               " are as good as the token. Delete them, and replace the key by one of "
               "`hwid generate` when you can.");
  Output& out = invocation.out();
  out.heading("Software key: stored");
  out.field("key", algorithm);
  out.field("token", stored.description.token);
  out.field("label", stored.description.label);
  out.field("id", core::to_hex(stored.description.id));
  out.field("uri", stored_uri);
  out.document({{"result", "stored"},
                {"key", algorithm},
                {"software_key", true},
                {"token", stored.description.token},
                {"label", stored.description.label},
                {"id", core::to_hex(stored.description.id)},
                {"uri", stored_uri}});
  return kGood;
}

// Certificates that are gone from the token.
Json show_replaced(Invocation& invocation, const std::vector<Object>& replaced) {
  Json list = Json::array();
  for (const Object& object : replaced) {
    const std::string der(object.certificate.begin(), object.certificate.end());
    const x509::Certificate old = std::move(
        x509::parse_certificates(der, object.description.uri, invocation.software().get()).front());
    const std::string subject = subject_of(old.get());
    const std::string serial = x509::serial_text(X509_get0_serialNumber(old.get()));
    const std::string end = x509::time_text(X509_get0_notAfter(old.get()));
    std::string text = subject;
    text.append(", serial ").append(serial).append(", ends ").append(end);
    invocation.out().field("replaced", text);
    list.push_back({{"subject", subject},
                    {"serial", serial},
                    {"not_after", end},
                    {"label", object.description.label}});
  }
  return list;
}

// Where it is found: in a TPM by its own URI, else by its key's id.
std::string place_of(const core::StoredCertificate& stored, const core::KeyDescription& key) {
  if (!stored.uri.empty()) return stored.uri;
  return "pkcs11:token=" + core::uri_escape(key.token) + ";id=" + core::uri_escape_id(key.id) +
         ";type=cert";
}

Exit import_certificate(Invocation& invocation, const KeyUri& uri, const std::string& content,
                        const std::string& file) {
  const BesideKey beside =
      store_certificate(invocation, uri, content, file,
                        {invocation.flag("force"), invocation.secret("owner-auth-source")});
  const core::StoredCertificate& stored = beside.stored;
  const std::string subject = subject_of(beside.certificate.get());
  const std::string end = x509::time_text(X509_get0_notAfter(beside.certificate.get()));
  const std::string stored_uri = place_of(stored, beside.key);
  Output& out = invocation.out();
  Json document = {{"result", result_text(stored.result)},
                   {"subject", subject},
                   {"not_after", end},
                   {"uri", stored_uri}};
  out.heading(std::string("Certificate: ") + result_text(stored.result));
  out.field("subject", subject);
  out.field("ends", end);
  const auto put = [&](const char* name, const std::string& text) {
    if (text.empty() && !stored.uri.empty()) return;  // what a TPM has none of
    out.field(name, text);
    document[name] = text;
  };
  put("token", beside.key.token);
  put("label", beside.key.label);
  put("id", core::to_hex(beside.key.id));
  out.field("uri", stored_uri);
  document["replaced"] = show_replaced(invocation, stored.replaced);
  out.document(document);
  return kGood;
}

Exit run(Invocation& invocation) {
  const std::string& source = invocation.arguments()[0];
  const std::string& file = invocation.arguments()[1];
  if (!is_key_uri(source))
    throw UsageError(
        "\"" + without_query(source) +
        "\" is no key URI: pkcs11:, tpm2: or hwid:NAME is expected, and then the file");
  std::string content = read_file(file);
  const core::Cleansed guard(content);
  const bool takes_key = invocation.flag("yes-import-software-key");
  if (takes_key && invocation.has("owner-auth-source"))
    throw UsageError("--owner-auth-source: it is for certificates in a TPM; no key goes there");
  if (!takes_key && invocation.has("passphrase-source"))
    throw UsageError("--passphrase-source: it is of a private key's file; a certificate has none");
  if (!takes_key) return import_certificate(invocation, invocation.parse(source), content, file);
  return import_key(invocation, invocation.parse(source), content, file);
}

}  // namespace

const Command kImport = {
    "import",
    "URI FILE [--force]",
    "a certificate into a token, beside its key",
    "Puts a certificate (PEM or DER; of a chain the first) beside the private key with the same "
    "public\n"
    "key, under the key's label and identifier. URI means that key, or a token, on which it is "
    "looked\n"
    "for. Another certificate that is there already stays, unless --force replaces it. In a TPM it "
    "goes\n"
    "into NV memory: a free index of the owner's, or with tpm2:nv=INDEX that one, whatever key it "
    "is\n"
    "for. A private key is taken only with --yes-import-software-key: it is no safer than the file "
    "that\n"
    "it was in.",
    "  hwid import hwid:device device.pem\n"
    "  hwid import 'pkcs11:token=line-7' renewed.pem --force\n"
    "  hwid import tpm2:nv=0x1800001 device.pem\n"
    "  hwid import 'pkcs11:token=line-7;object=old' old.key --yes-import-software-key\n",
    2,
    2,
    add_options,
    run};

}  // namespace hwid::tool
