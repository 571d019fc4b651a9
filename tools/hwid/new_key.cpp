#include "tools/hwid/new_key.h"

#include <openssl/ec.h>
#include <openssl/objects.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {

using core::Algorithm;
using core::Error;
using core::KeyUri;
using core::Reason;

namespace {

struct Type {
  const char* name;
  Algorithm algorithm;
  std::size_t bits;   // RSA
  const char* group;  // EC
};
constexpr Type kTypes[] = {
    {"ec:P-256", Algorithm::kEc, 0, "P-256"},
    {"ec:P-384", Algorithm::kEc, 0, "P-384"},
    {"ec:P-521", Algorithm::kEc, 0, "P-521"},
    {"rsa:2048", Algorithm::kRsa, 2048, ""},
    {"rsa:3072", Algorithm::kRsa, 3072, ""},
    {"rsa:4096", Algorithm::kRsa, 4096, ""},
    {"rsa-pss:2048", Algorithm::kRsaPss, 2048, ""},
    {"rsa-pss:3072", Algorithm::kRsaPss, 3072, ""},
    {"rsa-pss:4096", Algorithm::kRsaPss, 4096, ""},
    {"ed25519", Algorithm::kEd25519, 0, ""},
    {"ed448", Algorithm::kEd448, 0, ""},
    {"x25519", Algorithm::kX25519, 0, ""},
    {"x448", Algorithm::kX448, 0, ""},
};

// Also ec: with the name of any other curve that OpenSSL has, brainpoolP256r1 or secp256k1.
Type type_named(const std::string& name) {
  const auto* const type = std::ranges::find(kTypes, name, &Type::name);
  if (type != std::end(kTypes)) return *type;
  const char* const curve = name.starts_with("ec:") ? name.c_str() + 3 : "";
  int nid = EC_curve_nist2nid(curve);
  if (nid == NID_undef) nid = OBJ_sn2nid(curve);
  const std::unique_ptr<EC_GROUP, core::FreeWith<EC_GROUP_free>> group(
      nid != NID_undef ? EC_GROUP_new_by_curve_name(nid) : nullptr);
  if (group) return {"ec:", Algorithm::kEc, 0, OBJ_nid2sn(nid)};
  std::string all;
  for (const Type& each : kTypes) all.append(all.empty() ? "" : ", ").append(each.name);
  throw UsageError("--type " + name + ": there is no such type; choose one of: " + all +
                   ", or ec: with a curve of `openssl ecparam -list_curves`");
}

std::string query_of(const std::string& uri) {
  const std::size_t at = uri.find('?');
  return at == std::string::npos ? "" : uri.substr(at);
}

// `name` is parsed `uri`: a hwid: name that leads to a file of a TPM's key counts as that.
std::string followed(Invocation& invocation, const std::string& uri, const KeyUri& name) {
  if (name.scheme() != KeyUri::Scheme::kName) return uri;
  const std::string target = invocation.config().resolve(name.name()).value_or("");
  const bool is_path = target.find(':') == std::string::npos || target.starts_with("file:");
  if (is_path) return uri;
  const KeyUri meant = KeyUri::parse(target);
  if (meant.scheme() != KeyUri::Scheme::kName && !meant.names_object())
    throw Error(Reason::kBadConfiguration,
                name.text() + " leads to " + meant.text() +
                    ", which names no key; write object=NAME or handle= there");
  if (!meant.file()) return uri;
  const std::string query = query_of(uri);
  return query.empty() ? target : target.substr(0, target.find('?')) + query;
}

// Another program may be faster: then the next one. A TPM that calls a place free and taken is
// asked no more.
core::Object generate_anywhere(Invocation& invocation, const KeyUri& uri, core::KeySpec spec) {
  for (;;) {
    const auto place = invocation.router().free_place(uri);
    const bool is_same = spec.persistent_at && place == spec.persistent_at;
    spec.persistent_at = place;
    try {
      return invocation.router().generate(uri, spec, Invocation::prompt());
    } catch (const Error& error) {
      if (error.reason != Reason::kExists || is_same) throw;
    }
  }
}

core::Object generate(Invocation& invocation, const NewKeyPlace& place, const core::KeySpec& spec) {
  const KeyUri uri = KeyUri::parse(place.uri);
  if (place.any_handle && place.file.empty()) return generate_anywhere(invocation, uri, spec);
  return invocation.router().generate(uri, spec, Invocation::prompt());
}

}  // namespace

core::KeySpec spec_of_type(const std::string& name) {
  const Type type = type_named(name);
  core::KeySpec spec;
  spec.algorithm = type.algorithm;
  if (type.bits != 0) spec.rsa_bits = type.bits;
  spec.group = type.group;
  return spec;
}

NewKeyPlace place_for_new_key(Invocation& invocation, const std::string& named,
                              const std::string& out) {
  const std::string written = invocation.with_pin_source(named);
  NewKeyPlace place{followed(invocation, written, KeyUri::parse(written)), out};
  const KeyUri uri = KeyUri::parse(place.uri);
  const bool is_tpm = uri.scheme() == KeyUri::Scheme::kTpm2;
  if (uri.file()) {
    if (!place.file.empty())
      throw UsageError("--out: the URI names a file already; leave one of them out");
    place.file = *uri.file();
    place.uri = "tpm2:" + query_of(place.uri);
  } else if (!place.file.empty() && (!is_tpm || uri.names_object())) {
    throw UsageError(
        "--out is for keys that a TPM wraps, which have no other place: give tpm2: "
        "as the URI; a key on a token is named by its URI alone");
  } else if (is_tpm) {
    place.any_handle = !uri.names_object();
  } else if (uri.scheme() == KeyUri::Scheme::kPkcs11 && !uri.names_object()) {
    throw UsageError(uri.text() + ": add the new key's name: object=NAME");
  } else if (uri.object() == "") {
    throw UsageError(uri.text() + ": object= is empty; write the new key's name there");
  } else if (uri.scheme() == KeyUri::Scheme::kName && uri.name().empty()) {
    throw UsageError("hwid: alone names no key; write hwid://NAME, or a pkcs11: or tpm2: URI");
  }
  if (uri.type() && *uri.type() != core::ObjectClass::kPrivateKey)
    throw UsageError(uri.text() + ": a new key is no such object; leave type= out");
  if (!place.file.empty()) require_writable(place.file, Existing::kRefuse);
  return place;
}

core::Object make_new_key(Invocation& invocation, const NewKeyPlace& place,
                          const core::KeySpec& spec) {
  core::Object made = generate(invocation, place, spec);
  if (!place.file.empty()) write_file(place.file, wrapped_pem(*made.key), 0600, Existing::kRefuse);
  return made;
}

// A PKCS#11 key's URI has its id, too: labels need not be alone.
std::string uri_for_use(const NewKeyPlace& place, const core::Object& object) {
  const KeyUri asked = KeyUri::parse(place.uri);
  const core::KeyDescription& key = object.description;
  if (!place.file.empty())
    return KeyUri::parse("tpm2:file=" + core::uri_escape(absolute(place.file))).text();
  if (asked.scheme() == KeyUri::Scheme::kName || key.backend == "tpm2") return key.uri;
  std::string uri = "pkcs11:token=" + core::uri_escape(key.token);
  if (!key.label.empty()) uri += ";object=" + core::uri_escape(key.label);
  if (!key.id.empty()) uri += ";id=" + core::uri_escape_id(key.id);
  return uri + ";type=private";
}

std::string place_text(const NewKeyPlace& place, const core::KeyDescription& key) {
  if (!place.file.empty()) return place.file + ", which only this TPM can load";
  if (key.backend == "tpm2" && key.uri.starts_with("tpm2:handle="))
    return "the TPM, at the persistent handle " +
           key.uri.substr(std::string("tpm2:handle=").size());
  return "token " + key.token;
}

}  // namespace hwid::tool
