#include "tools/hwid/renewal/keys.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "provider/core/error.h"
#include "provider/tpm2/key.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"

namespace hwid::tool::renewal {
namespace {

using core::Error;
using core::KeyUri;
using core::Reason;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "device-g12" is the twelfth generation of "device".
std::string without_number(const std::string& label) {
  const auto digits = std::find_if_not(label.rbegin(), label.rend(), is_digit);
  const std::size_t end = static_cast<std::size_t>(label.rend() - digits);
  const bool has_number = end < label.size() && end > 2 && label.compare(end - 2, 2, "-g") == 0;
  return has_number ? label.substr(0, end - 2) : label;
}

// The attributes that name the token, of a normal form.
std::string token_part(const std::string& uri) {
  constexpr std::array<std::string_view, 3> kOfObject = {"object=", "id=", "type="};
  const std::size_t begin = uri.find(':') + 1;
  std::string kept = uri.substr(0, begin);
  std::string_view rest = std::string_view(uri).substr(begin);
  rest = rest.substr(0, rest.find('?'));
  while (!rest.empty()) {
    const std::string_view attribute = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(attribute.size() + 1, rest.size()));
    const bool is_of_object = std::ranges::any_of(
        kOfObject, [&](std::string_view name) { return attribute.starts_with(name); });
    if (!is_of_object) kept.append(attribute).append(";");
  }
  return kept;
}

core::KeySpec spec_like(EVP_PKEY* key) {
  struct Kind {
    const char* name;
    core::Algorithm algorithm;
  };
  constexpr std::array<Kind, 5> kKinds = {{{"RSA-PSS", core::Algorithm::kRsaPss},
                                           {"RSA", core::Algorithm::kRsa},
                                           {"EC", core::Algorithm::kEc},
                                           {"ED25519", core::Algorithm::kEd25519},
                                           {"ED448", core::Algorithm::kEd448}}};
  const auto* const kind =
      std::ranges::find_if(kKinds, [&](const Kind& k) { return EVP_PKEY_is_a(key, k.name) == 1; });
  if (kind == kKinds.end())
    throw Error(Reason::kUnsupported, algorithm_text(key) +
                                          ": no key of that kind can be made beside this one; "
                                          "leave --new-key out");
  core::KeySpec spec;
  spec.algorithm = kind->algorithm;
  spec.rsa_bits = static_cast<std::size_t>(EVP_PKEY_get_bits(key));
  std::array<char, 64> group{};
  std::size_t size = 0;
  if (spec.algorithm == core::Algorithm::kEc &&
      EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1)
    spec.group = group.data();
  return spec;
}

// A pkcs11: URI may mean a key of a TPM, too, that `objects` has a name for.
bool is_in_tpm(Invocation& invocation, const KeyUri& uri) {
  const core::Object found = open_in_device(invocation, uri, core::Router::Origin::kProgram);
  return dynamic_cast<const tpm2::Key*>(found.key.get()) != nullptr;
}

bool says_missing(const Error& error) {
  return error.reason == Reason::kNoObject || error.reason == Reason::kNoPrivateKey;
}

bool is_free(Invocation& invocation, const std::string& place) {
  constexpr core::Wanted kKeys{true, true, false};
  try {
    (void)invocation.router().open(invocation.parse(place), kKeys, Invocation::prompt(),
                                   core::Router::Origin::kProgram);
  } catch (const Error& error) {
    if (!says_missing(error)) throw;
    return true;
  }
  return false;
}

// What opens the old key alone would be lost with it.
void refuse_policy(Invocation& invocation, const std::string& uri) {
  constexpr core::Wanted kPrivate{true, false, false};
  const auto objects = invocation.router().open(
      invocation.parse(uri), kPrivate, Invocation::prompt(), core::Router::Origin::kProgram);
  if (!objects.empty() && !objects.front().description.policy.empty())
    throw Error(Reason::kUnsupported,
                uri +
                    ": its policy would have to be made anew for another key; leave --new-key "
                    "out, or make the key with hwid generate and enrol it");
}

}  // namespace

std::string reference_of(Invocation& invocation, const std::string& source) {
  if (is_key_uri(source)) {
    const KeyUri uri = KeyUri::parse(source);
    const auto target = uri.scheme() == KeyUri::Scheme::kName
                            ? invocation.config().resolve(uri.name())
                            : std::nullopt;
    if (target)
      return reference_of(invocation, target->starts_with("file:") ? target->substr(5) : *target);
  }
  const core::EvpPkey key = open_private_key(invocation, source);
  std::string reference = private_key_pem(key.get());
  const core::Cleansed guard(reference);
  if (!is_in_hardware(reference))
    throw Error(Reason::kUnsupported,
                "file=" + source + ": an ordinary key in software; give a key in hardware");
  return reference;
}

std::string place_beside(Invocation& invocation, const KeyUri& current, const std::string& name,
                         unsigned number) {
  if (current.scheme() != KeyUri::Scheme::kPkcs11 || is_in_tpm(invocation, current)) return {};
  constexpr unsigned kMostTaken = 100;
  const std::string label = without_number(current.object().value_or(name));
  const std::string stem = token_part(current.text()) + "object=" + core::uri_escape(label) + "-g";
  for (unsigned at = number; at < number + kMostTaken; ++at) {
    std::string place = stem + std::to_string(at);
    if (is_free(invocation, place)) return place;
  }
  throw Error(Reason::kExists, stem + std::to_string(number) +
                                   ": there is a key of that name, and of the hundred after it; "
                                   "remove them with hwid delete, or leave --new-key out");
}

std::string make_beside(Invocation& invocation, const std::filesystem::path& reference,
                        const std::string& place) {
  const core::KeySpec spec = spec_like(open_private_key(invocation, reference.string()).get());
  if (place.empty()) {
    refuse_policy(invocation, uri_of(invocation, reference));
    const core::Object made = invocation.router().generate(
        KeyUri::parse(invocation.with_pin_source("tpm2:")), spec, Invocation::prompt());
    return wrapped_pem(*made.key);
  }
  (void)invocation.router().generate(invocation.parse(place), spec, Invocation::prompt());
  return reference_of(invocation, place + ";type=private");
}

std::string uri_of(Invocation& invocation, const std::filesystem::path& reference) {
  constexpr int kMostSteps = 8;  // a name, the file that it leads to, the name in that
  std::string file = reference.string();
  for (int step = 0; step < kMostSteps; ++step) {
    std::string uri = uri_in_file(file, read_file(file));
    if (uri.empty()) return uri;
    const KeyUri parsed = KeyUri::parse(uri);
    if (parsed.scheme() != KeyUri::Scheme::kName) return uri;
    std::string target = invocation.config().resolve(parsed.name()).value_or("");
    if (target.empty()) return uri;
    if (target.starts_with("file:")) target.erase(0, std::string_view("file:").size());
    if (is_key_uri(target)) return target;
    file = target;
  }
  throw Error(Reason::kBadConfiguration,
              "file=" + reference.string() +
                  ": it holds a name that leads from file to file without an end; put the URI of "
                  "the key into openssl.cnf");
}

core::EvpPkey find_key(Invocation& invocation, const std::string& source) {
  try {
    return open_private_key(invocation, source);
  } catch (const Error& error) {
    if (!says_missing(error)) throw;
    return nullptr;
  }
}

void destroy(Invocation& invocation, const std::string& uri) {
  try {
    (void)invocation.router().remove(invocation.parse(uri), core::Removal(), Invocation::prompt());
  } catch (const Error& error) {
    if (!says_missing(error)) throw;
  }
}

}  // namespace hwid::tool::renewal
