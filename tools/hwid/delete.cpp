// hwid delete: destroys a key pair, a certificate, or another object, for good.
#include <algorithm>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/holdings.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

using core::ObjectClass;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("certificate", po::bool_switch(), "the certificate as well as the key pair");
  add("other", po::bool_switch(),
      "an object that is no key pair: data, secret keys, storage keys, NV data");
  add("owner-auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of the TPM's owner hierarchy is, as with --pin-source");
  add("yes,y", po::bool_switch(), "do not ask");
}

core::Removal removal(Invocation& invocation, const core::KeyUri& uri) {
  core::Removal what;
  const auto type = uri.type();
  what.private_key = type ? type == ObjectClass::kPrivateKey : !invocation.flag("other");
  what.public_key = what.private_key || type == ObjectClass::kPublicKey;
  // An NV index that is named is its certificate.
  what.certificate =
      invocation.flag("certificate") || type == ObjectClass::kCertificate || uri.nv();
  what.other = invocation.flag("other");
  what.owner_auth = invocation.secret("owner-auth-source");
  return what;
}

std::string class_text(const core::Object& object) {
  if (object.object_class == ObjectClass::kOther)
    return object.description.traits.empty() ? "object" : object.description.traits;
  std::string text = class_name(object.object_class);
  std::ranges::replace(text, '-', ' ');
  return text;
}

// Shows what the URI names, and asks. The login stays as long as `objects`, so a PIN is asked for
// once.
bool is_wanted(Invocation& invocation, const core::KeyUri& uri, const core::Removal& what,
               std::vector<core::Object>& objects) {
  constexpr core::Wanted kEverything{true, true, true, true};
  objects = invocation.router().open(uri, kEverything, Invocation::prompt(),
                                     core::Router::Origin::kProgram);
  for (const core::Object& object : objects)
    Output::note((what.takes(object.object_class) ? "  destroy  " : "  keep     ") +
                 class_text(object) + " " + object.description.label + "  token " +
                 object.description.token + "  " + object.description.uri);
  return Invocation::confirmed("Destroy that, for good?");
}

Exit run(Invocation& invocation) {
  const core::KeyUri uri = invocation.parse(invocation.arguments()[0]);
  const core::Removal what = removal(invocation, uri);
  std::vector<core::Object> seen;
  if (!invocation.flag("yes")) {
    if (!Invocation::has_terminal())
      throw UsageError(uri.text() +
                       ": nothing is deleted: run it at a terminal and answer yes, or give --yes");
    if (!is_wanted(invocation, uri, what, seen)) {
      Output::note("hwid delete: " + uri.text() + ": nothing is deleted");
      return kAnswerIsNo;
    }
  }
  const auto removed = invocation.router().remove(uri, what, Invocation::prompt());
  Json document = {{"deleted", Json::array()}};
  for (const core::Object& object : removed) {
    invocation.out().line("deleted " + class_text(object) + " " +
                          printable(object.description.label) + "  " +
                          printable(object.description.uri));
    document["deleted"].push_back({{"class", class_name(object.object_class)},
                                   {"label", object.description.label},
                                   {"token", object.description.token},
                                   {"uri", object.description.uri}});
  }
  invocation.out().document(document);
  return kGood;
}

}  // namespace

const Command kDelete = {
    "delete",
    "URI",
    "destroy a key pair, a certificate or another object, for good",
    "What the URI names must be there, and be one: two keys of one label are told apart by id=. A\n"
    "private key takes its public half along, but its certificate only with --certificate;\n"
    "type=cert in the URI destroys a certificate alone. In a TPM it is the persistent object that\n"
    "goes, or the NV index with its certificate; the configured parent of other keys stays.",
    "  hwid delete 'pkcs11:token=softhsm2-token;object=old-key'\n"
    "  hwid delete 'pkcs11:token=softhsm2-token;object=device;type=cert' --yes\n"
    "  hwid delete tpm2:handle=0x81000002\n"
    "  hwid delete tpm2:nv=0x1800001\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
