#include "provider/tpm2/token.h"

#include <algorithm>
#include <exception>

#include "provider/tpm2/key_file.h"

namespace hwid::tpm2 {

using core::Access;
using core::BackendConfig;
using core::Bytes;
using core::ByteView;
using core::Error;
using core::KeyDescription;
using core::KeyUri;
using core::NamedObject;
using core::Object;
using core::ObjectClass;
using core::Reason;
using core::Secret;

Token::Token(const BackendConfig& section, std::shared_ptr<Device> device)
    : device_(std::move(device)),
      has_label_(!section.token.empty()),
      objects_(section.objects),
      parent_(section.parent),
      parent_auth_(copy(section.parent_auth)),
      default_policy_(section.default_policy),
      policies_(section.policies) {}

Token::Found Token::at_handle(TPM2_HANDLE handle, const std::string& label, const Access& access) {
  const PublicObject object = device_->public_object(caller_of(access), handle);
  return {{handle, nullptr, object.name, label},
          object.public_area,
          {},
          nullptr,
          Found::Ask::kIfConfigured};
}

Token::Found Token::from_tss2(const Tss2Key& key, const std::string& label, const Access& access) {
  require_usable(key);
  auto blob = std::make_shared<KeyBlob>();
  blob->public_area = key.public_area;
  blob->private_area = key.private_area;
  blob->seed = seed_of(key);
  blob->parent.handle = key.parent;
  blob->parent.name = key.parent_name;
  if (key.rsa_parent)
    blob->parent.primary =
        std::make_shared<const TPMT_PUBLIC>(storage_template(StorageKey::kRsa2048).publicArea);
  Found found;
  found.area = key.public_area.publicArea;
  found.ref = {0, std::move(blob), object_name(access.crypto, found.area), label};
  found.ask = key.empty_auth ? Found::Ask::kNever : Found::Ask::kProgramToo;
  found.tss2 = encode_tss2(key);
  found.file = std::make_shared<const Tss2Key>(key);
  return found;
}

Token::Found Token::in_file(const std::string& path, const std::string& label,
                            const Access& access) {
  const KeyFile file = read_key_file(path);
  if (const auto* const saved = std::get_if<SavedHandle>(&file)) {
    if (object_name(access.crypto, saved->public_area.publicArea) != saved->name)
      throw Error(Reason::kBadReference,
                  "key file " + path +
                      ": the key's name is not that of its public area; write the file anew with "
                      "tpm2_readpublic -t");
    return {{saved->handle, nullptr, saved->name, label},
            saved->public_area.publicArea,
            {},
            nullptr,
            Found::Ask::kIfConfigured};
  }
  try {
    return from_tss2(std::get<Tss2Key>(file), label, access);
  } catch (const Error& error) {
    throw Error(error.reason, "key file " + path + ": " + error.what(), error.where);
  }
}

Token::Found Token::named(const NamedObject& object, const Access& access) {
  return object.handle ? at_handle(*object.handle, object.name, access)
                       : in_file(object.file, object.name, access);
}

const NamedObject& Token::require_named(const KeyUri& uri) const {
  const auto found = std::ranges::find(objects_, uri.object().value_or(""), &NamedObject::name);
  if (found != objects_.end()) return *found;
  std::string there;
  for (const NamedObject& object : objects_) there += (there.empty() ? "" : ", ") + object.name;
  throw Error(Reason::kNoObject,
              uri.text() + ": no object of that name on token=" + label() + "; " +
                  (there.empty() ? "`objects` names none" : "`objects` names: " + there) +
                  "; add it there (NAME=0x81000002), or correct object= in the URI");
}

std::vector<Object> Token::find(const KeyUri& uri, const core::Wanted& wanted,
                                const Access& access) {
  if (const auto index = nv_index(uri))
    return nv_objects(*index, uri.object().value_or(core::handle_text(*index)), uri, wanted,
                      access);
  if (uri.ek()) return endorsement(uri, wanted, access);
  if (uri.handle()) {
    return one(at_handle(*uri.handle(), core::handle_text(*uri.handle()), access), wanted, uri,
               access);
  }
  if (uri.file()) return one(in_file(*uri.file(), *uri.file(), access), wanted, uri, access);
  if (uri.object()) return one(named(require_named(uri), access), wanted, uri, access);
  if (uri.id()) return {};
  return list(wanted, access);
}

std::vector<Object> Token::one(Found found, const core::Wanted& wanted, const KeyUri& uri,
                               const Access& access) {
  std::vector<Object> all;
  if (!wanted.private_keys && !wanted.public_keys && !wanted.others)
    return certificates_beside(found, access);
  if (wanted.others && !is_key(found.area)) {
    all.push_back(make_other(found, uri.text()));
    return all;
  }
  std::vector<Object> certificates;  // who wants all shows them, and what goes with the key
  if (wanted.others && wanted.certificates) certificates = certificates_beside(found, access);
  all.push_back(make_object(std::move(found), wanted, &uri, uri.text(), access));
  std::ranges::move(certificates, std::back_inserter(all));
  return all;
}

// The named objects, then the other persistent ones, then certificates. Nobody is asked for auth
// values.
std::vector<Object> Token::list(const core::Wanted& wanted, const Access& access) {
  std::vector<Object> all;
  std::exception_ptr failure;
  const auto attempt = [&](auto&& look) {
    try {
      look();
    } catch (const Error& error) {  // one that is not there must not spoil a listing
      HWID_LOG(access.log, kWarn, std::string(error.what()));
      if (!failure) failure = std::current_exception();
    }
  };
  if (!wanted.private_keys && !wanted.public_keys && !wanted.others) {
    list_nv(wanted, access, all);
    return all;
  }
  std::vector<TPM2_HANDLE> there;
  attempt([&] { there = device_->tpm().handles(caller_of(access), TPM2_PERSISTENT_FIRST); });
  const bool all_is_known = !failure;
  for (const NamedObject& object : objects_) {
    const bool is_there = !object.handle || std::erase(there, *object.handle) != 0;
    if (object.handle && core::handle_kind(*object.handle) == core::HandleKind::kNv) continue;
    if (!is_there && all_is_known &&
        core::handle_kind(*object.handle) == core::HandleKind::kPersistent) {
      HWID_LOG(access.log, kInfo,
               object.name + ": nothing is at " + core::handle_text(*object.handle) + " yet");
      continue;
    }
    attempt([&] { add_listed(named(object, access), wanted, uri_of(object), access, all); });
  }
  for (const TPM2_HANDLE handle : there) {
    attempt([&] {
      const std::string name = core::handle_text(handle);
      add_listed(at_handle(handle, name, access), wanted, "tpm2:handle=" + name, access, all);
    });
  }
  if (wanted.certificates || wanted.others) attempt([&] { list_nv(wanted, access, all); });
  if (all.empty() && failure) std::rethrow_exception(failure);  // what was not seen is not empty
  return all;
}

void Token::add_listed(Found found, const core::Wanted& wanted, const std::string& uri,
                       const Access& access, std::vector<Object>& all) {
  if (!is_key(found.area)) {
    if (wanted.others) all.push_back(make_other(found, uri));
    return;
  }
  const bool is_pkcs11 = uri.starts_with("pkcs11:");
  found.ask = std::min(found.ask, Found::Ask::kIfConfigured);
  if (wanted.private_keys)
    all.push_back(listed_key(found, is_pkcs11 ? uri + ";type=private" : uri, access));
  if (wanted.public_keys)
    all.push_back(make_object(std::move(found), {false, true, false}, nullptr,
                              is_pkcs11 ? uri + ";type=public" : uri, access));
}

// A PIN that cannot be had hides no key.
Object Token::listed_key(const Found& found, const std::string& uri, const Access& access) {
  constexpr core::Wanted kPrivate{true, false, false};
  try {
    return make_object(found, kPrivate, nullptr, uri, access);
  } catch (const Error& error) {
    if (error.reason != Reason::kPinMissing) throw;
    HWID_LOG(access.log, kInfo, uri + " is listed without its PIN: " + error.what());
  }
  Access without = access;
  without.pins = {};
  without.pins.log = &access.log;
  return make_object(found, kPrivate, nullptr, uri, without);
}

Object Token::make_other(const Found& found, const std::string& uri) const {
  Object other;
  other.object_class = ObjectClass::kOther;
  other.description = KeyDescription{"tpm2", label(), found.ref.label, {}, uri};
  other.description.traits = kind_text(found.area);
  other.protection = protection(found.area);
  return other;
}

// A pkcs11: URI leads to a TPM by its configured label only.
std::string Token::uri_of(const NamedObject& object) const {
  if (has_label_)
    return "pkcs11:token=" + core::uri_escape(label()) + ";object=" + core::uri_escape(object.name);
  return object.handle ? "tpm2:handle=" + core::handle_text(*object.handle)
                       : "tpm2:file=" + core::uri_escape(object.file);
}

// What is said of a public area, with whose it is.
template <typename Judge>
auto Token::placed(const Found& found, Judge&& judge) const {
  try {
    return judge();
  } catch (const Error& error) {
    throw Error(error.reason,
                (found.ref.blob ? core::kTss2Label : "TPM2_ReadPublic") +
                    place_text(device_->tpm().place(found.ref.label)) + ": " + error.what(),
                error.where);
  }
}

core::PublicKey Token::public_half(const Found& found, const Access& access) const {
  return placed(found, [&] { return public_key(access.crypto, found.area); });
}

// A public key that is asked for is the public half: no auth value is needed.
Object Token::make_object(Found found, const core::Wanted& wanted, const KeyUri* uri,
                          const std::string& uri_text, const Access& access) {
  Object object;
  object.description = KeyDescription{"tpm2", label(), found.ref.label, {}, uri_text};
  object.description.traits = traits_text(found.area);
  if (!wanted.private_keys) {
    object.object_class = ObjectClass::kPublicKey;
    object.public_key = std::make_shared<core::PublicKey>(public_half(found, access));
    return object;
  }
  found.ref.policy = placed(found, [&] { return policy_for(found, uri, access); });
  KeySecrets secrets = secrets_for(found, uri, access);
  auto key = placed(found, [&] {
    return std::make_shared<Key>(device_, caller_of(access), found.ref, found.area,
                                 object.description, std::move(secrets), found.tss2);
  });
  object.object_class = ObjectClass::kPrivateKey;
  object.has_own_pin = true;  // or none, which is not what the next URI brings
  object.key = std::move(key);
  return object;
}

PolicySource Token::policy_named(const std::string& name, const Access& access) const {
  const auto setting = [policies = policies_, name](const std::string& key) {
    return policies ? policies(name + "." + key) : std::nullopt;
  };
  return {setting, policies_, "policy " + name, &access.log};
}

// That the URI names.
PolicySource Token::policy_of(const KeyUri& uri, const Access& access) const {
  PolicySource source = policy_named(*uri.policy(), access);
  if (has_policy(source.setting)) return source;
  throw Error(Reason::kBadUri, uri.text() + ": there is no policy of that name; add " +
                                   *uri.policy() +
                                   " = SECTION to the section that `policies` of the TPM's "
                                   "section names");
}

// The URI's, then one of the key's name, then its own in its file, then that of all keys. A wrong
// one is told at once where a URI names the key; else it must not hide the key, and is told at its
// use.
std::shared_ptr<const KeyPolicy> Token::policy_for(const Found& found, const KeyUri* uri,
                                                   const Access& access) const {
  const auto configured = [&](const PolicySource& source) -> std::shared_ptr<const KeyPolicy> {
    try {
      return tpm2::policy_for(access.crypto, found.area, source);
    } catch (const Error& error) {
      if (uri != nullptr) throw;
      auto wrong = std::make_shared<KeyPolicy>();
      wrong->origin = source.origin;
      wrong->problem = error;
      return wrong;
    }
  };
  if (uri != nullptr && uri->policy()) return configured(policy_of(*uri, access));
  if ((found.area.objectAttributes & TPMA_OBJECT_USERWITHAUTH) != 0) return nullptr;
  const std::string& name = found.ref.label;
  if (std::ranges::find(objects_, name, &NamedObject::name) != objects_.end()) {
    const PolicySource source = policy_named(name, access);
    if (has_policy(source.setting)) return configured(source);
  }
  if (found.file && !(found.file->policy.empty() && found.file->auth_policy.empty()))
    return policy_of_file(access.crypto, *found.file);
  if (!has_policy(default_policy_)) return nullptr;
  return configured({default_policy_, policies_, "`policy` of the TPM's section", &access.log});
}

// emptyAuth of a file is a hint, which not every writer gets right: what the URI brings counts all
// the same, only nobody is asked. (Key::auth has more.)
KeySecrets Token::secrets_for(const Found& found, const KeyUri* uri, const Access& access) const {
  core::PinChain pins = access.pins;
  const bool may_ask = found.ask == Found::Ask::kProgramToo || (uri != nullptr && uri->asks_pin());
  if (!may_ask) pins.prompt = nullptr;
  if (found.ask == Found::Ask::kNever) pins.configured_value = nullptr;
  if (found.ask == Found::Ask::kNever) pins.configured_source = nullptr;
  const std::string name = found.ref.label.empty() ? "the TPM's key" : "TPM key " + found.ref.label;
  KeySecrets secrets;
  const KeyPolicy* const policy = found.ref.policy.get();
  if (policy == nullptr || std::ranges::any_of(policy->alternatives, asks_value)) {
    secrets.value = pins.obtain(name);
    secrets.needs_value =
        found.ask == Found::Ask::kProgramToo ||
        (policy != nullptr && std::ranges::all_of(policy->alternatives, needs_value));
  }
  if (found.ref.blob) secrets.parent_value = parent_value(access);
  return secrets;
}

std::optional<Secret> Token::parent_value(const Access& access) const {
  if (access.parent_pin_source != nullptr)
    return core::read_pin_source(*access.parent_pin_source, access.log);
  return copy(parent_auth_);
}

Object Token::unwrap(ByteView der, const Access& access) {
  const Tss2Key key = decode_tss2(der);
  return make_object(from_tss2(key, without_values(key.description), access), {}, nullptr, {},
                     access);
}

Secret Token::random(std::size_t size, const Access& access) {
  return device_->tpm().random(caller_of(access), size, device_->protects(true));
}

}  // namespace hwid::tpm2
