// Certificates in NV memory, and endorsement keys: token.h.
#include <algorithm>
#include <array>

#include "provider/tpm2/cleansed_bytes.h"
#include "provider/tpm2/endorsement.h"
#include "provider/tpm2/nv_certificates.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/token.h"

namespace hwid::tpm2 {

using core::Access;
using core::Bytes;
using core::CertificateSpec;
using core::Error;
using core::KeyDescription;
using core::KeyUri;
using core::NamedObject;
using core::Object;
using core::ObjectClass;
using core::Reason;
using core::Secret;
using core::StoredCertificate;
using core::Wanted;

namespace {

// What was given for this very object; not the value that the section has for all.
std::optional<Secret> given_value(core::PinChain pins, bool may_ask, const std::string& name) {
  pins.configured_value = nullptr;
  pins.configured_source = nullptr;
  if (!may_ask) pins.prompt = nullptr;
  return pins.obtain(name);
}

std::string uri_of(TPM2_HANDLE index) { return "tpm2:nv=" + core::handle_text(index); }

std::string meaning(const NvPublic& nv) {
  const std::string known = nv_meaning(nv.area.nvIndex);
  return known.empty() ? nv_kind_text(nv.area) : known;
}

}  // namespace

// Of the owner hierarchy: what a URI gives, or the section where keys are made below the owner.
std::optional<Secret> Token::owner_value(const Access& access) const {
  const bool is_parent = parent_.value_or(TPM2_RH_OWNER) == TPM2_RH_OWNER;
  return is_parent || access.parent_pin_source != nullptr ? parent_value(access) : std::nullopt;
}

// For an index that `uri` names.
NvSecrets Token::nv_secrets(const KeyUri& uri, const NvPublic& nv, const Access& access) const {
  NvSecrets secrets;
  secrets.protect = device_->protects(false);
  secrets.owner = owner_value(access);
  secrets.value =
      given_value(access.pins, uri.asks_pin(), "NV index " + core::handle_text(nv.area.nvIndex));
  secrets.configured = [pins = access.pins]() mutable {
    pins.prompt = nullptr;
    return pins.obtain({});
  };
  if (!uri.policy()) return secrets;
  TPMT_PUBLIC area{};  // what of it a policy looks at
  area.nameAlg = nv.area.nameAlg;
  area.authPolicy = nv.area.authPolicy;
  secrets.policy = tpm2::policy_for(access.crypto, area, policy_of(uri, access));
  return secrets;
}

void Token::read_certificates(NvFound& found, const NvSecrets& secrets, const Access& access) {
  Bytes bytes = read_nv(device_->tpm(), caller_of(access), found.nv, secrets);
  const CleansedAtEnd guard(bytes);
  NvCertificates content = certificates_in(access.crypto, bytes);
  found.problem = content.problem;
  found.has_more = !content.rest.empty();
  found.is_empty = content.is_empty;
  found.public_key = std::move(content.public_key);
  if (!content.rest.empty())
    HWID_LOG(access.log, kWarn, found.uri + ": behind its certificates it has " + content.rest);
  for (Bytes& der : content.all) {
    Object& object = found.certificates.emplace_back();
    object.object_class = ObjectClass::kCertificate;
    object.certificate = std::move(der);
    object.description = KeyDescription{"tpm2", label(), found.label, {}, found.uri};
    object.description.traits = nv_meaning(found.nv.area.nvIndex);
  }
}

Object Token::make_nv_other(const NvFound& found) const {
  Object other;
  other.object_class = ObjectClass::kOther;
  other.description = KeyDescription{"tpm2", label(), found.label, {}, found.uri};
  other.description.traits = meaning(found.nv);
  return other;
}

Object Token::make_nv_key(const NvFound& found, const Access& access) const {
  Object object;
  object.object_class = ObjectClass::kPublicKey;
  object.public_key = std::make_shared<core::PublicKey>(
      core::PublicKey::from_spki(access.crypto, found.public_key));
  object.description = KeyDescription{"tpm2", label(), found.label, {}, found.uri};
  object.description.traits = nv_meaning(found.nv.area.nvIndex);
  return object;
}

// Of the index that `uri` names.
std::vector<Object> Token::nv_objects(TPM2_HANDLE index, const std::string& label,
                                      const KeyUri& uri, const Wanted& wanted,
                                      const Access& access) {
  if (!wanted.certificates && !wanted.public_keys && !wanted.others)
    throw Error(Reason::kNoObject,
                uri.text() +
                    ": an NV index holds certificates or a public key, and no private keys; name a "
                    "key by handle= or file=, or ask for what is there (openssl x509 -in URI, "
                    "openssl pkey -pubin -in URI; hwid import tpm2:nv=" +
                    hex(index) + " FILE writes a certificate there)");
  NvFound found{device_->tpm().nv_public(caller_of(access), index), label, uri.text(), {}, {}};
  try {
    read_certificates(found, nv_secrets(uri, found.nv, access), access);
  } catch (const Error& error) {
    constexpr std::array kOurs = {Reason::kPinWrong, Reason::kPinLocked, Reason::kTokenRemoved,
                                  Reason::kKeyChanged};
    if (!wanted.others || std::ranges::find(kOurs, error.reason) != kOurs.end()) throw;
    HWID_LOG(access.log, kInfo, std::string(error.what()));
    found.problem = error.what();
  }
  std::vector<Object> one;
  if (wanted.public_keys && !found.public_key.empty()) {
    try {
      one.push_back(make_nv_key(found, access));
      return one;
    } catch (const Error& error) {  // of a kind of key that we do not know
      found.problem = error.what();
    }
  }
  if (found.problem.empty() && (wanted.certificates || wanted.others))
    return std::move(found.certificates);
  if (found.problem.empty()) found.problem = "it holds a certificate, and no public key by itself";
  if (!wanted.others)
    throw Error(Reason::kNoObject, "TPM2_NV_Read:" + place_text(device_->tpm().place(hex(index))) +
                                       ": " + found.problem +
                                       (found.is_empty ? "; write a certificate there: hwid import "
                                                         "'tpm2:nv=" +
                                                             hex(index) + "' FILE --force"
                                                       : "; name another NV index"));
  one.push_back(make_nv_other(found));
  return one;
}

// Every index, with the certificates of those that everybody may read, or the owner, whose auth
// value is `of_owner`; null: the configured one. Nothing is tried that could count.
std::vector<Token::NvFound> Token::readable_nv(const Secret* of_owner, const Access& access) {
  const Caller caller = caller_of(access);
  NvSecrets secrets;
  secrets.protect = device_->protects(false);
  secrets.only_harmless = true;
  secrets.owner = of_owner != nullptr ? of_owner->clone() : owner_value(access);
  std::vector<NvFound> all;
  for (const TPM2_HANDLE index : device_->tpm().handles(caller, TPM2_NV_INDEX_FIRST)) {
    const auto named = std::ranges::find(objects_, std::optional(index), &NamedObject::handle);
    NvFound found{{}, core::handle_text(index), tpm2::uri_of(index), {}, {}};
    if (named != objects_.end()) found.label = named->name;
    if (named != objects_.end() && has_label_) found.uri = uri_of(*named);
    try {
      found.nv = device_->tpm().nv_public(caller, index);
      read_certificates(found, secrets, access);
      for (Object& object : found.certificates) {
        if (found.uri.starts_with("pkcs11:")) object.description.uri += ";type=cert";
      }
    } catch (const Error& error) {  // one that is closed hides no other
      if (error.reason == Reason::kTokenRemoved) throw;
      HWID_LOG(access.log, kInfo, std::string(error.what()));
      if (found.nv.name.empty()) continue;
      found.problem = error.what();
    }
    all.push_back(std::move(found));
  }
  return all;
}

void Token::list_nv(const Wanted& wanted, const Access& access, std::vector<Object>& all) {
  for (NvFound& found : readable_nv(nullptr, access)) {
    if (wanted.others && !found.problem.empty()) all.push_back(make_nv_other(found));
    if (wanted.certificates) std::ranges::move(found.certificates, std::back_inserter(all));
  }
}

// The indexes with a certificate for the key, and of their certificates those.
std::vector<Token::NvFound> Token::beside(const core::PublicKey& key, const Secret* of_owner,
                                          const Access& access) {
  std::vector<NvFound> all = readable_nv(of_owner, access);
  for (NvFound& found : all) {
    const std::size_t gone = std::erase_if(found.certificates, [&](const Object& object) {
      try {
        return core::PublicKey::from_certificate(access.crypto, object.certificate) != key;
      } catch (const Error&) {
        return true;  // of a kind of key that we do not know
      }
    });
    if (gone != 0) found.has_more = true;
  }
  std::erase_if(all, [](const NvFound& found) { return found.certificates.empty(); });
  return all;
}

std::vector<Object> Token::certificates_beside(const Found& found, const Access& access) {
  const core::PublicKey key = public_half(found, access);
  std::vector<Object> all;
  for (NvFound& there : beside(key, nullptr, access))
    std::ranges::move(there.certificates, std::back_inserter(all));
  return all;
}

namespace {

// `type`: the one that `name` is; null: it is "rsa" or "ecc".
std::string why_no_certificate(const EkType* type, const std::string& name,
                               const EndorsementKey& key) {
  if (!key.problem.empty()) return key.problem + "; ask the TPM's maker for the certificate";
  std::string addresses;
  for (const EkType& each : ek_types()) {
    if (type != nullptr ? &each == type : each.is_rsa == (name == "rsa"))
      addresses += (addresses.empty() ? "" : ", ") + hex(each.certificate);
  }
  return "the TPM's maker has stored no certificate of this endorsement key (" + addresses +
         "); ask the maker for it: some give it out on the web (tpm2_getekcertificate)";
}

}  // namespace

// tpm2:ek=rsa: the public half, and its certificates.
std::vector<Object> Token::endorsement(const KeyUri& uri, const Wanted& wanted,
                                       const Access& access) {
  const std::string& name = *uri.ek();
  const EkType* const type = ek_type_named(name);
  if (type == nullptr && name != "rsa" && name != "ecc")
    throw Error(Reason::kBadUri,
                uri.text() +
                    ": there is no such endorsement key; write ek=rsa or ek=ecc, or the name of a "
                    "template of TCG's (L-1, L-2, H-1 to H-4, H-6, H-7)");
  if (!wanted.public_keys && !wanted.certificates)
    throw Error(Reason::kNoObject,
                uri.text() +
                    ": the private half of an endorsement key is not served; use another key, or "
                    "ask for the public half (openssl pkey -pubin) or the certificate");
  std::optional<Secret> value;
  if (parent_ == TPM2_RH_ENDORSEMENT || access.parent_pin_source != nullptr)
    value = parent_value(access);
  const Caller caller = caller_of(access);
  Tpm& tpm = device_->tpm();
  EndorsementKey key;
  if (!wanted.public_keys)
    key = find_endorsement_certificates(tpm, caller, [&](const EkType& of) {
      return type != nullptr ? &of == type : of.is_rsa == (name == "rsa");
    });
  else if (type != nullptr)
    key = find_endorsement_key(tpm, caller, *type, borrowed(value));
  else if (name == "rsa")
    key = find_endorsement_key(
        tpm, caller, [](const EkType& of) noexcept { return of.is_rsa; }, borrowed(value));
  else
    key = find_endorsement_key(
        tpm, caller, [](const EkType& of) noexcept { return !of.is_rsa; }, borrowed(value));
  if (!wanted.public_keys && key.certificates.empty())
    throw Error(Reason::kNoObject, uri.text() + ": " + why_no_certificate(type, name, key));
  std::vector<Object> all;
  if (wanted.public_keys) {
    Object& object = all.emplace_back();
    object.object_class = ObjectClass::kPublicKey;
    object.public_key =
        std::make_shared<core::PublicKey>(public_key(access.crypto, key.object.public_area));
    object.description =
        KeyDescription{"tpm2", label(), std::string("EK ") + key.type->key, {}, uri.text()};
    object.description.traits = traits_text(key.object.public_area);
  }
  if (!wanted.certificates) return all;
  for (Bytes& der : key.certificates) {
    Object& object = all.emplace_back();
    object.object_class = ObjectClass::kCertificate;
    object.certificate = std::move(der);
    object.description = KeyDescription{"tpm2",
                                        label(),
                                        core::handle_text(key.type->certificate),
                                        {},
                                        tpm2::uri_of(key.type->certificate)};
    object.description.traits = nv_meaning(key.type->certificate);
  }
  return all;
}

namespace {

// The owner may remove it.
bool is_owners(const NvPublic& nv) noexcept {
  return (nv.area.attributes & (TPMA_NV_PLATFORMCREATE | TPMA_NV_POLICY_DELETE)) == 0;
}

// It goes with its key.
bool is_ours(const NvPublic& nv) {
  const TPM2_HANDLE index = nv.area.nvIndex;
  return is_owners(nv) && is_in_owners_range(index) && nv_meaning(index).empty();
}

void require_removable(const NvPublic& nv, const Place& place) {
  if (!is_owners(nv))
    throw Error(Reason::kNotPermitted,
                "TPM2_NV_UndefineSpace:" + place_text(place) +
                    ": the NV index was made by the platform (the TPM's or the machine's maker), "
                    "and the owner cannot remove it; choose another one");
  const std::string known = nv_meaning(nv.area.nvIndex);
  if (!known.empty())
    throw Error(Reason::kNotPermitted,
                "TPM2_NV_UndefineSpace:" + place_text(place) + ": this is the address of the " +
                    known +
                    ", which is not made anew; choose another index (or, if it is "
                    "yours: tpm2_nvundefine)");
}

// A lock is not taken away with the index that has it.
void require_unlocked(const NvPublic& nv, const Place& place) {
  if ((nv.area.attributes & TPMA_NV_WRITELOCKED) == 0) return;
  const bool is_for_good = (nv.area.attributes & TPMA_NV_WRITEDEFINE) != 0;
  throw Error(Reason::kReadOnly, "TPM2_NV_UndefineSpace:" + place_text(place) +
                                     ": the NV index is locked against writing " +
                                     (is_for_good ? "for good" : "until the TPM is started anew") +
                                     ", and is not replaced; name another index" +
                                     remove_first_text(nv.area.nvIndex));
}

bool may_be_replaced(const NvPublic& nv, const Place& place) {
  try {
    require_removable(nv, place);
    require_unlocked(nv, place);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// There a certificate is taken for the TPM's own, or the machine's, also by others.
void require_not_tcgs(TPM2_HANDLE index, const Place& place) {
  if (!is_in_tcgs_range(index)) return;
  throw Error(Reason::kNotPermitted,
              "TPM2_NV_DefineSpace:" + place_text(place) +
                  ": TCG keeps this address for certificates of the TPM and of the machine; name "
                  "one that the owner has (0x1800000 to 0x1bfffff), or, if this is the maker's "
                  "certificate, add --force");
}

TPMS_NV_PUBLIC index_for(TPM2_HANDLE index, std::size_t size, bool has_auth) {
  TPMS_NV_PUBLIC wanted{};
  wanted.nvIndex = index;
  wanted.nameAlg = TPM2_ALG_SHA256;
  wanted.attributes = TPMA_NV_OWNERWRITE | TPMA_NV_AUTHREAD;
  // With an auth value only who has it reads it, and guesses count, as of keys.
  if (!has_auth) wanted.attributes |= TPMA_NV_OWNERREAD | TPMA_NV_NO_DA;
  wanted.dataSize = static_cast<UINT16>(size);
  return wanted;
}

}  // namespace

// Those that the configuration has names for are free for nobody.
std::set<TPM2_HANDLE> Token::named_indexes() const {
  std::set<TPM2_HANDLE> all;
  for (const NamedObject& object : objects_) {
    if (object.handle) all.insert(*object.handle);
  }
  return all;
}

StoredCertificate Token::store_certificate(const CertificateSpec& spec, const Access& access) {
  const core::ErrorMark mark;
  if (!core::parse_certificate(access.crypto, spec.der))
    throw Error(Reason::kBadParameter,
                "TPM2_NV_Write:" + place_text(device_->tpm().place()) +
                    ": this is no certificate: " + core::last_libcrypto_error() +
                    "; give one in PEM or DER form");
  if (spec.der.size() > TPM2_MAX_NV_BUFFER_SIZE * std::size_t{8})
    throw Error(Reason::kBadParameter, "TPM2_NV_DefineSpace:" + place_text(device_->tpm().place()) +
                                           ": no TPM holds a certificate of " +
                                           std::to_string(spec.der.size()) +
                                           " bytes; leave it in a file");
  const std::optional<Secret> owner =
      spec.owner_auth ? std::optional(spec.owner_auth->clone()) : owner_value(access);
  if (spec.nv) return store_at(*spec.nv, spec, borrowed(owner), access);
  return store_beside(spec, borrowed(owner), access);
}

// Beside its key: found by its public key.
StoredCertificate Token::store_beside(const CertificateSpec& spec, const Secret* owner_value,
                                      const Access& access) {
  const bool protect = device_->protects(false);
  const core::PublicKey key = core::PublicKey::from_certificate(access.crypto, spec.der);
  std::vector<NvFound> there = beside(key, owner_value, access);
  for (const NvFound& found : there) {
    for (const Object& object : found.certificates) {
      if (object.certificate == spec.der)
        return {core::Stored::kWasThere, {}, object.description.uri};
    }
  }
  if (there.empty()) {
    const NvPublic made =
        store_at_free_index(device_->tpm(), caller_of(access), index_for(0, spec.der.size(), false),
                            {spec.der, nullptr, owner_value, protect}, named_indexes());
    return {core::Stored::kNew, {}, tpm2::uri_of(made.area.nvIndex)};
  }
  if (spec.replace) {
    for (const NvFound& found : there) {
      require_ours(found);
      require_unlocked(found.nv, device_->tpm().place(hex(found.nv.area.nvIndex)));
    }
  }
  StoredCertificate stored = store_at(there.front().nv.area.nvIndex, spec, owner_value, access);
  there.erase(there.begin());
  std::ranges::move(remove_indexes(std::move(there), owner_value,
                                   "the new certificate is stored, "
                                   "and an old one left",
                                   access),
                    std::back_inserter(stored.replaced));
  return stored;
}

// What an index is to hold goes as a whole, and only where its address is the owner's.
void Token::require_ours(const NvFound& found) const {
  const TPM2_HANDLE index = found.nv.area.nvIndex;
  const Place place = device_->tpm().place(hex(index));
  require_removable(found.nv, place);
  const std::string uri = tpm2::uri_of(index);
  const auto refuse = [&](const std::string& why) {
    throw Error(Reason::kNotPermitted, "TPM2_NV_UndefineSpace:" + place_text(place) +
                                           ": the key's certificate is there, " + why +
                                           "; if that is meant, name the index itself: '" + uri +
                                           "'");
  };
  if (found.has_more) refuse("with something else that would go with it");
  if (!is_in_owners_range(index))
    refuse("at an address that TCG does not leave to the owner (0x1800000 to 0x1bfffff)");
}

StoredCertificate Token::store_at(TPM2_HANDLE index, const CertificateSpec& spec,
                                  const Secret* owner_value, const Access& access) {
  const Caller caller = caller_of(access);
  Tpm& tpm = device_->tpm();
  std::optional<Secret> value;
  if (spec.nv) value = given_value(access.pins, false, {});
  TPMS_NV_PUBLIC wanted = index_for(index, spec.der.size(), has_value(borrowed(value)));
  const bool protect = device_->protects(false);
  const NvContent content{spec.der, borrowed(value), owner_value, protect};
  StoredCertificate stored{core::Stored::kNew, {}, tpm2::uri_of(index)};
  const std::vector<TPM2_HANDLE> taken = tpm.handles(caller, index);
  if (taken.empty() || taken.front() != index) {
    if (!spec.replace) require_not_tcgs(index, tpm.place(hex(index)));
    tpm.nv_store(caller, wanted, spec.der, borrowed(value), owner_value, protect);
    return stored;
  }
  NvOld old{tpm.nv_public(caller, index), {}, false, {}};
  const CleansedAtEnd guard(old.content);
  std::string problem;
  const bool may_count = spec.replace && may_be_replaced(old.nv, tpm.place(hex(index)));
  try {
    old = read_replaceable(tpm, caller, old.nv, borrowed(value), owner_value, protect, may_count);
  } catch (const Error& error) {
    if (error.reason == Reason::kPinWrong || error.reason == Reason::kPinLocked) throw;
    const bool is_untried = !may_count && has_value(borrowed(value));
    if (error.reason != Reason::kPinMissing || !is_untried) problem = error.what();
  }
  for (Bytes& der : certificates_in(access.crypto, old.content).all) {
    if (der == spec.der) return {core::Stored::kWasThere, {}, stored.uri};
    Object& gone = stored.replaced.emplace_back();
    gone.object_class = ObjectClass::kCertificate;
    gone.certificate = std::move(der);
    gone.description = KeyDescription{"tpm2", label(), core::handle_text(index), {}, stored.uri};
  }
  require_replacement(old, stored, problem, spec.replace);
  stored.result = core::Stored::kReplaced;
  // What could be locked, can be.
  wanted.attributes |= old.nv.area.attributes & (TPMA_NV_WRITEDEFINE | TPMA_NV_WRITE_STCLEAR |
                                                 TPMA_NV_GLOBALLOCK | TPMA_NV_READ_STCLEAR);
  replace_nv(tpm, caller, old, wanted, content, named_indexes());
  return stored;
}

// `problem`: why it could not be put back; empty: it can, or that was not looked at.
void Token::require_replacement(const NvOld& old, const StoredCertificate& stored,
                                const std::string& problem, bool is_forced) const {
  const TPM2_HANDLE index = old.nv.area.nvIndex;
  const Place place = device_->tpm().place(hex(index));
  const auto what = [&] {
    return stored.replaced.empty() ? nv_kind_text(old.nv.area) : std::string("another certificate");
  };
  if (!is_forced && problem.empty())
    throw Error(Reason::kExists, "TPM2_NV_DefineSpace:" + place_text(place) + ": " + what() +
                                     " is there already; replace it with --force, or name another "
                                     "index");
  require_removable(old.nv, place);
  require_unlocked(old.nv, place);
  if (problem.empty()) return;
  throw Error(is_forced ? Reason::kNotPermitted : Reason::kExists,
              "TPM2_NV_DefineSpace:" + place_text(place) + ": " + what() +
                  " is there already, which could not be put back if it were replaced (" + problem +
                  ")" + remove_first_text(index));
}

// nullopt: it names none.
std::optional<TPM2_HANDLE> Token::nv_index(const KeyUri& uri) const {
  if (uri.nv()) return uri.nv();
  if (!uri.object()) return std::nullopt;
  const std::optional<std::uint32_t> handle = require_named(uri).handle;
  return handle && is_nv(*handle) ? handle : std::nullopt;
}

std::vector<Object> Token::remove_nv(TPM2_HANDLE index, const KeyUri& uri,
                                     const core::Removal& what, const Access& access) {
  const Place place = device_->tpm().place(hex(index));
  NvFound found{device_->tpm().nv_public(caller_of(access), index),
                uri.object().value_or(core::handle_text(index)),
                uri.text(),
                {},
                {}};
  require_removable(found.nv, place);
  const std::optional<Secret> owner = owner_value(what, access);
  try {
    NvSecrets secrets = nv_secrets(uri, found.nv, access);
    secrets.owner = copy(owner);
    secrets.only_harmless = !secrets.value;
    read_certificates(found, secrets, access);
  } catch (const Error& error) {  // it need not be readable to go
    if (error.reason == Reason::kPinWrong || error.reason == Reason::kPinLocked) throw;
    found.problem = error.what();
  }
  const bool is_certificate = found.problem.empty();
  if (!(is_certificate ? what.certificate : what.other))
    throw Error(Reason::kNoObject,
                "TPM2_NV_UndefineSpace:" + place_text(place) + ": " + uri.text() +
                    ": what is there is " + (is_certificate ? "a certificate" : meaning(found.nv)) +
                    ", which was not to be removed; take it with `hwid delete " +
                    (is_certificate ? "--certificate`" : "--other`") + ", or correct the URI");
  device_->tpm().nv_remove(caller_of(access), found.nv, borrowed(owner), device_->protects(false));
  if (!is_certificate) found.certificates.push_back(make_nv_other(found));
  return std::move(found.certificates);
}

// The indexes with the key's certificates, all of which may go. With the key those stay that are
// not the owner's; `alone`: they are refused.
std::vector<Token::NvFound> Token::removable_beside(const Found& found, bool alone,
                                                    const Secret* of_owner, const Access& access) {
  std::vector<NvFound> all = beside(public_half(found, access), of_owner, access);
  if (!alone) std::erase_if(all, [](const NvFound& there) { return !is_ours(there.nv); });
  for (const NvFound& there : all) require_ours(there);
  return all;
}

// `done`: what a message says was done already.
std::vector<Object> Token::remove_indexes(std::vector<NvFound> all, const Secret* owner_value,
                                          const char* done, const Access& access) {
  std::vector<Object> removed;
  for (NvFound& there : all) {
    try {
      device_->tpm().nv_remove(caller_of(access), there.nv, owner_value, device_->protects(false));
    } catch (const Error& error) {
      throw Error(error.reason, error.code,
                  std::string(error.what()) + " (" + done + ": " + there.uri + ")", error.where);
    }
    std::ranges::move(there.certificates, std::back_inserter(removed));
  }
  return removed;
}

}  // namespace hwid::tpm2
