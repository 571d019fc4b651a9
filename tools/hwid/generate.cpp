// hwid generate: a new key on a token or in a TPM.
#include <memory>
#include <sstream>

#include "provider/core/error.h"
#include "provider/tpm2/key.h"
#include "tools/attest/evidence.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/new_key.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

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
  core::KeySpec spec = spec_of_type(invocation.text("type"));
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
  spec.attests = invocation.flag("attestation");
  if (spec.attests && !spec.parent) spec.parent = TPM2_RH_ENDORSEMENT;
  set_policy(invocation, spec);
  return spec;
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

// What proves later that the key was made in the TPM, and when.
void write_creation(const core::Key& key, const std::string& path) {
  const auto* const tpm_key = dynamic_cast<const tpm2::Key*>(&key);
  if (tpm_key == nullptr || tpm_key->creation() == nullptr)
    throw Error(Reason::kUnsupported,
                "--creation: only a TPM says how a key was made, and this one is elsewhere; leave "
                "it out");
  const tpm2::CreationProof& proof = *tpm_key->creation();
  write_file(path, attest::to_text(attest::Creation{proof.data, proof.hash, proof.ticket}), 0644,
             Existing::kRefuse);
}

Exit run(Invocation& invocation) {
  core::KeySpec spec = spec_for(invocation);
  const NewKeyPlace place =
      place_for_new_key(invocation, invocation.arguments()[0], invocation.text("out"));
  const std::string creation = invocation.text("creation");
  if (!creation.empty()) require_writable(creation, Existing::kRefuse);
  const core::Object object = make_new_key(invocation, place, spec);
  if (!creation.empty()) write_creation(*object.key, creation);
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
  add("attestation", po::bool_switch(),
      "of a TPM key: an attestation key (AK), which signs only what the TPM says by itself; below "
      "the endorsement hierarchy unless --parent says otherwise");
  add("creation", po::value<std::string>()->value_name("FILE"),
      "of a TPM key: write what proves its creation into a new file, for `hwid attest evidence`");
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
