// What a token answers. An input says which URI is opened, and then what the module answers (see
// answers.cpp; attribute_seeds.py writes such inputs): through the router as a program does, or on
// a token with any label, whose keys then sign.
#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "fuzz/answers.h"
#include "fuzz/expected_keys.h"
#include "fuzz/property.h"
#include "provider/core/router.h"
#include "provider/pkcs11/backend.h"
#include "provider/pkcs11/token.h"

namespace {

using namespace hwid;
using core::KeyUri;
using core::Reason;
using fuzz::Answers;
using fuzz::require;

constexpr const char* kModule = "hwid-fuzz-module";

constexpr std::array<const char*, 18> kUris = {
    "pkcs11:",
    "pkcs11:object=key",
    "pkcs11:object=key;type=private",
    "pkcs11:id=%01",
    "pkcs11:object=key;id=%01",
    "pkcs11:object=key;type=public",
    "pkcs11:type=private",
    "pkcs11:type=public",
    "pkcs11:type=cert",
    "pkcs11:object=",
    "pkcs11:object=;id=",
    "pkcs11:token=tok",
    "pkcs11:token=tok;object=key",
    "pkcs11:token=tok;slot-id=0;object=key;type=private",
    "pkcs11:token=none;object=key",
    "pkcs11:model=fuzz;manufacturer=fuzz;serial=0001;slot-description=fuzz",
    "pkcs11:library-manufacturer=fuzz;library-version=1.0?module-path=/none&module-name=fuzz",
    "pkcs11:type=data"};

struct Opening {
  bool through_router = false;
  bool signs = false;
  std::string uri;
  core::Wanted wanted;
  pkcs11::TokenPolicy policy;
  std::uint8_t digest = 0;
};

Opening read_opening(fuzz::BytesReader& input) {
  const std::uint8_t how = input.byte();
  const std::uint8_t wanted = input.byte();
  Opening opening;
  opening.through_router = (how & 0x01) != 0;
  opening.signs = (how & 0x02) != 0;
  using Login = core::BackendConfig::Login;
  constexpr Login kLogins[] = {Login::kAuto, Login::kAlways, Login::kNever, Login::kAuto};
  opening.policy.login = kLogins[how >> 2 & 0x03];
  opening.policy.max_sessions = (how & 0x10) != 0 ? 1 : 16;
  opening.policy.allow_final_try = (how & 0x20) != 0;
  opening.wanted = {(wanted & 0x01) == 0, (wanted & 0x02) == 0, (wanted & 0x04) == 0};
  opening.digest = wanted >> 4;
  opening.uri = kUris[input.byte() % kUris.size()];
  return opening;
}

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

const core::Log& silent() {
  static const core::Log made;
  return made;
}

const core::Secret& pin() {
  static const core::Secret made{core::as_bytes(fuzz::kPin)};
  return made;
}

core::Access access() {
  core::Access made{crypto(), silent(), nullptr, {}};
  made.pins.configured_value = &pin();
  made.pins.log = &silent();
  return made;
}

// Most inputs have the same few keys, and libcrypto reads one slowly.
bool is_known(const core::Bytes& der) {
  static std::set<core::Bytes> known;
  if (known.size() > 1000) known.clear();
  return !known.insert(der).second;
}

void check_public_key(const core::PublicKey& key) {
  require(key.bits() > 0 && key.field_size() > 0, "a key has a size");
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.pkey(), &der);
  require(size > 0, "a public key can be written");
  const core::Bytes copy(der, der + size);
  OPENSSL_free(der);
  if (!is_known(copy)) {
    const core::PublicKey again = core::PublicKey::from_spki(crypto(), copy);
    require(again == key || key.algorithm() == core::Algorithm::kRsaPss, "and is the same then");
    require(again.bits() == key.bits(), "and of the same size");
  }
  if (!Answers::current().keeps_to_the_standard()) return;
  require(std::ranges::any_of(Answers::current().objects,
                              [&](const fuzz::FuzzObject& object) {
                                return fuzz::has_key(crypto().get(), object, copy, key.pkey());
                              }),
          "a public key is one that the token has");
}

void check_object(const core::Object& object) {
  using core::ObjectClass;
  require((object.key != nullptr) == (object.object_class == ObjectClass::kPrivateKey) &&
              (object.public_key != nullptr) == (object.object_class == ObjectClass::kPublicKey) &&
              object.certificate.empty() != (object.object_class == ObjectClass::kCertificate),
          "an object is what its class says");
  if (object.key) check_public_key(object.key->public_key());
  if (object.public_key) check_public_key(*object.public_key);
  const std::string& uri = object.description.uri;
  require(!fuzz::shows_pin(uri), "a description has no PIN", uri);
  try {
    require(KeyUri::parse(uri).type().has_value() || KeyUri::parse(uri).names_object(),
            "an object's URI leads to it", uri);
  } catch (const core::Error& error) {
    // Labels of many bytes make a URI that is too long; nothing else is wrong with it.
    require(std::string_view(error.what()).find("4096 bytes") != std::string_view::npos,
            "an object's URI is one", uri);
  }
}

template <typename Body>
void expect_errors_of_ours(Body&& body) {
  try {
    body();
  } catch (const core::Error& error) {
    fuzz::require_good_error(error);
  }
}

void check_signature(const core::Key& key, std::uint8_t choice) {
  using Kind = core::SignScheme::Kind;
  constexpr core::Digest kDigests[] = {core::Digest::kNone, core::Digest::kSha256,
                                       core::Digest::kSha1, core::Digest::kSha512};
  core::SignScheme scheme{};
  scheme.digest = kDigests[choice & 0x03];
  const bool is_ec = key.public_key().algorithm() == core::Algorithm::kEc;
  scheme.kind = is_ec ? Kind::kEcdsa : (choice & 0x04) != 0 ? Kind::kRsaPss : Kind::kRsaPkcs1;
  if (scheme.kind == Kind::kRsaPss) {
    scheme.mgf1_digest = scheme.digest;
    scheme.salt_size = core::digest_size(scheme.digest);
  }
  scheme.message = key.sign_input(scheme) == core::SignInput::kMessage;
  const std::size_t size = core::digest_size(scheme.digest);
  const core::Bytes input(size != 0 ? size : 20, 0xa5);
  const std::size_t expected = key.public_key().field_size() * (is_ec ? 2 : 1);
  for (int i = 0; i < 3; ++i)  // the third is made with a copy, where the token gains by it
    expect_errors_of_ours([&] {
      require(key.sign(scheme, input).size() == expected &&
                  Answers::current().claimed_signature(expected) == expected,
              "a signature has the key's size");
    });
}

// Any label and serial number: a token that the process does not remember.
void open_on_token(const Opening& opening) {
  const auto module =
      std::make_shared<pkcs11::Module>(pkcs11::ModuleSetup{kModule, {}, {}, Answers::functions()});
  const CK_TOKEN_INFO info = Answers::current().info(0);
  const auto shared = std::make_shared<pkcs11::SharedToken>(module, info);
  {
    pkcs11::TokenPolicy policy = opening.policy;
    policy.configured = access().pins;
    pkcs11::Token token(shared, policy, core::Standing::kEqual, &info);
    std::vector<core::Object> objects;
    expect_errors_of_ours(
        [&] { objects = token.find(KeyUri::parse(opening.uri), opening.wanted, access()); });
    for (const core::Object& object : objects) {
      check_object(object);
      if (object.key && opening.signs) check_signature(*object.key, opening.digest);
    }
  }
  const bool standard = Answers::current().keeps_to_the_standard();
  require(!standard || Answers::current().active_searches() == 0, "no search is left active");
  shared->quiesce();
  require(!standard || Answers::current().open_sessions() == 0, "no session is left open");
}

std::optional<std::string> configuration(const std::string& name) {
  if (name == "backends") return "dev";
  if (name == "dev.type") return "pkcs11";
  if (name == "dev.module") return kModule;
  if (name == "dev.pin") return std::string(fuzz::kPin);
  return std::nullopt;
}

std::shared_ptr<pkcs11::Module> shared_module() {
  return pkcs11::Module::get({kModule, {}, {}, Answers::functions()});
}

// The process remembers modules and tokens: they are made to lose what this input told them.
void forget_all() {
  Answers::current().take_away();
  const pkcs11::TokenPolicy policy;
  const pkcs11::Credentials nobody{policy, silent()};
  for (const auto& token : shared_module()->known_tokens()) {
    try {
      token->with_session({false, false, nobody}, [](pkcs11::Lease&, bool) {
        pkcs11::raise(CKR_TOKEN_NOT_PRESENT, "C_GetSessionInfo", {});
      });
    } catch (const core::Error&) {
    }
    require(!token->is_here() && !token->logged_in(), "a token that is gone is known to be");
  }
}

// By the URI that a listing gave it.
void check_can_be_opened(core::Router& router, const core::Object& object) {
  const std::string& uri = object.description.uri;
  try {
    const auto found = router.open(KeyUri::parse(uri), {}, {}, core::Router::Origin::kProgram);
    require(!found.empty(), "what is listed can be opened", uri);
  } catch (const core::Error& error) {
    fuzz::require_good_error(error);
    const bool too_long = std::string_view(error.what()).find("4096 bytes") != std::string::npos;
    require(too_long || error.reason == Reason::kSeveralObjects, "what is listed can be opened",
            uri + "\n" + error.what());
  }
}

void open_through_router(const Opening& opening) {
  {
    core::Router router(crypto(), silent(), nullptr, configuration, [](const core::Config& config) {
      return pkcs11::make_backends(config.backends.at(0), config, silent());
    });
    expect_errors_of_ours([&] {
      const auto objects = router.open(KeyUri::parse(opening.uri), opening.wanted, {},
                                       core::Router::Origin::kProgram);
      for (const core::Object& object : objects) check_object(object);
      if (!objects.empty() && Answers::current().keeps_to_the_standard())
        check_can_be_opened(router, objects.front());
    });
  }
  forget_all();
}

}  // namespace

int LLVMFuzzerInitialize(int*, char***) {
  // What is asked once in a process is asked now.
  const core::Bytes usual(64);
  for (std::uint8_t label = 0; label < fuzz::kFixedLabels; ++label) {
    core::Bytes input = usual;
    input[2] = label;
    fuzz::BytesReader reader(input);
    Answers::current().read(reader, true);
    (void)shared_module()->info();
    open_through_router({true, false, "pkcs11:", {}, {}, 0});
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (fuzz::shows_pin({reinterpret_cast<const char*>(data), size})) return 0;
  fuzz::BytesReader input({data, size});
  const Opening opening = read_opening(input);
  Answers::current().read(input, opening.through_router);
  if (opening.through_router)
    open_through_router(opening);
  else
    open_on_token(opening);
  return 0;
}
