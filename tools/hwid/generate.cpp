// hwid generate: a new key on a token or in a TPM.
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <sstream>

#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

using core::Algorithm;
using core::Error;
using core::KeyUri;
using core::Reason;

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

// Where the key is to be.
struct Place {
  std::string uri;          // for the router
  std::string file;         // of a key that a TPM wraps; empty: it stays on its token
  bool any_handle = false;  // the TPM's next free one
};

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

Place place_for(Invocation& invocation) {
  const std::string written = invocation.with_pin_source(invocation.arguments()[0]);
  Place place{followed(invocation, written, KeyUri::parse(written)), invocation.text("out")};
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

// An option for each setting of a policy's section, and whether its value is a file.
struct PolicyOption {
  const char* option;
  const char* setting;
  bool is_file;
};
constexpr PolicyOption kPolicyOptions[] = {
    {"policy-pcr", "pcr", false},
    {"policy-command", "command-code", false},
    {"policy-signed-key", "signed-key", true},
    {"policy-signed-ref", "signed-ref", false},
    {"policy-signed-signature", "signed-signature", true},
    {"policy-secret", "secret-object", false},
    {"policy-secret-ref", "secret-ref", false},
    {"policy-secret-source", "secret-source", false},
    {"policy-or", "or", false},
    {"policy-authorize-key", "authorize-key", true},
    {"policy-authorize-ref", "authorize-ref", false},
    {"policy-authorize-signature", "authorize-signature", true}};

// What alone opens the key: what was approved stands before who approves, and what is asked in any
// case behind.
void set_policy(Invocation& invocation, core::KeySpec& spec) {
  std::string statements;
  const auto add = [&](bool is_given, const char* statement) {
    if (is_given) statements.append(statements.empty() ? "" : " ").append(statement);
  };
  add(invocation.has("policy-or"), "or");
  add(invocation.has("policy-pcr"), "pcr");
  add(invocation.has("policy-command"), "command-code");
  add(invocation.has("policy-signed-key"), "signed");
  add(invocation.has("policy-secret"), "secret");
  add(invocation.has("policy-authorize-key"), "authorize");
  add(invocation.flag("policy-auth-value"), "auth-value");
  add(invocation.flag("policy-password"), "password");
  for (const PolicyOption& each : kPolicyOptions) {
    if (!invocation.has(each.option)) continue;
    const std::string value = invocation.text(each.option);
    spec.policy_settings[each.setting] = each.is_file ? absolute(value) : value;
  }
  if (!statements.empty()) spec.policy_settings["statements"] = statements;
  if (statements.empty() && !spec.policy_settings.empty())
    throw UsageError(
        "a signature, a policyRef or a secret's source needs whose it is: --policy-signed-key, "
        "--policy-authorize-key or --policy-secret");
  if (!invocation.has("policy")) return;
  if (!spec.policy_settings.empty())
    throw UsageError("--policy names a whole policy; leave the other --policy- options out");
  spec.policy = invocation.text("policy");
}

core::KeySpec spec_for(Invocation& invocation) {
  const Type type = type_named(invocation.text("type"));
  core::KeySpec spec;
  spec.algorithm = type.algorithm;
  if (type.bits != 0) spec.rsa_bits = type.bits;
  spec.group = type.group;
  if (invocation.has("parent")) {
    spec.parent = core::parse_parent(invocation.text("parent"));
    if (!spec.parent)
      throw UsageError("--parent " + invocation.text("parent") +
                       ": write a persistent handle such as 0x81000001, or owner, endorsement, "
                       "platform or null");
  }
  spec.auth = invocation.secret("auth-source");
  spec.parent_auth = invocation.secret("parent-auth-source");
  spec.owner_auth = invocation.secret("owner-auth-source");
  set_policy(invocation, spec);
  return spec;
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

core::Object generate(Invocation& invocation, const Place& place, const core::KeySpec& spec) {
  const KeyUri uri = KeyUri::parse(place.uri);
  if (place.any_handle && place.file.empty()) return generate_anywhere(invocation, uri, spec);
  return invocation.router().generate(uri, spec, Invocation::prompt());
}

std::string pem_text(BIO* memory) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory, &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

void write_wrapped(const core::Key& key, const std::string& path) {
  const std::optional<core::KeyReference> wrapped = key.wrapped();
  if (!wrapped)
    throw Error(Reason::kUnsupported,
                path + ": the key is not kept outside of its token; leave the file out");
  const core::Bio memory(BIO_new(BIO_s_mem()));
  if (!memory || PEM_write_bio(memory.get(), wrapped->label, "", wrapped->der.data(),
                               static_cast<long>(wrapped->der.size())) <= 0)
    throw Error(Reason::kLibcrypto, "PEM_write_bio: " + core::last_libcrypto_error());
  write_file(path, pem_text(memory.get()), 0600, Existing::kRefuse);
}

// A PKCS#11 key's URI has its id, too: labels need not be alone.
std::string uri_for_use(const Place& place, const core::Object& object) {
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

std::string place_text(const Place& place, const core::KeyDescription& key) {
  if (!place.file.empty()) return place.file + ", which only this TPM can load";
  if (key.backend == "tpm2" && key.uri.starts_with("tpm2:handle="))
    return "the TPM, at the persistent handle " +
           key.uri.substr(std::string("tpm2:handle=").size());
  return "token " + key.token;
}

// The TPM keeps a policy's digest only, and a key in a file brings its policy along.
void show_policy(Output& out, const core::KeyDescription& key, bool in_file) {
  if (key.policy.empty() || out.json()) return;
  out.line(in_file
               ? "It is used by its policy alone, which is in the file:"
               : "It is used by its policy alone, which openssl.cnf must have, as a section that\n"
                 "`policies` or `policy` in the TPM's section leads to:");
  std::istringstream lines(key.policy);
  for (std::string line; std::getline(lines, line);) out.line("  " + line);
  out.line();
}

Json policy_json(const core::KeyDescription& key) {
  if (key.policy.empty()) return {};
  Json settings = Json::object();
  std::istringstream lines(key.policy);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find(" = ");
    settings[line.substr(0, equals)] = line.substr(equals + 3);
  }
  return settings;
}

Exit run(Invocation& invocation) {
  core::KeySpec spec = spec_for(invocation);
  const Place place = place_for(invocation);
  const core::Object object = generate(invocation, place, spec);
  if (!place.file.empty()) write_wrapped(*object.key, place.file);
  const core::KeyDescription& key = object.description;
  const std::string uri = uri_for_use(place, object);
  const std::string pem = public_key_pem(object.key->public_key().pkey());
  const std::string type = invocation.text("type");
  Output& out = invocation.out();
  out.heading("New key");
  out.field("URI", uri);
  out.field("type", type);
  out.field("lives in", place_text(place, key));
  out.field("exportable", "no");
  out.line();
  show_policy(out, key, !place.file.empty());
  if (!out.json()) out.line(pem.substr(0, pem.find_last_not_of('\n') + 1));
  Json document = {{"uri", uri},
                   {"type", type},
                   {"backend", key.backend},
                   {"token", key.token},
                   {"label", key.label},
                   {"id", core::to_hex(key.id)},
                   {"file", place.file.empty() ? Json() : Json(absolute(place.file))},
                   {"exportable", false},
                   {"policy", policy_json(key)},
                   {"public_key", pem}};
  out.document(document);
  return kGood;
}

void add_policy_options(po::options_description& options) {
  auto add = options.add_options();
  const auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  add("policy", text("NAME"),
      "of a TPM key: what must hold for its use, as the section of openssl.cnf says that "
      "`policies` "
      "there calls NAME");
  add("policy-pcr", text("PCRS"),
      "or: PCRs stay what they are (sha256:0,7), or are what is said (sha256:7=HEX)");
  add("policy-auth-value", po::bool_switch(), "and its auth value is shown");
  add("policy-password", po::bool_switch(),
      "the same as --policy-auth-value, for programs that send it in clear");
  add("policy-command", text("COMMAND"),
      "and it is used by sign, rsa-decrypt or ecdh-zgen only, or by the command of a number "
      "(0x15d)");
  add("policy-signed-key", text("FILE"),
      "and the holder of this public key (PEM or TPM2B_PUBLIC) has signed that it may be used");
  add("policy-signed-ref", text("HEX"), "policyRef of that signature (default: none)");
  add("policy-signed-signature", text("FILE"), "that signature");
  add("policy-secret", text("OBJECT"),
      "and the auth value of owner, endorsement, platform or lockout is shown");
  add("policy-secret-ref", text("HEX"), "policyRef of that (default: none)");
  add("policy-secret-source", text("SOURCE"),
      "where that auth value is, as --pin-source, for openssl.cnf (default: the parent's, or "
      "none)");
  add("policy-authorize-key", text("FILE"),
      "and the holder of this public key has approved the PCRs, command, signature and secret "
      "above, "
      "which others that are approved later may take the place of");
  add("policy-authorize-ref", text("HEX"), "policyRef of the approval (default: none)");
  add("policy-authorize-signature", text("FILE"), "the approval (default: it comes later)");
  add("policy-or", text("NAMES"), "and one of these policies of openssl.cnf holds: 'NAME NAME'");
}

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("type,t", po::value<std::string>()->value_name("TYPE")->default_value("ec:P-256"),
      "ec:P-256, ec:P-384, ec:P-521 or another named curve, rsa:2048, rsa:3072, rsa:4096, "
      "rsa-pss:2048, rsa-pss:3072, "
      "rsa-pss:4096, ed25519, ed448, x25519 or x448, as far as the token serves it");
  add("out", po::value<std::string>()->value_name("FILE"),
      "with tpm2: write the key, wrapped by the TPM, into a new file (TSS2 PRIVATE KEY)");
  add("auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the new TPM key's auth value is, as --pin-source (default: what the URI or "
      "openssl.cnf "
      "says of its keys, else none)");
  add("parent", po::value<std::string>()->value_name("HANDLE"),
      "of a TPM key: owner, endorsement, platform, null or a persistent handle (default: `parent` "
      "in openssl.cnf, else owner)");
  add("parent-auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of that parent is");
  add("owner-auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of the TPM's owner is, which a persistent key needs if there is one");
  add_policy_options(options);
}

}  // namespace

const Command kGenerate = {
    "generate",
    "URI",
    "make a key on a token or in a TPM",
    "Makes a key pair whose private half is sensitive and cannot be exported, and prints the "
    "public\n"
    "half and the URI for programs. A key that is there already is never replaced.\n\n"
    "  pkcs11:token=T;object=NAME  on that token, under that label; id=%01 chooses the CKA_ID\n"
    "  tpm2:handle=0x81000002      in the TPM, at that persistent handle\n"
    "  tpm2:                       in the TPM, at the next free handle from 0x81000002 on\n"
    "  tpm2:file=FILE              in a new file, wrapped by the TPM; so does tpm2: with --out "
    "FILE\n"
    "  hwid://NAME                 where the keys section of openssl.cnf says that NAME is",
    "  hwid generate 'pkcs11:token=dev;object=device' --type rsa:2048\n"
    "  hwid generate tpm2:\n"
    "  hwid generate tpm2: --out device.tss2.pem --auth-source file:/etc/hwid/tpm.pin\n"
    "  hwid generate hwid://device --json\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
