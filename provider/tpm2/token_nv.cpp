// Certificates in NV memory, and endorsement keys: token.h.
#include <algorithm>

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

const Secret* borrowed(const std::optional<Secret>& secret) noexcept {
  return secret ? &*secret : nullptr;
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

// `uri` is null where all is listed: nothing is tried then that could count.
NvSecrets Token::nv_secrets(const KeyUri* uri, const NvPublic& nv, const Access& access) const {
  NvSecrets secrets;
  secrets.protect = device_->protects(false);
  secrets.only_harmless = uri == nullptr;
  secrets.owner = owner_value(access);
  if (uri == nullptr) return secrets;
  secrets.value =
      given_value(access.pins, uri->asks_pin(), "NV index " + core::handle_text(nv.area.nvIndex));
  secrets.configured = [pins = access.pins]() mutable {
    pins.prompt = nullptr;
    return pins.obtain({});
  };
  if (!uri->policy()) return secrets;
  TPMT_PUBLIC area{};  // what of it a policy looks at
  area.nameAlg = nv.area.nameAlg;
  area.authPolicy = nv.area.authPolicy;
  const PolicySource source = policy_named(*uri->policy(), access);
  if (!has_policy(source.setting))
    throw Error(Reason::kBadUri, uri->text() + ": there is no policy of that name; add " +
                                     *uri->policy() +
                                     " = SECTION to the section that `policies` of the TPM's "
                                     "section names");
  secrets.policy = tpm2::policy_for(access.crypto, area, source);
  return secrets;
}

void Token::read_certificates(NvFound& found, const NvSecrets& secrets, const Access& access) {
  NvCertificates content =
      certificates_in(access.crypto, read_nv(device_->tpm(), caller_of(access), found.nv, secrets));
  found.problem = content.problem;
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

// Of the index that `uri` names.
std::vector<Object> Token::nv_objects(TPM2_HANDLE index, const std::string& label,
                                      const KeyUri& uri, const Wanted& wanted,
                                      const Access& access) {
  if (!wanted.certificates && !wanted.others)
    throw Error(Reason::kNoObject,
                uri.text() +
                    ": an NV index holds certificates, and no keys; name a key by handle= or "
                    "file=, or ask for the certificate (openssl x509 -in URI)");
  NvFound found{device_->tpm().nv_public(caller_of(access), index), label, uri.text(), {}, {}};
  try {
    read_certificates(found, nv_secrets(&uri, found.nv, access), access);
  } catch (const Error& error) {
    if (!wanted.others || error.reason == Reason::kPinWrong) throw;
    HWID_LOG(access.log, kInfo, std::string(error.what()));
    found.problem = error.what();
  }
  if (found.problem.empty()) return std::move(found.certificates);
  if (!wanted.others)
    throw Error(Reason::kNoObject, "TPM2_NV_Read:" + place_text(device_->tpm().place(hex(index))) +
                                       ": " + found.problem +
                                       "; write a certificate there: hwid import '" + uri.text() +
                                       "' FILE --force");
  std::vector<Object> one;
  one.push_back(make_nv_other(found));
  return one;
}

// Every index, with the certificates of those that everybody may read.
std::vector<Token::NvFound> Token::readable_nv(const Access& access) {
  const Caller caller = caller_of(access);
  std::vector<NvFound> all;
  for (const TPM2_HANDLE index : device_->tpm().handles(caller, TPM2_NV_INDEX_FIRST)) {
    const auto named = std::ranges::find(objects_, std::optional(index), &NamedObject::handle);
    NvFound found{{}, core::handle_text(index), tpm2::uri_of(index), {}, {}};
    if (named != objects_.end()) found.label = named->name;
    if (named != objects_.end() && has_label_) found.uri = uri_of(*named);
    try {
      found.nv = device_->tpm().nv_public(caller, index);
      read_certificates(found, nv_secrets(nullptr, found.nv, access), access);
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
  for (NvFound& found : readable_nv(access)) {
    if (wanted.others && !found.problem.empty()) all.push_back(make_nv_other(found));
    if (wanted.certificates) std::ranges::move(found.certificates, std::back_inserter(all));
  }
}

// The indexes with a certificate for the key, and of their certificates those.
std::vector<Token::NvFound> Token::beside(const core::PublicKey& key, const Access& access) {
  std::vector<NvFound> all = readable_nv(access);
  for (NvFound& found : all) {
    std::erase_if(found.certificates, [&](const Object& object) {
      try {
        return core::PublicKey::from_certificate(access.crypto, object.certificate) != key;
      } catch (const Error&) {
        return true;  // of a kind of key that we do not know
      }
    });
  }
  std::erase_if(all, [](const NvFound& found) { return found.certificates.empty(); });
  return all;
}

std::vector<Object> Token::certificates_beside(const Found& found, const Access& access) {
  const core::PublicKey key = public_half(found, access);
  std::vector<Object> all;
  for (NvFound& there : beside(key, access))
    std::ranges::move(there.certificates, std::back_inserter(all));
  return all;
}

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
  std::optional<Secret> value;
  if (parent_ == TPM2_RH_ENDORSEMENT || access.parent_pin_source != nullptr)
    value = parent_value(access);
  const Caller caller = caller_of(access);
  Tpm& tpm = device_->tpm();
  EndorsementKey key;
  if (type != nullptr)
    key = find_endorsement_key(tpm, caller, *type, borrowed(value));
  else if (name == "rsa")
    key = find_endorsement_key(
        tpm, caller, [](const EkType& of) noexcept { return of.is_rsa; }, borrowed(value));
  else
    key = find_endorsement_key(
        tpm, caller, [](const EkType& of) noexcept { return !of.is_rsa; }, borrowed(value));
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

// Of those that TCG's "Registry of Reserved TPM 2.0 Handles and Localities" (2.2.2) leaves to the
// owner.
TPM2_HANDLE Token::free_index(const Access& access) {
  constexpr TPM2_HANDLE kFirst = 0x01800001;
  constexpr TPM2_HANDLE kEnd = 0x01c00000;
  std::vector<TPM2_HANDLE> taken = device_->tpm().handles(caller_of(access), kFirst);
  for (const NamedObject& object : objects_) {
    if (object.handle) taken.push_back(*object.handle);
  }
  for (TPM2_HANDLE index = kFirst; index < kEnd; ++index) {
    if (std::ranges::find(taken, index) == taken.end()) return index;
  }
  throw Error(Reason::kExists, "TPM2_GetCapability:" + place_text(device_->tpm().place()) +
                                   ": every NV index from " + hex(kFirst) + " to " + hex(kEnd - 1) +
                                   " is taken; remove one that is not needed");
}

namespace {

// The owner may remove it.
bool is_owners(const NvPublic& nv) noexcept {
  return (nv.area.attributes & (TPMA_NV_PLATFORMCREATE | TPMA_NV_POLICY_DELETE)) == 0;
}

void require_removable(const NvPublic& nv, const Place& place) {
  if (!is_owners(nv))
    throw Error(Reason::kNotPermitted,
                "TPM2_NV_UndefineSpace:" + place_text(place) +
                    ": the NV index was made by the platform (the TPM's or the machine's maker), "
                    "and the owner cannot remove it; choose another one");
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
  if (spec.nv) return store_at(*spec.nv, spec, access);
  const core::PublicKey key = core::PublicKey::from_certificate(access.crypto, spec.der);
  const std::vector<NvFound> there = beside(key, access);
  for (const NvFound& found : there) {
    for (const Object& object : found.certificates) {
      if (object.certificate == spec.der)
        return {core::Stored::kWasThere, {}, object.description.uri};
    }
  }
  return store_at(there.empty() ? free_index(access) : there.front().nv.area.nvIndex, spec, access);
}

// The old content goes before the new one can be there; where that cannot be written it comes back.
StoredCertificate Token::store_at(TPM2_HANDLE index, const CertificateSpec& spec,
                                  const Access& access) {
  const Caller caller = caller_of(access);
  Tpm& tpm = device_->tpm();
  const Place place = tpm.place(hex(index));
  const std::optional<Secret> owner =
      spec.owner_auth ? std::optional(spec.owner_auth->clone()) : owner_value(access);
  std::optional<Secret> value;
  if (spec.nv) value = given_value(access.pins, false, {});
  const TPMS_NV_PUBLIC wanted = index_for(index, spec.der.size(), has_value(borrowed(value)));
  StoredCertificate stored{core::Stored::kNew, {}, tpm2::uri_of(index)};
  const std::vector<TPM2_HANDLE> taken = tpm.handles(caller, index);
  if (taken.empty() || taken.front() != index) {
    tpm.nv_store(caller, wanted, spec.der, borrowed(value), borrowed(owner));
    return stored;
  }
  const NvPublic old = tpm.nv_public(caller, index);
  NvSecrets secrets;
  secrets.owner = owner ? std::optional(owner->clone()) : std::nullopt;
  secrets.value = value ? std::optional(value->clone()) : std::nullopt;
  secrets.only_harmless = true;
  std::optional<Bytes> content;
  try {
    content = read_nv(tpm, caller, old, secrets);
  } catch (const Error& error) {
    if (error.reason == Reason::kPinWrong || error.reason == Reason::kPinLocked) throw;
    HWID_LOG(access.log, kInfo, std::string(error.what()));
  }
  if (content) {
    for (Bytes& der : certificates_in(access.crypto, *content).all) {
      if (der == spec.der) return {core::Stored::kWasThere, {}, stored.uri};
      Object& gone = stored.replaced.emplace_back();
      gone.object_class = ObjectClass::kCertificate;
      gone.certificate = std::move(der);
      gone.description = KeyDescription{"tpm2", label(), core::handle_text(index), {}, stored.uri};
    }
  }
  if (!spec.replace)
    throw Error(Reason::kExists,
                "TPM2_NV_DefineSpace:" + place_text(place) + ": " +
                    (stored.replaced.empty() ? nv_kind_text(old.area) : "another certificate") +
                    " is there already; replace it with --force, or name another index");
  require_removable(old, place);
  stored.result = core::Stored::kReplaced;
  tpm.nv_remove(caller, old, borrowed(owner));
  try {
    tpm.nv_store(caller, wanted, spec.der, borrowed(value), borrowed(owner));
  } catch (const Error&) {
    restore(old, content, borrowed(owner), access);
    throw;
  }
  return stored;
}

// As it was, but for its auth value, which nobody can read: with one it is not there any more.
void Token::restore(const NvPublic& old, const std::optional<Bytes>& content,
                    const Secret* owner_value, const Access& access) {
  constexpr TPMA_NV kStates = TPMA_NV_WRITTEN | TPMA_NV_READLOCKED | TPMA_NV_WRITELOCKED;
  if (!content) return;
  TPMS_NV_PUBLIC area = old.area;
  area.attributes &= ~kStates;
  try {
    device_->tpm().nv_store(caller_of(access), area, *content, nullptr, owner_value);
  } catch (const Error& error) {
    HWID_LOG(access.log, kError,
             hex(old.area.nvIndex) + ": what was there could not be put back: " + error.what());
  }
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
  try {
    read_certificates(found, nv_secrets(&uri, found.nv, access), access);
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
  const std::optional<Secret> owner = owner_value(what, access);
  device_->tpm().nv_remove(caller_of(access), found.nv, borrowed(owner));
  if (!is_certificate) found.certificates.push_back(make_nv_other(found));
  return std::move(found.certificates);
}

// What the owner may remove of the key's certificates.
std::vector<Object> Token::remove_beside(const Found& found, const Secret* owner_value,
                                         const Access& access) {
  std::vector<Object> removed;
  const core::PublicKey key = public_half(found, access);
  for (NvFound& there : beside(key, access)) {
    if (!is_owners(there.nv)) continue;
    device_->tpm().nv_remove(caller_of(access), there.nv, owner_value);
    std::ranges::move(there.certificates, std::back_inserter(removed));
  }
  return removed;
}

}  // namespace hwid::tpm2
