#include "provider/tpm2/backend.h"

#include <algorithm>
#include <exception>

#include "provider/tpm2/key.h"
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

namespace {

// The whole TPM, as one token: its keys are those at handles, those in files, and the named ones.
class Token final : public core::Token {
 public:
  Token(const BackendConfig& section, std::shared_ptr<Device> device);

  std::string label() const override { return device_->label(); }
  std::vector<Object> find(const KeyUri& uri, const core::Wanted& wanted,
                           const Access& access) override;
  std::shared_ptr<const core::Key> generate(const core::KeySpec& spec,
                                            const Access& access) override;
  Object unwrap(ByteView der, const Access& access) override;
  Secret random(std::size_t size, const Access& access) override;

 private:
  // What one open found, and how its auth value may be had.
  struct Found {
    KeyRef ref;
    TPMT_PUBLIC area{};
    Bytes tss2;
    enum class Ask { kNever, kIfConfigured, kProgramToo } ask = Ask::kIfConfigured;
  };
  Found at_handle(TPM2_HANDLE handle, const std::string& label, const Access& access);
  Found in_file(const std::string& path, const std::string& label, const Access& access);
  static Found from_tss2(const Tss2Key& key, const std::string& label, const Access& access);
  Found named(const NamedObject& object, const Access& access);
  Object make_object(Found found, const core::Wanted& wanted, const KeyUri* uri,
                     const std::string& uri_text, const Access& access);
  KeySecrets secrets_for(const Found& found, const KeyUri* uri, const Access& access) const;
  std::optional<Secret> parent_value(const Access& access) const;
  const NamedObject& require_named(const KeyUri& uri) const;
  std::string uri_of(const NamedObject& object) const;
  template <typename Judge>
  auto placed(const Found& found, Judge&& judge) const;
  std::optional<TPM2_HANDLE> place_for(const core::KeySpec& spec) const;
  void require_place(TPM2_HANDLE handle, const Secret* owner_value, const Access& access);

  const std::shared_ptr<Device> device_;
  const bool has_label_;
  const std::vector<NamedObject> objects_;
  const std::optional<std::uint32_t> parent_;
  const std::optional<Secret> parent_auth_;
};

std::optional<Secret> copy(const std::optional<Secret>& secret) {
  return secret ? std::optional(secret->clone()) : std::nullopt;
}

Token::Token(const BackendConfig& section, std::shared_ptr<Device> device)
    : device_(std::move(device)),
      has_label_(!section.token.empty()),
      objects_(section.objects),
      parent_(section.parent),
      parent_auth_(copy(section.parent_auth)) {}

// A new key gets the auth value that it will be opened with.
std::optional<Secret> unasked(core::PinChain pins) {
  pins.prompt = nullptr;
  return pins.obtain({});
}

Caller caller_of(const Access& access) { return {access.crypto, access.log}; }

[[noreturn]] void nv_unread(const std::string& what) {
  throw Error(Reason::kUnsupported,
              what +
                  ": NV indexes (certificates, public keys) are not read by this version; write it "
                  "to a file with tpm2_nvread, and name the file");
}

Token::Found Token::at_handle(TPM2_HANDLE handle, const std::string& label, const Access& access) {
  if (core::handle_kind(handle) == core::HandleKind::kNv) nv_unread(hex(handle));
  const PublicObject object = device_->public_object(caller_of(access), handle);
  return {{handle, nullptr, object.name, label}, object.public_area, {}, Found::Ask::kIfConfigured};
}

Token::Found Token::from_tss2(const Tss2Key& key, const std::string& label, const Access& access) {
  require_usable(key);
  auto blob = std::make_shared<KeyBlob>();
  blob->public_area = key.public_area;
  blob->private_area = key.private_area;
  blob->parent.handle = key.parent;
  if (key.rsa_parent)
    blob->parent.primary =
        std::make_shared<const TPMT_PUBLIC>(storage_template(StorageKey::kRsa2048).publicArea);
  Found found;
  found.area = key.public_area.publicArea;
  found.ref = {0, std::move(blob), object_name(access.crypto, found.area), label};
  found.ask = key.empty_auth ? Found::Ask::kNever : Found::Ask::kProgramToo;
  found.tss2 = encode_tss2(key);
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
  std::vector<Object> all;
  if (uri.nv() || (uri.handle() && core::handle_kind(*uri.handle()) == core::HandleKind::kNv))
    nv_unread(uri.text());
  if (!wanted.private_keys && !wanted.public_keys) return all;
  const auto add = [&](Found found, const std::string& text) {
    all.push_back(make_object(std::move(found), wanted, &uri, text, access));
  };
  if (uri.policy())
    throw Error(Reason::kUnsupported,
                uri.text() +
                    ": policies are not used by this version; name a key that its auth "
                    "value opens");
  if (uri.handle()) {
    add(at_handle(*uri.handle(), core::handle_text(*uri.handle()), access), uri.text());
  } else if (uri.file()) {
    add(in_file(*uri.file(), *uri.file(), access), uri.text());
  } else if (uri.object()) {
    add(named(require_named(uri), access), uri.text());
  } else if (!uri.id()) {
    std::exception_ptr failure;
    for (const NamedObject& object : objects_) {
      if (object.handle && core::handle_kind(*object.handle) == core::HandleKind::kNv) continue;
      try {
        add(named(object, access), uri_of(object));
      } catch (const Error& error) {  // one that is not there must not spoil a listing
        HWID_LOG(access.log, kWarn, std::string(error.what()));
        if (!failure) failure = std::current_exception();
      }
    }
    if (all.empty() && failure) std::rethrow_exception(failure);  // what was not seen is not empty
  }
  return all;
}

// A pkcs11: URI leads to a TPM by its configured label only.
std::string Token::uri_of(const NamedObject& object) const {
  if (has_label_)
    return "pkcs11:token=" + core::uri_escape(label()) +
           ";object=" + core::uri_escape(object.name) + ";type=private";
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

// A public key that is asked for is the public half: no auth value is needed.
Object Token::make_object(Found found, const core::Wanted& wanted, const KeyUri* uri,
                          const std::string& uri_text, const Access& access) {
  Object object;
  object.description = KeyDescription{"tpm2", label(), found.ref.label, {}, uri_text};
  object.description.traits = traits_text(found.area);
  if (!wanted.private_keys) {
    object.object_class = ObjectClass::kPublicKey;
    object.public_key = placed(found, [&] {
      return std::make_shared<core::PublicKey>(public_key(access.crypto, found.area));
    });
    return object;
  }
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

// emptyAuth of a file is a hint, which not every writer gets right: what the URI brings counts all
// the same, only nobody is asked.
KeySecrets Token::secrets_for(const Found& found, const KeyUri* uri, const Access& access) const {
  core::PinChain pins = access.pins;
  const bool may_ask = found.ask == Found::Ask::kProgramToo || (uri != nullptr && uri->asks_pin());
  if (!may_ask) pins.prompt = nullptr;
  if (found.ask == Found::Ask::kNever) pins.configured_value = nullptr;
  if (found.ask == Found::Ask::kNever) pins.configured_source = nullptr;
  const std::string name = found.ref.label.empty() ? "the TPM's key" : "TPM key " + found.ref.label;
  KeySecrets secrets;
  secrets.value = pins.obtain(name);
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
  return make_object(from_tss2(key, key.description, access), {}, nullptr, {}, access);
}

Secret Token::random(std::size_t size, const Access& access) {
  return device_->tpm().random(caller_of(access), size, device_->protects(true));
}

std::optional<TPM2_HANDLE> Token::place_for(const core::KeySpec& spec) const {
  std::optional<TPM2_HANDLE> handle = spec.persistent_at;
  if (!handle && !spec.label.empty()) {
    const auto named = std::ranges::find(objects_, spec.label, &NamedObject::name);
    if (named == objects_.end() || !named->handle)
      throw Error(Reason::kBadConfiguration,
                  "TPM2_Create:" + place_text(device_->tpm().place(spec.label)) +
                      ": the name has no handle; add " + spec.label +
                      "=0x81000002 to `objects`, or leave object= out for a key in a file");
    handle = named->handle;
  }
  constexpr TPM2_HANDLE kLastOfOwner = TPM2_PLATFORM_PERSISTENT - 1;
  if (handle && (*handle < TPM2_PERSISTENT_FIRST || *handle > kLastOfOwner))
    throw Error(Reason::kBadParameter,
                "TPM2_EvictControl:" + place_text(device_->tpm().place(hex(*handle))) +
                    ": a key is made persistent at 0x81000000 to "
                    "0x817fffff; choose a handle there");
  return handle;
}

// Before the TPM makes an RSA key for nothing.
void Token::require_place(TPM2_HANDLE handle, const Secret* owner_value, const Access& access) {
  const Caller caller = caller_of(access);
  device_->tpm().require_owner_value(caller, owner_value, handle);
  const std::vector<TPM2_HANDLE> taken = device_->tpm().handles(caller, handle);
  if (!taken.empty() && taken.front() == handle)
    throw Error(Reason::kExists, "TPM2_EvictControl: TPM_RC_NV_DEFINED" +
                                     place_text(device_->tpm().place(hex(handle))) +
                                     ": a key is there; choose another handle, or remove it with "
                                     "tpm2_evictcontrol");
}

std::shared_ptr<const core::Key> Token::generate(const core::KeySpec& spec, const Access& access) {
  const Caller caller = caller_of(access);
  const std::optional<TPM2_HANDLE> handle = place_for(spec);
  KeySecrets secrets;
  secrets.value = spec.auth ? std::optional(spec.auth->clone()) : unasked(access.pins);
  secrets.parent_value =
      spec.parent_auth ? std::optional(spec.parent_auth->clone()) : parent_value(access);
  const Secret* const value = secrets.value ? &*secrets.value : nullptr;
  const Secret* const of_parent = secrets.parent_value ? &*secrets.parent_value : nullptr;
  Parent parent;
  parent.handle = spec.parent ? *spec.parent : parent_.value_or(TPM2_RH_OWNER);
  const Secret* of_owner = spec.owner_auth.get();
  if (of_owner == nullptr && parent.handle == TPM2_RH_OWNER) of_owner = of_parent;
  if (handle) require_place(*handle, of_owner, access);
  const CreatedObject made =
      device_->tpm().create(caller, parent, {nullptr, of_parent, device_->protects(false)}, value,
                            key_template(spec, spec.digest, has_value(value)).publicArea);
  Tss2Key file;
  file.empty_auth = !has_value(value);
  file.description = spec.label;
  file.parent = parent.handle;
  file.public_area = made.public_area;
  file.private_area = made.private_area;
  Found found = from_tss2(file, spec.label, access);
  KeyDescription description{"tpm2", label(), spec.label, {}, {}};
  description.traits = traits_text(found.area);
  if (!handle)
    return std::make_shared<Key>(device_, caller, std::move(found.ref), found.area,
                                 std::move(description), std::move(secrets), std::move(found.tss2));
  device_->tpm().persist(caller, found.ref, {value, of_parent, device_->protects(false)}, of_owner,
                         *handle);
  secrets.parent_value.reset();
  if (description.label.empty()) description.label = hex(*handle);
  description.uri = "tpm2:handle=" + core::handle_text(*handle);
  KeyRef there{*handle, nullptr, found.ref.name, description.label};
  return std::make_shared<Key>(device_, caller, std::move(there), found.area,
                               std::move(description), std::move(secrets));
}

class Backend final : public core::Backend {
 public:
  explicit Backend(const BackendConfig& section);

  const std::string& name() const noexcept override { return name_; }
  std::vector<std::shared_ptr<core::Token>> tokens(const KeyUri& uri,
                                                   std::vector<std::string>& seen) override;
  std::shared_ptr<core::Token> wrapping_token() override { return token_; }
  bool needs_base_provider() const noexcept override { return false; }
  bool owns_token(const std::string& label) const noexcept override {
    return !label_.empty() && label == label_;
  }
  void add_pins(core::PinChain& chain) const noexcept override;
  void forget() override { device_->forget(); }

 private:
  const std::string name_;
  const std::string label_;  // empty: pkcs11: URIs do not lead here
  const std::string pin_source_;
  const std::optional<Secret> pin_;
  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Token> token_;
};

std::shared_ptr<Device> make_device(const BackendConfig& section) {
  using Session = BackendConfig::Session;
  TpmSetup setup;
  setup.tcti = section.tcti;
  setup.exclusive = section.exclusive;
  setup.in_clear = section.session == Session::kNone;
  const bool has_parent = section.parent && !is_hierarchy(*section.parent);
  if (!section.parent_name.empty() && !has_parent)
    throw Error(Reason::kBadConfiguration,
                "openssl.cnf: " + section.name +
                    ".parent-name: no key to compare it with; set `parent` to the persistent "
                    "handle of the key that has this name");
  if (has_parent) setup.salt_key = {*section.parent, section.parent_name};
  using Protect = Device::Protect;
  const Protect protect = section.session == Session::kHmac   ? Protect::kAll
                          : section.session == Session::kNone ? Protect::kNothing
                                                              : Protect::kSecrets;
  std::string label = section.token.empty() ? tcti_text(section.tcti) : section.token;
  return std::make_shared<Device>(Tpm::get(std::move(setup)), std::move(label), protect,
                                  section.verify_all);
}

Backend::Backend(const BackendConfig& section)
    : name_(section.name),
      label_(section.token),
      pin_source_(section.pin_source),
      pin_(copy(section.pin)),
      device_(make_device(section)),
      token_(std::make_shared<Token>(section, device_)) {}

std::vector<std::shared_ptr<core::Token>> Backend::tokens(const KeyUri& uri,
                                                          std::vector<std::string>& seen) {
  const bool is_tpm = uri.scheme() == KeyUri::Scheme::kTpm2;
  if (is_tpm || (uri.token() && owns_token(*uri.token()))) return {token_};
  if (!label_.empty()) seen.push_back("token " + label_ + " (TPM)");
  return {};
}

void Backend::add_pins(core::PinChain& chain) const noexcept {
  if (pin_) chain.configured_value = &*pin_;
  if (!pin_source_.empty()) chain.configured_source = &pin_source_;
}

}  // namespace

std::unique_ptr<core::Backend> make_backend(const BackendConfig& section) {
  return std::make_unique<Backend>(section);
}

}  // namespace hwid::tpm2
