// What makes and removes keys: router.h.
#include <openssl/core_names.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "provider/core/key_reference.h"
#include "provider/core/router_parts.h"

namespace hwid::core {

Object Router::generate(const KeyUri& uri, KeySpec spec, const PinPrompt& prompt) {
  Origin origin = Origin::kProgram;
  if (uri.scheme() == KeyUri::Scheme::kName) {
    const Pins outer(uri, origin);
    const KeyUri followed = follow(uri, origin);
    Object object = generate_on(followed, std::move(spec), prompt,
                                outer.none() ? Pins(followed, origin) : outer);
    if (!object.description.uri.empty()) object.description.uri = uri.text();
    return object;
  }
  return generate_on(uri, std::move(spec), prompt, Pins(uri, origin));
}

// A tpm2: URI names no token: the first TPM is meant, as for keys that are opened, unless that is
// not good enough.
Router::OneToken Router::one_token(const KeyUri& uri, Choice choice) {
  return one_token(uri, backends_for(uri), choice);
}

Router::OneToken Router::one_token(const KeyUri& uri, const std::vector<Backend*>& backends,
                                   Choice choice) {
  Search search;
  Backend* owner = nullptr;
  for (Backend* const backend : backends) {
    try {
      for (std::shared_ptr<Token>& token : backend->tokens(uri, search.seen)) {
        if (owner == nullptr) owner = backend;
        search.tokens.push_back(std::move(token));
      }
    } catch (const Error&) {
      if (!search.failure) search.failure = std::current_exception();
    }
  }
  if (owner == nullptr || search.tokens.empty()) throw_no_token(uri, search);
  for (std::shared_ptr<Token>& token : search.tokens) {
    if (choice != Choice::kUri && token->standing() == Standing::kMeant)
      return {owner, std::move(token)};
  }
  const bool is_tpm = uri.scheme() == KeyUri::Scheme::kTpm2;
  if (search.tokens.size() > 1 && !(is_tpm && choice == Choice::kFirstTpm))
    throw Error(Reason::kNoToken,
                uri.text() + ": " + std::to_string(search.tokens.size()) +
                    " tokens match; name the one that is meant with token=" +
                    (is_tpm ? " (pkcs11:token=LABEL;object=NAME)"
                            : " in the URI, or `token` in the backend's section"));
  return {owner, std::move(search.tokens.front())};
}

Object Router::generate_on(const KeyUri& uri, KeySpec spec, const PinPrompt& prompt,
                           const Pins& pins) {
  if (uri.file() || uri.nv() || uri.ek())
    throw Error(Reason::kBadUri, "key generation: " + uri.text() +
                                     ": a key is made at a handle, or written by the program; "
                                     "name one (tpm2:handle=0x81000002), or leave the URI out");
  const OneToken one = one_token(uri, Choice::kFirstTpm);
  if (uri.object()) spec.label = *uri.object();
  if (uri.id()) spec.id = *uri.id();
  if (uri.handle()) spec.persistent_at = *uri.handle();
  if (uri.policy()) spec.policy = *uri.policy();
  return generate_with(one, spec, prompt, pins);
}

Object Router::generate_with(const OneToken& one, const KeySpec& spec, const PinPrompt& prompt,
                             const Pins& pins) {
  const Access access = access_for(*one.backend, one.token->standing(), prompt, pins);
  Object object;
  object.object_class = ObjectClass::kPrivateKey;
  object.key = one.token->generate(spec, access);
  object.description = object.key->description();
  object.hold = object.key->hold(access.pins);
  forget();
  return object;
}

void Router::end_lockout(const KeyUri& uri, const Secret* lockout_auth) {
  one_token(uri, Choice::kUri).token->end_lockout(lockout_auth, access_without_pin());
}

std::optional<std::uint32_t> Router::free_place(const KeyUri& uri) {
  Origin origin = Origin::kProgram;
  if (uri.scheme() == KeyUri::Scheme::kName) return free_place(follow(uri, origin));
  return one_token(uri, Choice::kFirstTpm).token->free_place(access_without_pin());
}

std::vector<TokenInfo> Router::inventory() {
  const Access access = access_without_pin();
  std::vector<TokenInfo> all;
  for (const std::unique_ptr<Backend>& backend : setup().backends) {
    try {
      if (backend->needs_base_provider()) crypto_.require_base_provider();
      std::vector<TokenInfo> tokens = backend->inventory(access);
      std::move(tokens.begin(), tokens.end(), std::back_inserter(all));
    } catch (const Error& error) {
      TokenInfo& info = all.emplace_back();
      info.backend = backend->name();
      info.problem = error.what();
    }
  }
  return merged(std::move(all));
}

// A search looks into one token of a label after the other. What is removed is gone for good, so
// the label must be one token's.
void Router::require_one_of_label(const KeyUri& uri, Backend& backend) {
  if (!uri.token() || uri.scheme() != KeyUri::Scheme::kPkcs11 || uri.names_one_token()) return;
  std::string serials;
  std::size_t count = 0;
  for (const TokenInfo& token : backend.inventory(access_without_pin())) {
    if (token.label != *uri.token() || !token.served) continue;
    ++count;
    serials += (serials.empty() ? "" : ", ") + token.serial;
  }
  if (count > 1)
    throw Error(Reason::kNoToken,
                uri.text() + ": " + std::to_string(count) +
                    " tokens have this label; add serial= to the URI, one of: " + serials);
}

std::vector<Object> Router::remove(const KeyUri& uri, const Removal& what,
                                   const PinPrompt& prompt) {
  Origin origin = Origin::kProgram;
  const Pins outer(uri, origin);
  if (uri.scheme() != KeyUri::Scheme::kName) return remove_on(uri, what, prompt, outer);
  const KeyUri followed = follow(uri, origin);
  return remove_on(followed, what, prompt, outer.none() ? Pins(followed, origin) : outer);
}

std::vector<Object> Router::remove_on(const KeyUri& uri, const Removal& what,
                                      const PinPrompt& prompt, const Pins& pins) {
  if (uri.file())
    throw Error(
        Reason::kBadUri,
        "removal: " + uri.text() + ": the key is in no token, only in this file; delete the file");
  if (!uri.names_object())
    throw Error(Reason::kBadUri, "removal: " + uri.text() +
                                     ": no object is named; add object=, id=, handle= or nv=");
  const OneToken one = one_token(uri, Choice::kUri);  // what is gone is gone for good
  require_one_of_label(uri, *one.backend);
  try {
    std::vector<Object> gone =
        one.token->remove(uri, what, access_for(*one.backend, one.token->standing(), prompt, pins));
    forget();
    return gone;
  } catch (const Error&) {
    forget();  // part of it may be gone
    throw;
  }
}

void Router::store_key(const KeyUri& uri, KeyImport key, const PinPrompt& prompt) {
  Origin origin = Origin::kProgram;
  const Pins outer(uri, origin);
  if (uri.scheme() != KeyUri::Scheme::kName)
    return store_key_on(uri, std::move(key), prompt, outer);
  const KeyUri followed = follow(uri, origin);
  store_key_on(followed, std::move(key), prompt, outer.none() ? Pins(followed, origin) : outer);
}

void Router::store_key_on(const KeyUri& uri, KeyImport key, const PinPrompt& prompt,
                          const Pins& pins) {
  if (uri.scheme() == KeyUri::Scheme::kPkcs11 && (!uri.object() || uri.object()->empty()))
    throw Error(Reason::kBadUri, "storing a private key: " + uri.text() +
                                     ": the URI has no label for it; add object=");
  const OneToken one = one_token(uri, Choice::kConfiguration);
  require_one_of_label(uri, *one.backend);
  if (uri.object()) key.label = *uri.object();
  if (uri.id()) key.id = *uri.id();
  one.token->store_key(key, access_for(*one.backend, one.token->standing(), prompt, pins));
  forget();
}

StoredCertificate Router::store_certificate(const KeyUri& uri, const CertificateSpec& spec,
                                            const PinPrompt& prompt) {
  Origin origin = Origin::kProgram;
  const Pins outer(uri, origin);
  if (uri.scheme() != KeyUri::Scheme::kName) return store_certificate_on(uri, spec, prompt, outer);
  const KeyUri followed = follow(uri, origin);
  return store_certificate_on(followed, spec, prompt,
                              outer.none() ? Pins(followed, origin) : outer);
}

StoredCertificate Router::store_certificate_on(const KeyUri& uri, const CertificateSpec& spec,
                                               const PinPrompt& prompt, const Pins& pins) {
  const OneToken one = one_token(uri, Choice::kConfiguration);
  require_one_of_label(uri, *one.backend);
  CertificateSpec there = spec;
  if (uri.nv() && uri.policy())
    throw Error(Reason::kBadUri,
                uri.text() +
                    ": the new NV index would not be read by that policy: it gets none; leave "
                    "?policy= out, or define the index with tpm2_nvdefine");
  if (uri.nv() && uri.asks_pin())
    throw Error(Reason::kBadUri,
                uri.text() +
                    ": nobody is asked for the auth value of a new NV index; give it with "
                    "?pin-source=file:PATH, or leave ?pass out, and everybody may read it");
  if (uri.nv()) there.nv = uri.nv();
  StoredCertificate stored = one.token->store_certificate(
      there, access_for(*one.backend, one.token->standing(), prompt, pins));
  forget();
  return stored;
}

// Of that name, or the first that keeps keys wrapped outside of its token.
Backend* Router::wrapping_backend(const std::string& name) {
  for (const std::unique_ptr<Backend>& backend : setup().backends) {
    const bool meant = name.empty() || backend->name() == name;
    if (meant && backend->wrapping_token() != nullptr) return backend.get();
  }
  return nullptr;
}

Object Router::open_wrapped(ByteView der, const PinPrompt& prompt) {
  Backend* const backend = wrapping_backend({});
  if (backend == nullptr)
    throw Error(Reason::kNoToken,
                std::string(kTss2Label) +
                    ": no TPM is configured; name a section with `type = tpm2` in `backends` in "
                    "openssl.cnf");
  return backend->wrapping_token()->unwrap(
      der, access_for(*backend, Standing::kEqual, prompt, Pins(Origin::kReferenceFile)));
}

// Where nothing names one, the rest of the configuration is not looked at: it may be wrong, and the
// programs that use no key of ours go on.
bool Router::keygen_in_hardware() {
  const std::string keygen = lookup_("keygen").value_or("");
  const bool may_be = keygen.empty() ? lookup_(OSSL_PROV_PARAM_CORE_PROV_NAME) == "tpm2" ||
                                           lookup_("keygen.type").has_value()
                                     : keygen != "software";
  return may_be && config().keygen != "software";
}

bool Router::keygen_on_pkcs11() {
  if (!keygen_in_hardware()) return false;
  const auto& backends = config().backends;
  const auto found = std::ranges::find(backends, config().keygen, &BackendConfig::name);
  return found != backends.end() && found->type == "pkcs11";
}

Object Router::generate_unnamed(const KeySpec& spec, std::optional<unsigned long> slot,
                                const PinPrompt& prompt) {
  const std::string keygen = config().keygen == "software" ? "" : config().keygen;
  const Pins pins(Origin::kProgram);
  if (Backend* const backend = wrapping_backend(keygen))
    return generate_with({backend, backend->wrapping_token()}, spec, prompt, pins);
  KeyUri any = KeyUri::parse("pkcs11:");
  if (slot) any.set_slot_id(*slot);
  for (const std::unique_ptr<Backend>& backend : setup().backends) {
    if (backend->name() == keygen)
      return generate_with(one_token(any, {backend.get()}, Choice::kConfiguration), spec, prompt,
                           pins);
  }
  throw Error(Reason::kNoToken,
              "key generation: no TPM is configured; name a section with `type = tpm2` in "
              "`backends` in openssl.cnf, or a token in the parameter hwid_uri");
}

}  // namespace hwid::core
