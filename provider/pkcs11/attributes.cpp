#include "provider/pkcs11/attributes.h"

#include <openssl/asn1.h>

#include <algorithm>
#include <cstring>

namespace hwid::pkcs11 {

using core::Bytes;
using core::ByteView;

namespace {

constexpr std::size_t kLongestValue = std::size_t{1} << 20;

// Answers that say something of single attributes, not of the call.
bool is_partial(CK_RV rv) noexcept {
  return rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ||
         rv == CKR_BUFFER_TOO_SMALL;
}

// Modules that give up at an attribute they do not know.
bool is_refused_whole(CK_RV rv) noexcept {
  return rv == CKR_ARGUMENTS_BAD || rv == CKR_FUNCTION_FAILED || rv == CKR_GENERAL_ERROR ||
         rv == CKR_ATTRIBUTE_VALUE_INVALID;
}

// Some tokens pad it at the end.
bool is_whole_der(ByteView der) {
  const std::uint8_t* at = der.data();
  long length = 0;
  int tag = 0;
  int tag_class = 0;
  return (ASN1_get_object(&at, &length, &tag, &tag_class, static_cast<long>(der.size())) & 0x80) ==
         0;
}

Bytes copy(ByteView bytes) { return {bytes.begin(), bytes.end()}; }

// What an object of that class and type has: PKCS#11 3.1, 4.
std::vector<CK_ATTRIBUTE_TYPE> attributes_of(const ObjectAttributes& object) {
  switch (object.object_class) {
    case CKO_CERTIFICATE:
      return {CKA_LABEL, CKA_ID};
    case CKO_PRIVATE_KEY:
    case CKO_PUBLIC_KEY:
      break;
    default:
      return {};
  }
  if (object.key_type == CKK_RSA) return {CKA_LABEL, CKA_ID, CKA_MODULUS};
  if (!is_curve_type(object.key_type)) return {CKA_LABEL, CKA_ID};
  if (object.object_class == CKO_PRIVATE_KEY) return {CKA_LABEL, CKA_ID, CKA_EC_PARAMS};
  return {CKA_LABEL, CKA_ID, CKA_EC_PARAMS, CKA_EC_POINT};
}

}  // namespace

AttributeReader::AttributeReader(std::initializer_list<Item> items) {
  slots_.reserve(items.size());
  for (const Item& item : items) slots_.push_back({item, Bytes(item.guess), 0});
}

// Fills `size` of each slot: 0 where there is no value. A value that did not fit leaves
// SIZE_MAX, or the length that some modules give.
CK_RV AttributeReader::ask(Lease& lease, CK_OBJECT_HANDLE object, std::vector<Slot*>& slots,
                           bool sizes_only) {
  std::vector<CK_ATTRIBUTE> asked;
  asked.reserve(slots.size());
  for (Slot* slot : slots)
    asked.push_back({slot->item.type, sizes_only ? nullptr : slot->buffer.data(),
                     sizes_only ? 0 : slot->buffer.size()});
  const CK_RV rv = lease->C_GetAttributeValue(lease.session(), object, asked.data(), asked.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const CK_ULONG length = asked[i].ulValueLen;
    slots[i]->size = !is_partial(rv) ? 0
                     : length == CK_UNAVAILABLE_INFORMATION
                         ? (rv == CKR_BUFFER_TOO_SMALL ? SIZE_MAX : 0)
                         : length;
    slots[i]->unavailable = is_partial(rv) && length == CK_UNAVAILABLE_INFORMATION;
  }
  return rv;
}

void AttributeReader::read(Lease& lease, CK_OBJECT_HANDLE object, const Place& place) {
  std::vector<Slot*> all;
  for (Slot& slot : slots_) all.push_back(&slot);
  CK_RV rv = ask(lease, object, all, false);
  // CKR_BUFFER_TOO_SMALL without one that is too long: nothing was written.
  const bool contradicts =
      rv == CKR_BUFFER_TOO_SMALL &&
      std::ranges::all_of(slots_, [](const Slot& s) { return s.size <= s.buffer.size(); });
  if (contradicts || is_refused_whole(rv)) {
    const CK_RV whole = rv;
    bool any = false;
    for (Slot& slot : slots_) {
      std::vector<Slot*> one{&slot};
      rv = ask(lease, object, one, false);
      if (rv == CKR_BUFFER_TOO_SMALL && slot.size <= slot.buffer.size()) slot.size = 0;
      if (!is_partial(rv) && !is_refused_whole(rv)) raise(rv, "C_GetAttributeValue", place);
      any = any || (is_partial(rv) && slot.size != 0);
    }
    if (!any) raise(whole, "C_GetAttributeValue", place);
  } else if (!is_partial(rv)) {
    raise(rv, "C_GetAttributeValue", place);
  }
  ask_longer(lease, object, place);
}

void AttributeReader::read_missing(Lease& lease, CK_OBJECT_HANDLE object,
                                   const std::vector<CK_ATTRIBUTE_TYPE>& types,
                                   const Place& place) {
  bool any = false;
  for (Slot& slot : slots_) {
    if (!slot.unavailable || slot.size != 0 ||
        std::ranges::find(types, slot.item.type) == types.end())
      continue;
    slot.size = SIZE_MAX;
    any = true;
  }
  if (!any) return;
  ask_longer(lease, object, place);
  for (Slot& slot : slots_)
    if (slot.size == SIZE_MAX) slot.size = 0;
}

void AttributeReader::ask_longer(Lease& lease, CK_OBJECT_HANDLE object, const Place& place) {
  std::vector<Slot*> longer;
  bool known = true;
  for (Slot& slot : slots_) {
    if (slot.size <= slot.buffer.size()) continue;
    longer.push_back(&slot);
    known = known && slot.size != SIZE_MAX;
  }
  if (longer.empty()) return;
  if (!known) {
    const CK_RV rv = ask(lease, object, longer, true);
    if (!is_partial(rv)) raise(rv, "C_GetAttributeValue", place);
  }
  std::erase_if(longer, [](const Slot* slot) { return slot->size == 0 || slot->size == SIZE_MAX; });
  for (Slot* slot : longer) {
    if (slot->size > kLongestValue)
      throw core::Error(core::Reason::kDeviceError, "C_GetAttributeValue:" + place_text(place) +
                                                        ": the token claims an attribute of " +
                                                        std::to_string(slot->size) +
                                                        " bytes; see the module's own log");
    slot->buffer.resize(slot->size);
  }
  if (longer.empty()) return;
  const CK_RV rv = ask(lease, object, longer, false);
  if (!is_partial(rv)) raise(rv, "C_GetAttributeValue", place);
  for (Slot* slot : longer) {
    if (slot->size > slot->buffer.size()) slot->size = 0;  // it grew meanwhile
  }
}

ByteView AttributeReader::value(CK_ATTRIBUTE_TYPE type) const noexcept {
  for (const Slot& slot : slots_) {
    if (slot.item.type == type && slot.size <= slot.buffer.size())
      return ByteView(slot.buffer).first(slot.size);
  }
  return {};
}

std::optional<CK_ULONG> AttributeReader::number(CK_ATTRIBUTE_TYPE type) const noexcept {
  const ByteView bytes = value(type);
  CK_ULONG number = 0;
  if (bytes.size() != sizeof number) return std::nullopt;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

std::optional<bool> AttributeReader::flag(CK_ATTRIBUTE_TYPE type) const noexcept {
  const ByteView bytes = value(type);
  if (bytes.size() != sizeof(CK_BBOOL)) return std::nullopt;
  return bytes[0] != CK_FALSE;
}

ObjectAttributes read_object(Lease& lease, CK_OBJECT_HANDLE object, const Place& place) {
  AttributeReader reader{{CKA_CLASS, sizeof(CK_OBJECT_CLASS)},
                         {CKA_KEY_TYPE, sizeof(CK_KEY_TYPE)},
                         {CKA_LABEL, 256},
                         {CKA_ID, 64},
                         {CKA_MODULUS, 1024},
                         {CKA_PUBLIC_EXPONENT, 16},
                         {CKA_EC_PARAMS, 64},
                         {CKA_EC_POINT, 160},
                         {CKA_PUBLIC_KEY_INFO, 1100},
                         {CKA_SIGN, sizeof(CK_BBOOL)},
                         {CKA_ALWAYS_AUTHENTICATE, sizeof(CK_BBOOL)},
                         {CKA_ALLOWED_MECHANISMS, 64 * sizeof(CK_MECHANISM_TYPE)}};
  reader.read(lease, object, place);
  ObjectAttributes found;
  found.handle = object;
  found.object_class = reader.number(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  found.key_type = reader.number(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION);
  reader.read_missing(lease, object, attributes_of(found), place);
  const ByteView label = reader.value(CKA_LABEL);
  found.label.assign(label.begin(), label.end());
  found.id = copy(reader.value(CKA_ID));
  found.modulus = copy(reader.value(CKA_MODULUS));
  found.public_exponent = copy(reader.value(CKA_PUBLIC_EXPONENT));
  found.ec_params = copy(reader.value(CKA_EC_PARAMS));
  found.ec_point = copy(reader.value(CKA_EC_POINT));
  found.public_key_info = copy(reader.value(CKA_PUBLIC_KEY_INFO));
  found.may_sign = reader.flag(CKA_SIGN);
  found.always_authenticate = reader.flag(CKA_ALWAYS_AUTHENTICATE).value_or(false);
  const ByteView allowed = reader.value(CKA_ALLOWED_MECHANISMS);
  found.allowed_mechanisms.resize(allowed.size() / sizeof(CK_MECHANISM_TYPE));
  if (!found.allowed_mechanisms.empty())
    std::memcpy(found.allowed_mechanisms.data(), allowed.data(),
                found.allowed_mechanisms.size() * sizeof(CK_MECHANISM_TYPE));
  return found;
}

core::Protection read_protection(Lease& lease, CK_OBJECT_HANDLE object, const Place& place) {
  constexpr std::size_t kSize = sizeof(CK_BBOOL);
  AttributeReader reader{
      {CKA_SENSITIVE, kSize},         {CKA_EXTRACTABLE, kSize}, {CKA_ALWAYS_SENSITIVE, kSize},
      {CKA_NEVER_EXTRACTABLE, kSize}, {CKA_LOCAL, kSize},       {CKA_ALWAYS_AUTHENTICATE, kSize}};
  reader.read(lease, object, place);
  core::Protection protection;
  protection.sensitive = reader.flag(CKA_SENSITIVE);
  protection.extractable = reader.flag(CKA_EXTRACTABLE);
  protection.always_sensitive = reader.flag(CKA_ALWAYS_SENSITIVE);
  protection.never_extractable = reader.flag(CKA_NEVER_EXTRACTABLE);
  protection.local = reader.flag(CKA_LOCAL);
  protection.always_authenticate = reader.flag(CKA_ALWAYS_AUTHENTICATE);
  return protection;
}

namespace {

bool is_distrusted(Lease& lease, CK_OBJECT_HANDLE object, const Place& place) {
  constexpr CK_ATTRIBUTE_TYPE kDistrusted = (CKA_VENDOR_DEFINED | 0x58444700UL) + 100;
  AttributeReader reader{{kDistrusted, sizeof(CK_BBOOL)}};  // p11-kit's CKA_X_DISTRUSTED
  reader.read(lease, object, place);
  return reader.flag(kDistrusted) == true;
}

}  // namespace

CertificateValue read_certificate(Lease& lease, CK_OBJECT_HANDLE object, const Place& place,
                                  bool in_trust_store) {
  AttributeReader reader{{CKA_CERTIFICATE_TYPE, sizeof(CK_CERTIFICATE_TYPE)},
                         {CKA_VALUE, 4096},
                         {CKA_TRUSTED, sizeof(CK_BBOOL)}};
  reader.read(lease, object, place);
  reader.read_missing(lease, object, {CKA_VALUE}, place);
  if (reader.number(CKA_CERTIFICATE_TYPE).value_or(CKC_X_509) != CKC_X_509) return {};
  const ByteView value = reader.value(CKA_VALUE);
  if (!value.empty() && !is_whole_der(value))
    throw core::Error(core::Reason::kDeviceError,
                      "C_GetAttributeValue:" + place_text(place) +
                          ": the token shows a certificate that is not whole (" +
                          std::to_string(value.size()) +
                          " bytes); store it again, or see the module's own log");
  if (in_trust_store && is_distrusted(lease, object, place))
    return {copy(value), core::Trust::kDistrusted};
  const bool is_trusted = reader.flag(CKA_TRUSTED) == true;
  return {copy(value), is_trusted ? core::Trust::kTrusted : core::Trust::kUnsaid};
}

}  // namespace hwid::pkcs11
