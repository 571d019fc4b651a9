// From a URI to objects: logical names, choice of backend, and the cache of keys seen before.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/backend.h"
#include "provider/core/config.h"
#include "provider/core/process.h"

namespace hwid::core {

// One a provider instance. Thread-safe, usable after fork.
class Router {
 public:
  using MakeBackends = std::function<std::vector<std::unique_ptr<Backend>>(const Config&)>;
  Router(const Libcrypto& crypto, const Log& log, AuditSink* audit, ConfigLookup lookup,
         MakeBackends make);
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // Where a URI was written: a reference file's pin-source must be allowed by configuration, since
  // whoever can write the file could else make us read any other.
  enum class Origin { kProgram, kReferenceFile };

  // Everything `uri` means, in the order private keys, public keys, certificates. Never empty
  // unless the URI lists: a named object that is not there throws kNoObject with what is there
  // instead. A private key that was found before is answered without a token call. A hwid: name
  // is followed once, to a URI or to a key reference file; its objects keep the name as their URI;
  // where all is listed (Wanted::others) only the one private key does.
  std::vector<Object> open(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt,
                           Origin origin);

  // Makes a key on the one token that `uri` names; its object=, id= and handle= become the key's.
  Object generate(const KeyUri& uri, KeySpec spec, const PinPrompt& prompt);

  // Token::remove on the one token that `uri` names: kNoToken where more than one matches. A hwid:
  // name is followed.
  std::vector<Object> remove(const KeyUri& uri, const Removal& what, const PinPrompt& prompt);

  // Token::store_key on the one token that `uri` names, which is chosen as for remove. object=
  // and id= become the key's. Throws kBadUri where there is no object=.
  void store_key(const KeyUri& uri, KeyImport key, const PinPrompt& prompt);

  // Token::store_certificate on the one token that `uri` names, which is chosen as for remove.
  StoredCertificate store_certificate(const KeyUri& uri, const CertificateSpec& spec,
                                      const PinPrompt& prompt);

  // Token::end_lockout of the one token that `uri` names.
  void end_lockout(const KeyUri& uri, const Secret* lockout_auth);

  // Token::free_place of the token on which generate(uri) makes its key.
  std::optional<std::uint32_t> free_place(const KeyUri& uri);

  // Backend::inventory of all backends, in their order; `merged`. Throws kBadConfiguration alone.
  std::vector<TokenInfo> inventory();

  // Whether a TPM is configured, which open_wrapped() needs.
  bool unwraps() { return wrapping_backend({}) != nullptr; }
  // The key in the DER of a TSS2 PRIVATE KEY, which the first backend of a TPM is to load.
  Object open_wrapped(ByteView der, const PinPrompt& prompt);
  // True if `keygen` names a backend, for keys that are generated without a URI.
  bool keygen_in_hardware();
  bool keygen_on_pkcs11();  // and it is one of PKCS#11
  // Makes a key with the backend that `keygen` names: of PKCS#11 on its one token, or on that in
  // `slot`.
  Object generate_unnamed(const KeySpec& spec, std::optional<unsigned long> slot,
                          const PinPrompt& prompt);

  // Bytes from the generator of the first token that has one. `source` keeps it for the next call.
  Secret random(std::shared_ptr<Token>& source, std::size_t size);

  // Logical names that listing `hwid:` shows.
  const std::vector<std::string>& names();
  const Config& config();  // throws kBadConfiguration

  // Drops what is cached: a key was found to have changed or gone.
  void forget();

 private:
  struct Setup;
  struct Cache;
  struct Found;
  struct Search;
  struct Pins;
  struct OneToken;
  enum class Choice;

  Setup& setup();
  KeyUri follow(const KeyUri& name, Origin& origin);
  std::vector<Object> open_uri(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt,
                               const Pins& pins);
  std::vector<Object> open_public_half(const KeyUri& uri, const PinPrompt& prompt,
                                       const Pins& pins);
  Found find(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt, const Pins& pins);
  void search_backend(Backend& backend, const KeyUri& uri, const Wanted& wanted,
                      const PinPrompt& prompt, const Pins& pins, Search& search);
  void search_token(Backend& backend, Token& token, const KeyUri& uri, const Wanted& wanted,
                    const Access& access, const std::string& would_name, Search& search);
  Object generate_on(const KeyUri& uri, KeySpec spec, const PinPrompt& prompt, const Pins& pins);
  Object generate_with(const OneToken& one, const KeySpec& spec, const PinPrompt& prompt,
                       const Pins& pins);
  OneToken one_token(const KeyUri& uri, Choice choice);
  OneToken one_token(const KeyUri& uri, const std::vector<Backend*>& backends, Choice choice);
  void require_one_of_label(const KeyUri& uri, Backend& backend);
  std::vector<Object> remove_on(const KeyUri& uri, const Removal& what, const PinPrompt& prompt,
                                const Pins& pins);
  void store_key_on(const KeyUri& uri, KeyImport key, const PinPrompt& prompt, const Pins& pins);
  StoredCertificate store_certificate_on(const KeyUri& uri, const CertificateSpec& spec,
                                         const PinPrompt& prompt, const Pins& pins);
  std::optional<Found> cached(const std::string& name);
  std::vector<Backend*> backends_for(const KeyUri& uri);
  Backend* wrapping_backend(const std::string& name);
  Access access_for(const Backend& backend, Standing standing, const PinPrompt& prompt,
                    const Pins& pins) const;
  Access access_without_pin() const;
  bool may_read(const std::string& source, Origin origin) const;
  [[noreturn]] static void throw_no_token(const KeyUri& uri, const Search& search);
  [[noreturn]] void throw_no_object(const KeyUri& uri, const Wanted& wanted,
                                    const Search& search) const;

  const Libcrypto& crypto_;
  const Log& log_;
  AuditSink* audit_;
  ConfigLookup lookup_;
  MakeBackends make_;
  std::atomic<Setup*> setup_{nullptr};  // published once, immutable
  EpochLocal<Cache> cache_;
};

}  // namespace hwid::core
