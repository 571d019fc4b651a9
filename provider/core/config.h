// The provider's section of openssl.cnf, and the environment.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "provider/core/secret.h"

namespace hwid::core {

// Answers a parameter of the section by its exact name ("keys.device": nested sections), nullopt
// if it is not there. A provider cannot enumerate its configuration.
using ConfigLookup = std::function<std::optional<std::string>(const std::string& name)>;

// A name in `objects`: what it stands for is a handle (of a key, or an NV index) or a file.
struct NamedObject {
  std::string name;
  std::optional<std::uint32_t> handle;
  std::string file;
};

// What one backend is configured to be. Strings that are not set are empty.
struct BackendConfig {
  std::string name;             // of the section's key ("dev"), or where it came from
  std::string type = "pkcs11";  // or "tpm2"
  std::string token;            // label of the one token it serves

  // What only `type = pkcs11` has.
  std::string module;  // path of a PKCS#11 module; empty: p11-kit's configured modules
  std::string pin_source;
  std::optional<Secret> pin;             // literal PIN (pkcs11-module-token-pin, libp11's pin)
  std::string init_args;                 // CK_C_INITIALIZE_ARGS.pReserved
  std::vector<std::string> environment;  // NAME=VALUE, set where unset
  std::size_t max_sessions = 0;          // 0: 16, or what the token allows
  // kPrivate: as kAuto, but never for what is public, also where it is not found without.
  enum class Login { kAuto, kAlways, kNever, kPrivate } login = Login::kAuto;
  bool cache_pin = true;
  bool cache_keys = true;  // copies of keys in a session, for tokens that sign faster with them
  bool allow_final_try = false;
  // Of several tokens the one in this slot is meant, and the configured PIN is that one's alone.
  std::optional<unsigned long> default_slot;

  // What only `type = tpm2` has; pin and pin_source are its objects' auth value.
  bool implicit = false;  // nobody configured it: the TPM that tpm2-tss finds by itself
  std::string tcti;       // empty: the TSS's own default
  std::vector<NamedObject> objects;
  enum class Session { kAuto, kNone, kHmac } session = Session::kAuto;
  std::optional<std::uint32_t> parent;  // of keys that are made: a persistent key or a hierarchy
  Bytes parent_name;                    // name of the key that salts sessions, if it is pinned
  std::optional<Secret> parent_auth;    // TPM2OPENSSL_PARENT_AUTH
  bool exclusive = false;               // nobody else uses this TPM
  bool verify_all = false;              // in software: every signature, not just the first ones
  // Answers "KEY" of the section `policy`, and "NAME.KEY" of what `policies` names: what must hold
  // for a key to be used. Null: the section has neither.
  ConfigLookup default_policy, policies;
};

// Read once a provider instance, at first use of a key: a wrong value must not stop a program that
// uses none. Precedence: URI, environment (secure_getenv), configuration. Immutable; move-only.
class Config {
 public:
  // Throws kBadConfiguration, naming key and value.
  static Config read(const ConfigLookup& lookup);

  std::vector<BackendConfig> backends;  // in the order in which they are searched
  std::vector<std::string> key_names;   // `key-names`, or none
  std::string state_dir;
  bool allow_uri_module_path = false;
  std::vector<std::string> allow_pin_source;  // pin-sources that a reference file may use
  bool encode_reference = true;               // pkcs11-module-encode-provider-uri-to-pem
  std::string keygen = "software";            // or a backend's name
  std::vector<std::string> unneeded;  // peers' settings that are there and change nothing here

  // The URI or file that `hwid:NAME` means, from `keys` or the state directory; nullopt if the
  // name is unknown.
  std::optional<std::string> resolve(const std::string& name) const;

 private:
  ConfigLookup lookup_;
};

// The parent of a TPM's key, as `parent` names it: "owner", "null", "endorsement", "platform", or a
// persistent handle; nullopt if it is none.
std::optional<std::uint32_t> parse_parent(std::string_view text);

// Variables that must be in the environment before a module is initialized, set where unset.
// Called in OSSL_provider_init and in a forked child, never elsewhere: setenv is not thread-safe.
void set_environment(const std::vector<std::string>& assignments);
std::vector<std::string> configured_environment(const ConfigLookup& lookup);
// True if a section is of a TPM, or speaks tpm2-openssl's words.
bool configures_tpm(const ConfigLookup& lookup);

}  // namespace hwid::core
