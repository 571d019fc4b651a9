// Backends find tokens; tokens find and generate objects.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/audit.h"
#include "provider/core/inventory.h"
#include "provider/core/key.h"
#include "provider/core/libcrypto.h"
#include "provider/core/log.h"
#include "provider/core/pin.h"
#include "provider/core/uri.h"

namespace hwid::core {

// What a URI led to.
// What a token says of a certificate: that it may end a chain, or that it must be in none.
enum class Trust { kUnsaid, kTrusted, kDistrusted };

struct Object {
  ObjectClass object_class = ObjectClass::kOther;
  std::shared_ptr<const Key> key;         // kPrivateKey
  std::shared_ptr<PublicKey> public_key;  // kPublicKey
  Bytes certificate;                      // kCertificate: DER
  Trust trust = Trust::kUnsaid;           // kCertificate
  KeyDescription description;
  std::shared_ptr<const void> hold;  // of `key`: see Key::hold
  // `key` keeps what it was opened with, a PIN or none, and is for this open only.
  bool has_own_pin = false;

  // Only where Wanted::others asks for it: a private key that cannot be used, so without `key`.
  // kOther: description.traits says what it is ("data", "secret key AES", "storage key RSA 2048").
  std::string problem;                   // why, in the form of our messages
  std::optional<Protection> protection;  // of such a private key
};

// How a token is reached in one open: borrowed, lives as long as the call.
struct Access {
  const Libcrypto& crypto;
  const Log& log;
  AuditSink* audit = nullptr;
  PinChain pins;
  const std::string* parent_pin_source = nullptr;  // of a TPM key's parent, where the URI has one
};

// What a search wants. Nothing set means all three classes.
struct Wanted {
  bool private_keys = true;
  bool public_keys = true;
  bool certificates = true;
  // For who shows all that is there: also private keys that cannot be used, and objects of other
  // classes. OpenSSL's programs never see those.
  bool others = false;
  // Of a private key only the public half is wanted: it is not logged in for where what is public
  // never is (BackendConfig::Login::kPrivate).
  bool only_halves = false;
};

// What a removal is to take. By default a key pair, and its certificate stays. `other` is never
// part of a pair: an AES key under the pair's label and id is another thing.
struct Removal {
  bool private_key = true;
  bool public_key = true;
  bool certificate = false;
  bool other = false;                        // data, secret keys, a TPM's storage keys
  std::shared_ptr<const Secret> owner_auth;  // of a TPM's owner hierarchy; null: the configured one

  bool takes(ObjectClass object_class) const noexcept {
    switch (object_class) {
      case ObjectClass::kPrivateKey:
        return private_key;
      case ObjectClass::kPublicKey:
        return public_key;
      case ObjectClass::kCertificate:
        return certificate;
      case ObjectClass::kOther:
        break;
    }
    return other;
  }
};

// A certificate that is to stand beside its private key. That is found by CKA_ID, in a TPM by the
// public key.
struct CertificateSpec {
  Bytes der;
  std::string label;
  Bytes id;              // not empty; a TPM has none
  bool replace = false;  // others of that id and public key go, once the new one is there

  // What only a certificate in a TPM has.
  std::optional<std::uint32_t> nv;  // its NV index; unset: that of the old one, or a free one
  std::shared_ptr<const Secret> owner_auth;  // of the owner hierarchy; null: the configured one
};
enum class Stored { kNew, kReplaced, kWasThere };
struct StoredCertificate {
  Stored result = Stored::kNew;
  std::vector<Object> replaced;  // what is gone for it: certificate (DER) and description
  std::string uri = {};          // of a certificate in a TPM
};

// A key pair that was made in software and is to go onto a token. It is sensitive and cannot be
// extracted from there; copies of it may be elsewhere all the same.
struct KeyImport {
  EVP_PKEY* key = nullptr;  // borrowed, of a software context, with its private part
  std::string label;        // of both halves
  Bytes id;                 // not empty
};

// What a key may be used for, as bits.
enum KeyUse : unsigned { kUseSign = 1, kUseDecrypt = 2, kUseDerive = 4, kUseUnwrap = 8 };

// What a generated key shall be. Always sensitive and never extractable.
struct KeySpec {
  Algorithm algorithm = Algorithm::kRsa;
  std::size_t rsa_bits = 2048;
  Bytes rsa_exponent = {1, 0, 1};  // big-endian
  std::string group = "P-256";     // OpenSSL's name of a curve
  std::string label;               // of both halves
  Bytes id;                        // empty: chosen by the backend, the same for both halves
  std::optional<unsigned> uses;    // KeyUse, nothing else; unset: signing, and decryption or ECDH

  // In a session of this process (CKA_TOKEN false): it is gone with the key, or with the session.
  bool in_session = false;

  // What only a key in a TPM has.
  Digest digest = Digest::kSha256;             // of an RSA-PSS key's signatures
  std::shared_ptr<const Secret> auth;          // its auth value; null: none
  std::optional<std::uint32_t> parent;         // a hierarchy or persistent key; unset: configured
  std::shared_ptr<const Secret> parent_auth;   // null: the configured one
  std::shared_ptr<const Secret> owner_auth;    // of the owner hierarchy, for persistent_at
  bool attests = false;                        // it signs only what the TPM says by itself
  std::optional<std::uint32_t> persistent_at;  // unset: it stays outside, wrapped (Key::wrapped)
  // What must hold for its use: a policy that the configuration names, or the settings of one as a
  // policy's section has them. With either the auth value alone does not open the key.
  std::string policy;
  std::map<std::string, std::string> policy_settings;
};

// "RSA 2048", "EC P-256", for messages.
inline std::string spec_text(const KeySpec& spec) {
  const std::string name = algorithm_name(spec.algorithm);
  if (spec.algorithm == Algorithm::kEc) return name + " " + spec.group;
  return is_rsa(spec.algorithm) ? name + " " + std::to_string(spec.rsa_bits) : name;
}

// What the configuration says of a token: nothing, that it is the one that is meant where several
// match, or that another one is. The configured PIN is not for kOther.
enum class Standing { kEqual, kMeant, kOther };

// A token, process-wide: opens and generates keys. Thread-safe.
class Token {
 public:
  virtual ~Token() = default;
  virtual std::string label() const = 0;
  // Tells tokens of one label apart; empty where there is nothing of the kind.
  virtual std::string serial() const { return {}; }
  // False: there is nothing that a PIN would open.
  virtual bool takes_pin() const noexcept { return true; }
  virtual Standing standing() const noexcept { return Standing::kEqual; }

  // All objects that match `uri`, in the order private keys, public keys, certificates; empty if
  // none. Logs in first where private keys are wanted and the token requires it; where no PIN can
  // be had: kPinMissing if the URI names an object or a private key, else the public objects only.
  // A private key without a public half on the token (object, CKA_PUBLIC_KEY_INFO, certificate of
  // the same CKA_ID) is an error if the URI names it, and is left out with a log line if not.
  virtual std::vector<Object> find(const KeyUri& uri, const Wanted& wanted,
                                   const Access& access) = 0;

  // The only key generation in hardware; EVP and the tool are its front ends. Refuses to make a
  // second private key with the label or id of an existing one (kExists).
  virtual std::shared_ptr<const Key> generate(const KeySpec& spec, const Access& access) = 0;

  // The key in the DER of a TSS2 PRIVATE KEY, of a token that keeps keys wrapped outside of itself.
  // Asks the token nothing.
  virtual Object unwrap(ByteView der, const Access& access) = 0;

  // Destroys the one object, or the one key pair, that `uri` names, for good: what of it is of the
  // classes in `what`. A private key takes the public half and the certificate of the same CKA_ID
  // along, where these are to go, whatever their labels. Logs in. Returns what is gone, without
  // keys. Throws kBadUri if the URI names no object, kNoObject if nothing matches, kSeveralObjects
  // if more than one key does; then, and for any other error that comes before the first object is
  // destroyed, nothing is. Of a TPM: a persistent object, which is not the configured `parent`.
  virtual std::vector<Object> remove(const KeyUri& uri, const Removal& what,
                                     const Access& access) = 0;

  // Writes both halves onto the token, or nothing. Logs in. Throws kExists where a private key of
  // that label or id is there, kUnsupported for a kind of key, or a token, that cannot.
  virtual void store_key(const KeyImport&, const Access&) {
    throw Error(Reason::kUnsupported, "storing a private key: token=" + label() +
                                          ": it takes no keys from outside here; make one in it "
                                          "with `hwid generate`");
  }

  // Writes a certificate onto the token. Logs in. Throws kExists where another one of that id and
  // public key is there and is not to be replaced, kUnsupported for a token that keeps none. What
  // other keys' certificates have that id, or of another kind than X.509, stays. In a TPM it
  // becomes an NV index of the owner's, that everybody may read unless the URI that names it has an
  // auth value; what else is at that index is in its way in the same manner.
  virtual StoredCertificate store_certificate(const CertificateSpec&, const Access&) {
    throw Error(Reason::kUnsupported, "storing a certificate: token=" + label() +
                                          ": it keeps no certificates; leave it in a file");
  }

  // Where KeySpec::persistent_at is free for a new key, and no name of the configuration means it;
  // nullopt: the token has no such places, and keys need none.
  virtual std::optional<std::uint32_t> free_place(const Access&) { return std::nullopt; }

  // Forgives all failures that count against auth values, on behalf of the lockout hierarchy, whose
  // auth value is `lockout_auth` (null: none). A wrong one costs the only try until the TPM's
  // recovery time has passed. Throws kUnsupported for a token that has no such thing.
  virtual void end_lockout(const Secret*, const Access&) {
    throw Error(Reason::kUnsupported, "end of a lockout: token=" + label() +
                                          ": it has none of a TPM's kind; set a new PIN with "
                                          "`hwid pin unblock`");
  }

  // `size` bytes from the token's own generator. No login.
  virtual Secret random(std::size_t size, const Access& access) = 0;
};

// What one section of openssl.cnf says (or the environment, or a default). Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const std::string& name() const noexcept = 0;

  // Tokens that `uri` may mean, none of them logged in yet: that which the configuration means
  // first, and one of a label that the URI has. Empty if none matches; `seen` then gets one line
  // for each token or slot that was looked at, for the message. Throws if the module cannot be
  // used.
  virtual std::vector<std::shared_ptr<Token>> tokens(const KeyUri& uri,
                                                     std::vector<std::string>& seen) = 0;

  // Tokens beyond `known`, which tokens(uri) returned, that have the label in the URI too. Asks
  // every slot: for where `known` lack what is looked for, or all is listed. Throws like tokens().
  virtual std::vector<std::shared_ptr<Token>> namesakes(
      const KeyUri&, const std::vector<std::shared_ptr<Token>>& /*known*/) {
    return {};
  }

  // Every token, uninitialized ones and those of other sections too; one entry with a `problem`
  // for what cannot be looked at. Asks now. No login, no try of a PIN, no write. Does not throw
  // core::Error.
  virtual std::vector<TokenInfo> inventory(const Access& access) = 0;

  // The token that keeps keys wrapped outside of itself (a TPM); null: the backend has none such.
  virtual std::shared_ptr<Token> wrapping_token() { return nullptr; }
  // Its modules hash in OpenSSL's default context: Libcrypto::require_base_provider.
  virtual bool needs_base_provider() const noexcept { return true; }

  // Drops what is cached of objects: one was found to have changed or gone.
  virtual void forget() {}

  // True if the configuration gives this backend that token and no other (`token =`): a URI with
  // that token= then goes here and nowhere else.
  virtual bool owns_token(const std::string& label) const noexcept = 0;

  // PIN of the configuration, put into `chain` where it is not set.
  virtual void add_pins(PinChain& chain) const noexcept = 0;
};

}  // namespace hwid::core
