#include "provider/core/router.h"

#include <openssl/pem.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "provider/core/key_reference.h"

namespace hwid::core {

// Configuration and backends, made when the first URI arrives.
struct Router::Setup {
  Config config;
  std::vector<std::unique_ptr<Backend>> backends;
};

// What a search found, and where.
struct Router::Found {
  std::vector<Object> objects;
  const Backend* backend = nullptr;
};

struct Router::Cache {
  explicit Cache(const Cache*) {}
  std::mutex mutex;
  std::map<std::string, Found> entries;  // holds no key open
};

// Tokens that a URI may mean, each with the backend that found it.
struct Router::Matches {
  std::vector<std::pair<Backend*, std::shared_ptr<Token>>> tokens;
  std::vector<std::string> seen;
  std::exception_ptr failure;  // of the first backend that could not be used
};

namespace {

constexpr std::size_t kMostCached = 1024;
constexpr std::size_t kMostListed = 10;

std::string cache_name(const KeyUri& uri, const Wanted& wanted) {
  std::string name = uri.text() + " ";
  name += wanted.private_keys ? 'k' : '-';
  name += wanted.public_keys ? 'p' : '-';
  name += wanted.certificates ? 'c' : '-';
  return name;
}

// Certificates are renewed under their name, and a listing grows: only keys are kept.
bool may_cache(const KeyUri& uri, const std::vector<Object>& objects) {
  return uri.names_object() && !objects.empty() &&
         objects.front().object_class == ObjectClass::kPrivateKey &&
         std::none_of(objects.begin(), objects.end(), [](const Object& object) {
           return object.object_class == ObjectClass::kCertificate;
         });
}

std::string join(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (std::size_t i = 0; i < parts.size() && i < kMostListed; ++i)
    text.append(i == 0 ? "" : separator).append(parts[i]);
  if (parts.size() > kMostListed)
    text.append(separator)
        .append("and ")
        .append(std::to_string(parts.size() - kMostListed))
        .append(" more");
  return text;
}

// A class in the URI narrows what the caller wants.
Wanted narrow(Wanted wanted, const KeyUri& uri) {
  if (!uri.type()) return wanted;
  wanted.private_keys &= *uri.type() == ObjectClass::kPrivateKey;
  wanted.public_keys &= *uri.type() == ObjectClass::kPublicKey;
  wanted.certificates &= *uri.type() == ObjectClass::kCertificate;
  return wanted;
}

// The URI in a key reference file.
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
  }
  if (!uri)
    throw Error(Reason::kBadReference, "key file " + path +
                                           ": it holds no key reference; write one with `openssl "
                                           "pkey -in URI -out FILE`");
  return *uri;
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
  Cache& cache = cache_.get();
  const std::lock_guard lock(cache.mutex);
  cache.entries.clear();
}

std::vector<Object> Router::open(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt,
                                 Origin origin) {
  if (uri.scheme() == KeyUri::Scheme::kName) return open_name(uri, wanted, prompt, origin);
  const Wanted narrowed = narrow(wanted, uri);
  const std::string name = cache_name(uri, narrowed);
  if (std::optional<Found> found = cached(name)) {
    const Access access = access_for(*found->backend, uri, prompt, origin);
    for (Object& object : found->objects) {
      if (object.key) object.hold = object.key->hold(access.pins);
    }
    return std::move(found->objects);
  }
  Found found = search(uri, narrowed, prompt, origin);
  if (may_cache(uri, found.objects)) {
    Found kept = found;
    for (Object& object : kept.objects) object.hold = nullptr;
    Cache& cache = cache_.get();
    const std::lock_guard lock(cache.mutex);
    if (cache.entries.size() >= kMostCached) cache.entries.clear();
    cache.entries.insert_or_assign(name, std::move(kept));
  }
  return std::move(found.objects);
}

std::optional<Router::Found> Router::cached(const std::string& name) {
  Cache& cache = cache_.get();
  const std::lock_guard lock(cache.mutex);
  const auto found = cache.entries.find(name);
  return found == cache.entries.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Object> Router::open_name(const KeyUri& uri, const Wanted& wanted,
                                      const PinPrompt& prompt, Origin origin) {
  const std::optional<std::string> target = config().resolve(uri.name());
  if (!target)
    throw Error(Reason::kBadUri,
                "hwid:" + uri.name() + ": the name is not configured; add `" + uri.name() +
                    " = pkcs11:token=...;object=...` to the section that `keys` names in "
                    "openssl.cnf");
  std::string meant = *target;
  // A name may lead to a file that is a reference to a URI; each kind is followed once.
  if (meant.find(':') == std::string::npos || meant.starts_with("file:")) {
    meant = read_reference_file(meant.starts_with("file:") ? meant.substr(5) : meant);
    origin = Origin::kReferenceFile;
  }
  const KeyUri followed = KeyUri::parse(meant);
  if (followed.scheme() == KeyUri::Scheme::kName)
    throw Error(Reason::kBadConfiguration, "hwid:" + uri.name() + " leads to another name, " +
                                               followed.text() + "; let it lead to a pkcs11: URI");
  std::vector<Object> objects = open(followed, wanted, prompt, origin);
  for (Object& object : objects) object.description.uri = uri.text();
  return objects;
}

Router::Matches Router::match_tokens(const KeyUri& uri) {
  crypto_.require_base_provider();
  Setup& made = setup();
  Matches matches;
  const bool owned = uri.token() && std::any_of(made.backends.begin(), made.backends.end(),
                                                [&](const auto& backend) {
                                                  return backend->owns_token(*uri.token());
                                                });
  for (const std::unique_ptr<Backend>& backend : made.backends) {
    if (owned && !backend->owns_token(*uri.token())) continue;
    try {
      for (std::shared_ptr<Token>& token : backend->tokens(uri, matches.seen))
        matches.tokens.emplace_back(backend.get(), std::move(token));
    } catch (const Error& error) {
      HWID_LOG(log_, kWarn, "backend " + backend->name() + ": " + error.what());
      if (!matches.failure) matches.failure = std::current_exception();
    }
    // The order of the backends decides; a listing shows all.
    if (!matches.tokens.empty() && uri.token() && uri.names_object()) break;
  }
  return matches;
}

Access Router::access_for(const Backend& backend, const KeyUri& uri, const PinPrompt& prompt,
                          Origin origin) {
  Access access{crypto_, log_, audit_, {}};
  access.pins.log = &log_;
  access.pins.prompt = &prompt;
  if (uri.pin_value()) access.pins.uri_value = &*uri.pin_value();
  if (uri.pin_source()) {
    const std::vector<std::string>& allowed = config().allow_pin_source;
    const bool may_read =
        origin == Origin::kProgram ||
        std::find(allowed.begin(), allowed.end(), *uri.pin_source()) != allowed.end();
    if (may_read)
      access.pins.uri_source = &*uri.pin_source();
    else
      HWID_LOG(log_, kWarn,
               "the pin-source of a key reference is not read: " + *uri.pin_source() +
                   " is not listed in allow-pin-source");
  }
  backend.add_pins(access.pins);
  return access;
}

Router::Found Router::search(const KeyUri& uri, const Wanted& wanted, const PinPrompt& prompt,
                             Origin origin) {
  const Matches matches = match_tokens(uri);
  if (matches.tokens.empty()) throw_no_token(uri, matches);
  Found all;
  std::exception_ptr failure = matches.failure;
  for (const auto& [backend, token] : matches.tokens) {
    try {
      std::vector<Object> found =
          token->find(uri, wanted, access_for(*backend, uri, prompt, origin));
      if (!found.empty()) all.backend = backend;
      std::move(found.begin(), found.end(), std::back_inserter(all.objects));
    } catch (const Error& error) {
      // The URI names one token, or the object may be on another one.
      if (matches.tokens.size() == 1) throw;
      HWID_LOG(log_, kWarn, std::string(error.what()));
      if (!failure) failure = std::current_exception();
    }
    if (!all.objects.empty() && uri.names_object()) break;
  }
  if (!all.objects.empty() || !uri.names_object()) {
    std::stable_sort(all.objects.begin(), all.objects.end(), [](const Object& a, const Object& b) {
      return a.object_class < b.object_class;
    });
    return all;
  }
  if (failure) std::rethrow_exception(failure);
  throw_no_object(uri, wanted, matches, prompt);
}

void Router::throw_no_token(const KeyUri& uri, const Matches& matches) {
  if (matches.failure) std::rethrow_exception(matches.failure);
  const bool uninitialized =
      !matches.seen.empty() &&
      std::all_of(matches.seen.begin(), matches.seen.end(), [](const std::string& line) {
        return line.find("not initialized") != std::string::npos;
      });
  if (uninitialized)
    throw Error(Reason::kTokenNotInitialized,
                uri.text() + ": no token is initialized (" + join(matches.seen, ", ") +
                    "); initialize one with `pkcs11-tool --init-token --label LABEL`");
  throw Error(Reason::kNoToken,
              uri.text() + ": no token matches; " +
                  (matches.seen.empty()
                       ? "the module shows no token: plug it in, or check the module's own "
                         "configuration (SoftHSM: SOFTHSM2_CONF)"
                       : "there are: " + join(matches.seen, ", ") + "; correct token= in the URI"));
}

void Router::throw_no_object(const KeyUri& uri, const Wanted& wanted, const Matches& matches,
                             const PinPrompt& prompt) {
  std::vector<std::string> there;
  std::string tokens;
  for (const auto& [backend, token] : matches.tokens) {
    tokens.append(tokens.empty() ? "token=" : ", token=").append(token->label());
    try {
      const KeyUri all = KeyUri::parse("pkcs11:token=" + uri_escape(token->label()));
      for (const Object& object :
           token->find(all, wanted, access_for(*backend, uri, prompt, Origin::kProgram))) {
        there.push_back(object.description.label.empty()
                            ? "id=" + uri_escape_id(object.description.id)
                            : object.description.label);
      }
    } catch (const Error& error) {
      HWID_LOG(log_, kDebug, std::string("listing for a message: ") + error.what());
    }
  }
  const char* const what =
      !wanted.private_keys ? wanted.certificates ? "certificate" : "public key" : "private key";
  throw Error(Reason::kNoObject,
              uri.text() + ": no " + what + " matches on " + tokens + "; " +
                  (there.empty() ? "there is none of that class: make one, or check that the "
                                   "login was not skipped"
                                 : "there are: " + join(there, ", ") +
                                       "; correct object= or id= in the URI"));
}

Object Router::generate(const KeyUri& uri, KeySpec spec, const PinPrompt& prompt) {
  if (uri.scheme() == KeyUri::Scheme::kName) {
    const std::optional<std::string> target = config().resolve(uri.name());
    if (!target || !target->starts_with("pkcs11:"))
      throw Error(Reason::kBadUri, "hwid:" + uri.name() +
                                       ": to make this key, let the name lead to a pkcs11: URI in "
                                       "openssl.cnf");
    Object object = generate(KeyUri::parse(*target), std::move(spec), prompt);
    object.description.uri = uri.text();
    return object;
  }
  const Matches matches = match_tokens(uri);
  if (matches.tokens.empty()) throw_no_token(uri, matches);
  if (matches.tokens.size() > 1)
    throw Error(Reason::kNoToken, uri.text() + ": " + std::to_string(matches.tokens.size()) +
                                      " tokens match; name the one for the new key with token=");
  if (uri.object()) spec.label = *uri.object();
  if (uri.id()) spec.id = *uri.id();
  const auto& [backend, token] = matches.tokens.front();
  Object object;
  object.object_class = ObjectClass::kPrivateKey;
  const Access access = access_for(*backend, uri, prompt, Origin::kProgram);
  object.key = token->generate(spec, access);
  object.description = object.key->description();
  object.hold = object.key->hold(access.pins);
  forget();
  return object;
}

}  // namespace hwid::core
