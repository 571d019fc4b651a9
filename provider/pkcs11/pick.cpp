// What a search found, as objects: token.h.
#include <algorithm>
#include <array>

#include "provider/pkcs11/recovered_half.h"
#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Error;
using core::KeyDescription;
using core::Object;
using core::ObjectClass;
using core::Reason;

namespace {

// Other programs mark the private half only.
bool is_half_of_pss_key(const ObjectAttributes& half, const std::vector<ObjectAttributes>& all) {
  return std::ranges::any_of(all, [&half](const ObjectAttributes& key) {
    return key.object_class == CKO_PRIVATE_KEY && belong_together(key, half) &&
           allows_only_pss(key.allowed_mechanisms);
  });
}

// Several objects that are looked at side by side need a URI each.
const core::KeyUri* named_by(const core::KeyUri& uri, const core::Wanted& wanted) {
  return wanted.others ? nullptr : &uri;
}

}  // namespace

std::vector<Object> Token::pick(Picking picking) const {
  const core::Wanted& wanted = picking.wanted;
  if (wanted.private_keys) add_private_keys(picking);
  if (wanted.public_keys) add_public_keys(picking);
  if (wanted.certificates) add_certificates(picking);
  if (wanted.others) add_others(picking);
  return std::move(picking.out);
}

void Token::add_private_keys(Picking& picking) const {
  const core::KeyUri& uri = picking.uri;
  const std::uint64_t generation = picking.lease.handle_generation();
  std::vector<const ObjectAttributes*> matches;
  for (const ObjectAttributes& object : picking.objects) {
    if (object.object_class == CKO_PRIVATE_KEY) matches.push_back(&object);
  }
  if (!picking.wanted.others) require_one(matches, uri, token_->place());  // else all are listed
  for (const ObjectAttributes* const match : matches) {
    if (is_supported_key_type(match->key_type)) continue;
    const std::string problem =
        uri.text() + ":" + place_text(token_->place()) +
        ": the key's type is none of RSA, EC, Edwards and Montgomery; use a key of one of these";
    if (picking.wanted.others)
      picking.out.push_back(without_use(picking, *match, problem));
    else if (uri.names_object())
      throw Error(Reason::kUnsupported, problem);
  }
  for (PrivateKeyObject& key : private_keys(picking.lease, picking.access.crypto, picking.objects,
                                            picking.searched, token_->place())) {
    KeyDescription description = describe(key.attributes, named_by(picking.uri, picking.wanted));
    // Costs two signatures: for the key that is meant, not for all that a listing meets.
    if (!key.public_key && uri.names_object() && !picking.wanted.others) {
      const core::AuditEvent event = {.operation = core::audit_field::kSign,
                                      .backend = "pkcs11",
                                      .token = token_->label(),
                                      .object = key.attributes.label,
                                      .mechanism = "CKM_ECDSA"};
      core::audited(picking.access.audit, event, [&] {
        key.public_key =
            recovered_half(picking.lease, picking.access.crypto, key.attributes, token_->place());
      });
      if (key.public_key)
        HWID_LOG(picking.access.log, kInfo,
                 description.uri + ": its public half is computed from two signatures");
    }
    if (!key.public_key) {
      const std::string text = description.uri + ": " + key.problem;
      if (picking.wanted.others) {
        picking.out.push_back(without_use(picking, key.attributes, text));
        continue;
      }
      if (uri.names_object()) throw Error(Reason::kNoObject, text);
      HWID_LOG(picking.access.log, kWarn, text);
      continue;
    }
    Object object;
    object.object_class = ObjectClass::kPrivateKey;
    object.description = description;
    object.key = make_key(key.attributes, *key.public_key, std::move(description), picking.access,
                          generation);
    picking.out.push_back(std::move(object));
    picking.picked.push_back(key.attributes.handle);
  }
}

// A private key to look at.
Object Token::without_use(Picking& picking, const ObjectAttributes& object,
                          const std::string& problem) const {
  Object shown;
  shown.object_class = ObjectClass::kPrivateKey;
  shown.description = describe(object, named_by(picking.uri, picking.wanted));
  shown.problem = core::one_line(problem);
  shown.protection =
      read_protection(picking.lease, object.handle, {token_->label(), object.label, {}});
  picking.picked.push_back(object.handle);
  return shown;
}

void Token::add_public_keys(Picking& picking) const {
  const core::KeyUri& uri = picking.uri;
  std::vector<const ObjectAttributes*> matches;
  for (const ObjectAttributes& object : picking.objects) {
    if (object.object_class == CKO_PUBLIC_KEY && is_supported_key_type(object.key_type))
      matches.push_back(&object);
  }
  if (uri.type() == ObjectClass::kPublicKey && !picking.wanted.others)
    require_one(matches, uri, token_->place());
  for (const ObjectAttributes* match : matches) {
    Object object;
    object.object_class = ObjectClass::kPublicKey;
    object.description = describe(*match, named_by(picking.uri, picking.wanted));
    try {
      const auto key =
          public_key_of(picking.access.crypto, *match, is_half_of_pss_key(*match, picking.objects));
      if (!key) continue;
      object.public_key = std::make_shared<core::PublicKey>(*key);
    } catch (const Error& error) {
      if (uri.names_object() && picking.out.empty()) throw;
      HWID_LOG(picking.access.log, kWarn, object.description.uri + ": " + error.what());
      continue;
    }
    picking.out.push_back(std::move(object));
    picking.picked.push_back(match->handle);
  }
}

void Token::add_certificates(Picking& picking) const {
  const bool in_trust_store = padded_text(token_->info().model) == "p11-kit-trust";
  for (ObjectAttributes& match : picking.objects) {
    if (match.object_class != CKO_CERTIFICATE) continue;
    try {
      if (match.certificate.empty())
        set_certificate(
            match, read_certificate(picking.lease, match.handle, token_->place(), in_trust_store));
    } catch (const TokenError&) {
      throw;
    } catch (const Error& error) {  // one that cannot be read must not spoil a listing, or a key
      if (picking.uri.names_object() && picking.out.empty()) throw;
      HWID_LOG(picking.access.log, kWarn, std::string(error.what()));
    }
    if (match.certificate.empty()) continue;
    Object object;
    object.object_class = ObjectClass::kCertificate;
    object.description = describe(match, named_by(picking.uri, picking.wanted));
    object.certificate = match.certificate;
    object.trust = match.trust;
    picking.out.push_back(std::move(object));
    picking.picked.push_back(match.handle);
  }
}

namespace {

std::string key_type_text(CK_KEY_TYPE type) {
  struct Name {
    CK_KEY_TYPE type;
    const char* text;
  };
  constexpr std::array<Name, 9> kNames{{{CKK_AES, "AES"},
                                        {CKK_DES, "DES"},
                                        {CKK_DES2, "DES2"},
                                        {CKK_DES3, "DES3"},
                                        {CKK_GENERIC_SECRET, "generic"},
                                        {CKK_RSA, "RSA"},
                                        {CKK_EC, "EC"},
                                        {kKeyEdwards, "EC Edwards"},
                                        {kKeyMontgomery, "EC Montgomery"}}};
  const auto* const name = std::ranges::find(kNames, type, &Name::type);
  if (name != kNames.end()) return std::string(" ") + name->text;
  return type == CK_UNAVAILABLE_INFORMATION ? "" : " of type " + std::to_string(type);
}

bool is_hidden(CK_OBJECT_CLASS object_class) {  // of the token itself, stored by nobody
  return object_class == CKO_HW_FEATURE || object_class == CKO_MECHANISM;
}

}  // namespace

std::string kind_text(const ObjectAttributes& object) {
  switch (object.object_class) {
    case CKO_DATA:
      return "data";
    case CKO_CERTIFICATE:
      return "certificate";  // of another kind, or one that cannot be read
    case CKO_PUBLIC_KEY:
      return "public key" + key_type_text(object.key_type);
    case CKO_SECRET_KEY:
      return "secret key" + key_type_text(object.key_type);
    case CKO_DOMAIN_PARAMETERS:
      return "domain parameters";
    case CK_UNAVAILABLE_INFORMATION:
      return "object of unknown class";
    default:
      return "object of class " + std::to_string(object.object_class);
  }
}

// What nothing else took, of the classes that the URI leaves.
void Token::add_others(Picking& picking) const {
  for (const ObjectAttributes& object : picking.objects) {
    if (std::ranges::find(picking.picked, object.handle) != picking.picked.end()) continue;
    const bool is_named =
        picking.uri.type() == ObjectClass::kOther &&
        (object.object_class == CKO_DATA || object.object_class == CKO_SECRET_KEY);
    if ((picking.uri.type() && !is_named) || is_hidden(object.object_class)) continue;
    const core::Wanted& wanted = picking.wanted;
    if (object.object_class == CKO_PRIVATE_KEY ||
        (object.object_class == CKO_PUBLIC_KEY && !wanted.public_keys) ||
        (object.object_class == CKO_CERTIFICATE && !wanted.certificates))
      continue;
    Object other;
    other.object_class = ObjectClass::kOther;
    other.description = describe(object, named_by(picking.uri, picking.wanted));
    other.description.traits = kind_text(object);
    picking.out.push_back(std::move(other));
  }
}

}  // namespace hwid::pkcs11
