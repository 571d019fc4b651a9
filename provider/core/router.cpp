#include "provider/core/router.h"

#include <openssl/pem.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "provider/core/key_reference.h"
#include "provider/core/router_parts.h"

namespace hwid::core {

namespace {

constexpr std::size_t kMostCached = 1024;

std::string cache_name(const KeyUri& uri, const Wanted& wanted) {
  std::string name = uri.text() + " ";
  name += wanted.private_keys ? 'k' : '-';
  name += wanted.public_keys ? 'p' : '-';
  name += wanted.certificates ? 'c' : '-';
  return name;
}

// Certificates are renewed under their name, a listing grows, a file may be written anew, and where
// the program is to be asked for the PIN it is asked each time: only other keys are kept.
bool may_cache(const KeyUri& uri, const std::vector<Object>& objects) {
  return uri.names_object() && !uri.file() && !uri.asks_pin() && !objects.empty() &&
         objects.front().object_class == ObjectClass::kPrivateKey &&
         std::none_of(objects.begin(), objects.end(), [](const Object& object) {
           return object.object_class == ObjectClass::kCertificate || object.has_own_pin;
         });
}

// A class in the URI narrows what the caller wants.
Wanted narrow(Wanted wanted, const KeyUri& uri) {
  if (!uri.type()) return wanted;
  wanted.private_keys &= *uri.type() == ObjectClass::kPrivateKey;
  wanted.public_keys &= *uri.type() == ObjectClass::kPublicKey;
  wanted.certificates &= *uri.type() == ObjectClass::kCertificate;
  wanted.others &= wanted.private_keys || *uri.type() == ObjectClass::kOther;
  return wanted;
}

const char* class_text(const Wanted& wanted) {
  if (wanted.others) return "object";
  if (wanted.private_keys && !wanted.public_keys && !wanted.certificates) return "private key";
  if (wanted.public_keys && !wanted.private_keys && !wanted.certificates) return "public key";
  if (wanted.certificates && !wanted.private_keys && !wanted.public_keys) return "certificate";
  return "key or certificate";
}

// The URI in a key reference file; of a key that a TPM wrapped, the file's own.
std::string read_reference_file(const std::string& path) {
  const ErrorMark mark;
  const Bio file(BIO_new_file(path.c_str(), "r"));
  if (!file)
    throw Error(Reason::kBadReference,
                "key file " + path + ": " + last_libcrypto_error() +
                    "; name a file that this program may read in the keys section");
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  std::optional<std::string> uri;
  while (!uri && PEM_read_bio(file.get(), &label, &header, &data, &size) == 1) {
    const std::string name = label;
    const Bytes der(data, data + size);
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, static_cast<std::size_t>(size));
    if (is_reference_label(name)) uri = decode_reference(der);
    if (is_tss2_label(name)) uri = "tpm2:file=" + uri_escape(path);
  }
  if (!uri)
    throw Error(Reason::kBadReference, "key file " + path +
                                           ": it holds no key reference and no TSS2 PRIVATE KEY; "
                                           "write one with `openssl pkey -in URI -out FILE`");
  return *uri;
}

// What opens a key by name goes by that name. Where all is looked at, what stands beside the one
// private key keeps a URI of its own.
void keep_name(std::vector<Object>& objects, const KeyUri& name, const Wanted& wanted) {
  const auto is_private = [](const Object& object) {
    return object.object_class == ObjectClass::kPrivateKey;
  };
  const bool is_one = std::ranges::count_if(objects, is_private) == 1;
  for (Object& object : objects) {
    if (!wanted.others || (is_one && is_private(object))) object.description.uri = name.text();
  }
}

}  // namespace

Router::Router(const Libcrypto& crypto, const Log& log, AuditSink* audit, ConfigLookup lookup,
               MakeBackends make)
    : crypto_(crypto),
      log_(log),
      audit_(audit),
      lookup_(std::move(lookup)),
      make_(std::move(make)) {}

Router::~Router() { delete setup_.load(std::memory_order_acquire); }

Router::Setup& Router::setup() {
  if (Setup* const made = setup_.load(std::memory_order_acquire)) return *made;
  auto fresh = std::make_unique<Setup>();
  fresh->config = Config::read(lookup_);
  fresh->backends = make_(fresh->config);
  for (const std::string& name : fresh->config.unneeded)
    HWID_LOG(log_, kInfo, "openssl.cnf: " + name + " is not needed here, and has no effect");
  Setup* seen = nullptr;
  if (setup_.compare_exchange_strong(seen, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *seen;  // another thread was first
}

const Config& Router::config() { return setup().config; }

const std::vector<std::string>& Router::names() { return config().key_names; }

void Router::forget() {
  if (const Setup* const made = setup_.load(std::memory_order_acquire)) {
    for (const std::unique_ptr<Backend>& backend : made->backends) backend->forget();
  }
  Cache& cache = cache_.get();
  const std::lock_guard lock(cache.mutex);
  cache.entries.clear();
}

std::vector<Object> Router::open(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt,
                                 Origin origin) {
  if (uri.scheme() != KeyUri::Scheme::kName)
    return open_uri(uri, wanted, prompt, Pins(uri, origin));
  const Pins outer(uri, origin);
  const KeyUri followed = follow(uri, origin);
  std::vector<Object> objects =
      open_uri(followed, wanted, prompt, outer.none() ? Pins(followed, origin) : outer);
  keep_name(objects, uri, wanted);
  return objects;
}

std::vector<Object> Router::open_uri(const KeyUri& uri, const Wanted& wanted,
                                     const PinPrompt& prompt, const Pins& pins) {
  const Wanted narrowed = narrow(wanted, uri);
  const std::string name = cache_name(uri, narrowed);
  if (std::optional<Found> found = narrowed.others ? std::nullopt : cached(name)) {
    const Access access = access_for(*found->backend, found->standing, prompt, pins);
    for (Object& object : found->objects) {
      if (object.key) object.hold = object.key->hold(access.pins);
    }
    return std::move(found->objects);
  }
  Found found;
  try {
    found = find(uri, narrowed, prompt, pins);
  } catch (const Error& error) {
    const bool public_only = wanted.public_keys && !wanted.private_keys && !wanted.certificates;
    if (error.reason != Reason::kNoObject || !public_only) throw;
    std::vector<Object> halves = open_public_half(uri, prompt, pins);
    if (halves.empty()) throw;
    return halves;
  }
  if (!narrowed.others && may_cache(uri, found.objects)) {
    Found kept = found;
    for (Object& object : kept.objects) object.hold = nullptr;
    Cache& cache = cache_.get();
    const std::lock_guard lock(cache.mutex);
    if (cache.entries.size() >= kMostCached) cache.entries.clear();
    cache.entries.insert_or_assign(name, std::move(kept));
  }
  return std::move(found.objects);
}

// A public key that is asked for may stand on the token only as half of the private one.
std::vector<Object> Router::open_public_half(const KeyUri& uri, const PinPrompt& prompt,
                                             const Pins& pins) {
  constexpr Wanted kHalves{.public_keys = false, .certificates = false, .only_halves = true};
  std::vector<Object> halves;
  try {
    halves = find(uri, kHalves, prompt, pins).objects;
  } catch (const Error& error) {
    HWID_LOG(log_, kInfo, std::string("looking for a private key's public half: ") + error.what());
  }
  for (Object& object : halves) {
    object.object_class = ObjectClass::kPublicKey;
    object.public_key = std::make_shared<PublicKey>(object.key->public_key());
    object.key = nullptr;
    object.hold = nullptr;
  }
  return halves;
}

std::optional<Router::Found> Router::cached(const std::string& name) {
  Cache& cache = cache_.get();
  const std::lock_guard lock(cache.mutex);
  const auto found = cache.entries.find(name);
  return found == cache.entries.end() ? std::nullopt : std::optional(found->second);
}

// A name may lead to a file that is a reference to a URI; each kind is followed once.
KeyUri Router::follow(const KeyUri& name, Origin& origin) {
  std::optional<std::string> target = config().resolve(name.name());
  if (!target)
    throw Error(name.name().empty() ? Reason::kBadUri : Reason::kNoObject,
                "hwid:" + name.name() + ": the name is not configured; add `" + name.name() +
                    " = pkcs11:token=...;object=...` to the section that `keys` names in "
                    "openssl.cnf");
  const Cleansed target_guard(*target);
  std::string meant = *target;
  const Cleansed meant_guard(meant);
  if (meant.find(':') == std::string::npos || meant.starts_with("file:")) {
    meant = read_reference_file(meant.starts_with("file:") ? meant.substr(5) : meant);
    origin = Origin::kReferenceFile;
  }
  KeyUri followed = KeyUri::parse(meant);
  if (followed.scheme() == KeyUri::Scheme::kName)
    throw Error(Reason::kBadConfiguration, "hwid:" + name.name() + " leads to another name, " +
                                               followed.text() +
                                               "; let it lead to a pkcs11: or tpm2: URI");
  return followed;
}

// A token that the configuration gives to one backend is looked for there and nowhere else.
std::vector<Backend*> Router::backends_for(const KeyUri& uri) {
  const bool is_tpm = uri.scheme() == KeyUri::Scheme::kTpm2;
  std::vector<Backend*> all;
  std::vector<Backend*> owners;
  for (const std::unique_ptr<Backend>& backend : setup().backends) {
    if (is_tpm && backend->wrapping_token() == nullptr) continue;
    all.push_back(backend.get());
    if (uri.token() && backend->owns_token(*uri.token())) owners.push_back(backend.get());
  }
  std::vector<Backend*>& chosen = owners.empty() ? all : owners;
  for (const Backend* const backend : chosen) {
    if (backend->needs_base_provider()) crypto_.require_base_provider();
  }
  return chosen;
}

Access Router::access_without_pin() const {
  Access access{crypto_, log_, audit_, {}};
  access.pins.log = &log_;
  return access;
}

Access Router::access_for(const Backend& backend, Standing standing, const PinPrompt& prompt,
                          const Pins& pins) const {
  Access access = access_without_pin();
  access.pins.prompt = &prompt;
  access.pins.uri_value = pins.value;
  if (pins.source != nullptr && may_read(*pins.source, pins.origin))
    access.pins.uri_source = pins.source;
  if (pins.parent_source != nullptr && may_read(*pins.parent_source, pins.origin))
    access.parent_pin_source = pins.parent_source;
  if (standing != Standing::kOther) backend.add_pins(access.pins);
  return access;
}

bool Router::may_read(const std::string& source, Origin origin) const {
  const std::vector<std::string>& allowed = setup_.load()->config.allow_pin_source;
  if (origin == Origin::kProgram || std::ranges::find(allowed, source) != allowed.end())
    return true;
  HWID_LOG(log_, kWarn,
           "the pin-source of a key reference is not read: " + source +
               " is not listed in allow-pin-source");
  return false;
}

Router::Found Router::find(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt,
                           const Pins& pins) {
  if (!wanted.private_keys && !wanted.public_keys && !wanted.certificates && !wanted.others)
    throw Error(Reason::kNoObject,
                uri.text() +
                    ": the URI's type leaves out what the program asks for; correct type= (keys "
                    "and certificates are served, data and secret keys are not)");
  Search search;
  for (Backend* const backend : backends_for(uri)) {
    search_backend(*backend, uri, wanted, prompt, pins, search);
    if (!search.found.objects.empty() && uri.names_object()) return std::move(search.found);
  }
  if (search.tokens.empty() && search.found.objects.empty()) throw_no_token(uri, search);
  // What could not be looked at is not empty.
  if (search.found.objects.empty() && search.failure) std::rethrow_exception(search.failure);
  if (!search.found.objects.empty() || !uri.names_object()) {
    std::stable_sort(
        search.found.objects.begin(), search.found.objects.end(),
        [](const Object& a, const Object& b) { return a.object_class < b.object_class; });
    return std::move(search.found);
  }
  throw_no_object(uri, wanted, search);
}

// The objects of one backend. A PIN goes to the one token that the URI or the configuration means:
// sent to every token that matches a vague URI, it would use up the tries of the others.
void Router::search_backend(Backend& backend, const KeyUri& uri, const Wanted& wanted,
                            const PinPrompt& prompt, const Pins& pins, Search& search) {
  try {
    const std::vector<std::shared_ptr<Token>> tokens = backend.tokens(uri, search.seen);
    search.tokens.insert(search.tokens.end(), tokens.begin(), tokens.end());
    std::vector<Object>& all = search.found.objects;
    const auto takers = std::ranges::count_if(
        tokens, [](const std::shared_ptr<Token>& token) { return token->takes_pin(); });
    const std::exception_ptr failure_before = search.failure;
    for (const std::shared_ptr<Token>& token : tokens) {
      const Standing standing = token->standing();
      const bool meant =
          takers <= 1 || standing == Standing::kMeant || backend.owns_token(token->label());
      search_token(backend, *token, uri, wanted,
                   meant ? access_for(backend, standing, prompt, pins) : access_without_pin(),
                   meant ? "" : "token=" + uri_escape(token->label()), search);
      if (!all.empty() && uri.names_object()) return;
    }
    if (uri.names_object() && search.failure != failure_before) return;
    for (const std::shared_ptr<Token>& token : backend.namesakes(uri, tokens)) {
      search.tokens.push_back(token);
      search_token(backend, *token, uri, wanted, access_without_pin(),
                   "token=" + uri_escape(token->label()) + ";serial=" + uri_escape(token->serial()),
                   search);
      if (!all.empty() && uri.names_object()) return;
    }
  } catch (const Error& error) {
    HWID_LOG(log_, kWarn, "backend " + backend.name() + ": " + error.what());
    if (!search.failure) search.failure = std::current_exception();
  }
}

// `would_name`: what names a token that is not given the PIN, for the message; empty: it is given.
void Router::search_token(Backend& backend, Token& token, const KeyUri& uri, const Wanted& wanted,
                          const Access& access, const std::string& would_name, Search& search) {
  try {
    std::vector<Object> found = token.find(uri, wanted, access);
    if (!found.empty()) {
      search.found.backend = &backend;
      search.found.standing = token.standing();
    }
    for (const Object& object : found) {
      HWID_LOG(log_, kDebug,
               uri.text() + ": backend " + backend.name() + ": found " + object.description.uri +
                   (object.key ? std::string(", a private key of type ") +
                                     algorithm_name(object.key->public_key().algorithm())
                               : ""));
    }
    std::move(found.begin(), found.end(), std::back_inserter(search.found.objects));
  } catch (const Error& error) {
    HWID_LOG(log_, kInfo, std::string(error.what()));
    if (!would_name.empty() && error.reason == Reason::kPinMissing)
      search.unasked.push_back(would_name);
    else if (!search.failure)
      search.failure = std::current_exception();
  }
}

void Router::throw_no_token(const KeyUri& uri, const Search& search) {
  if (search.failure) std::rethrow_exception(search.failure);
  if (uri.scheme() == KeyUri::Scheme::kTpm2 && search.seen.empty())
    throw Error(Reason::kNoToken, uri.text() +
                                      ": no TPM is configured; name a section with `type = tpm2` "
                                      "in `backends` in openssl.cnf");
  const bool uninitialized =
      !search.seen.empty() &&
      std::all_of(search.seen.begin(), search.seen.end(), [](const std::string& line) {
        return line.find("not initialized") != std::string::npos;
      });
  if (uninitialized)
    throw Error(Reason::kTokenNotInitialized, uri.text() + ": no token is initialized (" +
                                                  list_text(search.seen) +
                                                  "); initialize one with `hwid init token`, or "
                                                  "see that the module reads its right "
                                                  "configuration (SoftHSM: SOFTHSM2_CONF)");
  throw Error(
      Reason::kNoToken,
      uri.text() + ": no token matches; " +
          (search.seen.empty()
               ? "the module shows no token where the URI looks: plug it in, or check the "
                 "module's own configuration (SoftHSM: SOFTHSM2_CONF) and the URI's slot-id="
               : "there are: " + list_text(search.seen) + "; correct token= in the URI"));
}

void Router::throw_no_object(const KeyUri& uri, const Wanted& wanted, const Search& search) const {
  if (!search.unasked.empty())
    throw Error(Reason::kPinMissing,
                uri.text() +
                    ": several tokens match, and a PIN is sent only to one that is named; "
                    "name it in the URI, as one of: " +
                    list_text(search.unasked));
  std::vector<std::string> there;
  std::vector<std::string> labels;
  for (const std::shared_ptr<Token>& token : search.tokens) {
    labels.push_back("token=" + token->label());
    try {
      // The login is there: the search before this one needed it.
      const KeyUri all = KeyUri::parse("pkcs11:token=" + uri_escape(token->label()));
      for (const Object& object : token->find(all, wanted, access_without_pin())) {
        std::string name = object.description.label.empty()
                               ? "id=" + name_text(uri_escape_id(object.description.id))
                               : name_text(object.description.label);
        if (std::find(there.begin(), there.end(), name) == there.end())
          there.push_back(std::move(name));
      }
    } catch (const Error& error) {
      HWID_LOG(log_, kDebug, std::string("listing for a message: ") + error.what());
    }
  }
  const std::string what = class_text(wanted);
  throw Error(Reason::kNoObject,
              uri.text() + ": no " + what + " matches on " + list_text(labels) + "; " +
                  (there.empty()
                       ? "the token shows no " + what +
                             " at all: make one, or correct "
                             "token= in the URI"
                       : "there are: " + list_text(there) + "; correct object= or id= in the URI"));
}

Secret Router::random(std::shared_ptr<Token>& source, std::size_t size) {
  const Access access = access_without_pin();
  if (source != nullptr) return source->random(size, access);
  const KeyUri any = KeyUri::parse("pkcs11:");
  Search search;
  const auto note_failure = [&](const Error& error) {
    HWID_LOG(log_, kInfo, std::string(error.what()));
    if (!search.failure) search.failure = std::current_exception();
  };
  for (const std::unique_ptr<Backend>& backend : setup().backends) {
    std::vector<std::shared_ptr<Token>> tokens;
    try {
      if (backend->needs_base_provider()) crypto_.require_base_provider();
      tokens = backend->tokens(any, search.seen);
    } catch (const Error& error) {
      note_failure(error);
    }
    if (std::shared_ptr<Token> tpm = backend->wrapping_token()) tokens.push_back(std::move(tpm));
    for (const std::shared_ptr<Token>& token : tokens) {
      try {
        Secret bytes = token->random(size, access);
        source = token;
        return bytes;
      } catch (const Error& error) {  // some tokens have no generator
        note_failure(error);
      }
    }
  }
  throw_no_token(any, search);
}

}  // namespace hwid::core
