#include "fuzz/answers.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace hwid::fuzz {
namespace {

constexpr std::array<CK_ATTRIBUTE_TYPE, 14> kTypes = {CKA_CLASS,
                                                      CKA_KEY_TYPE,
                                                      CKA_LABEL,
                                                      CKA_ID,
                                                      CKA_MODULUS,
                                                      CKA_PUBLIC_EXPONENT,
                                                      CKA_EC_PARAMS,
                                                      CKA_EC_POINT,
                                                      CKA_PUBLIC_KEY_INFO,
                                                      CKA_SIGN,
                                                      CKA_ALWAYS_AUTHENTICATE,
                                                      CKA_ALLOWED_MECHANISMS,
                                                      CKA_CERTIFICATE_TYPE,
                                                      CKA_VALUE};

constexpr std::array<CK_RV, 24> kCodes = {CKR_OK,
                                          CKR_HOST_MEMORY,
                                          CKR_SLOT_ID_INVALID,
                                          CKR_GENERAL_ERROR,
                                          CKR_FUNCTION_FAILED,
                                          CKR_ARGUMENTS_BAD,
                                          CKR_ATTRIBUTE_SENSITIVE,
                                          CKR_ATTRIBUTE_TYPE_INVALID,
                                          CKR_DEVICE_ERROR,
                                          CKR_DEVICE_REMOVED,
                                          CKR_FUNCTION_NOT_SUPPORTED,
                                          CKR_KEY_HANDLE_INVALID,
                                          CKR_MECHANISM_INVALID,
                                          CKR_MECHANISM_PARAM_INVALID,
                                          CKR_OBJECT_HANDLE_INVALID,
                                          CKR_OPERATION_ACTIVE,
                                          CKR_SESSION_CLOSED,
                                          CKR_SESSION_COUNT,
                                          CKR_SESSION_HANDLE_INVALID,
                                          CKR_USER_NOT_LOGGED_IN,
                                          CKR_BUFFER_TOO_SMALL,
                                          CKR_CRYPTOKI_NOT_INITIALIZED,
                                          CKR_VENDOR_DEFINED | 7,
                                          0xdead};

constexpr std::array<CK_MECHANISM_TYPE, 16> kMechanisms = {CKM_RSA_PKCS,
                                                           CKM_RSA_X_509,
                                                           CKM_RSA_PKCS_PSS,
                                                           CKM_SHA1_RSA_PKCS,
                                                           CKM_SHA256_RSA_PKCS,
                                                           CKM_SHA384_RSA_PKCS,
                                                           CKM_SHA256_RSA_PKCS_PSS,
                                                           CKM_SHA512_RSA_PKCS_PSS,
                                                           CKM_ECDSA,
                                                           CKM_ECDSA_SHA1,
                                                           CKM_ECDSA_SHA256,
                                                           CKM_ECDSA_SHA384,
                                                           CKM_RSA_PKCS_KEY_PAIR_GEN,
                                                           CKM_EC_KEY_PAIR_GEN,
                                                           CKM_VENDOR_DEFINED | 1,
                                                           0};

// The last fills its field with NULs, where the standard wants blanks.
constexpr std::string_view kNulPadded(
    "pad\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
constexpr std::array<std::string_view, kFixedLabels> kLabels = {
    "tok",          "tok2",    "a;b=c?d%", "line\nbreak\x1b[2J", std::string_view("nul\0in", 6),
    "\xff\xfe\xc3", kNulPadded};

// Booleans and numbers of the standard as a module in C would answer them.
constexpr CK_ULONG kNumbers[] = {0, 1, 2, 3, 4, 0x10, 0x80000001UL, CK_UNAVAILABLE_INFORMATION};

bool is_number(CK_ATTRIBUTE_TYPE type) {
  return type == CKA_CLASS || type == CKA_KEY_TYPE || type == CKA_CERTIFICATE_TYPE;
}

core::Bytes as_value(CK_ULONG number) {
  core::Bytes bytes(sizeof number);
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

core::Bytes copy(core::ByteView bytes) { return {bytes.begin(), bytes.end()}; }

template <std::size_t N>
void pad(unsigned char (&field)[N], core::ByteView text) {
  std::fill(std::begin(field), std::end(field), ' ');
  std::copy_n(text.begin(), std::min(N, text.size()), std::begin(field));
}

// TYPE and how it lies, a length, the value; with a lie that needs it, a claimed length before it.
FuzzAttribute read_attribute(BytesReader& input) {
  FuzzAttribute made;
  made.type = kTypes[input.byte() % kTypes.size()];
  const std::uint8_t how = input.byte();
  made.lie = static_cast<AttributeLie>(how % static_cast<unsigned>(AttributeLie::kCount));
  if (made.lie == AttributeLie::kClaimsMore || made.lie == AttributeLie::kClaimsLess) {
    made.claimed = input.number16();
    if ((how & 0x40) != 0) made.claimed <<= 8;
    if ((how & 0x80) != 0) made.claimed = ~made.claimed;
  }
  if (is_number(made.type)) {
    const std::uint8_t number = input.byte();
    made.value = as_value(kNumbers[number % std::size(kNumbers)]);
    if ((number & 0x80) != 0) made.value.resize(number & 7);
  } else if (made.type == CKA_ALLOWED_MECHANISMS) {
    const core::ByteView names = input.take(input.byte());
    for (const std::uint8_t name : names) {
      const core::Bytes one = as_value(kMechanisms[name % kMechanisms.size()]);
      made.value.insert(made.value.end(), one.begin(), one.end());
    }
  } else {
    made.value = copy(input.take(input.number16()));
  }
  return made;
}

template <typename... A>
void refuse(CK_RV (*&function)(A...)) {
  function = [](A...) -> CK_RV { return CKR_FUNCTION_NOT_SUPPORTED; };
}

}  // namespace

const FuzzAttribute* FuzzObject::find(CK_ATTRIBUTE_TYPE type) const noexcept {
  const auto found = std::ranges::find(attributes, type, &FuzzAttribute::type);
  return found == attributes.end() ? nullptr : &*found;
}

core::ByteView FuzzObject::value(CK_ATTRIBUTE_TYPE type) const noexcept {
  const FuzzAttribute* const known = find(type);
  return known != nullptr && known->lie != AttributeLie::kUnavailable ? core::ByteView(known->value)
                                                                      : core::ByteView();
}

bool FuzzObject::is_honest() const noexcept {
  return std::ranges::all_of(attributes, [](const FuzzAttribute& one) {
    return one.lie == AttributeLie::kNone || one.lie == AttributeLie::kUnavailable ||
           one.lie == AttributeLie::kLengthIfShort;
  });
}

Answers& Answers::current() noexcept {
  static Answers answers;
  return answers;
}

void Answers::read(BytesReader& input, bool fixed_label) {
  *this = Answers();
  fixed_label_ = fixed_label;
  const core::ByteView codes = input.take(input.byte() & 0x1f);
  for (const std::uint8_t code : codes) plan_.push_back(kCodes[code % kCodes.size()]);
  const std::uint8_t flags = input.byte();
  info_.flags = CKF_TOKEN_INITIALIZED;
  if ((flags & 0x01) == 0) info_.flags |= CKF_LOGIN_REQUIRED;
  if ((flags & 0x02) != 0) info_.flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
  if ((flags & 0x04) != 0) info_.flags |= CKF_USER_PIN_FINAL_TRY;
  if ((flags & 0x08) != 0) info_.flags |= CKF_USER_PIN_LOCKED;
  if ((flags & 0x10) != 0) info_.flags ^= CKF_TOKEN_INITIALIZED;
  constexpr CK_ULONG kLimits[] = {CK_EFFECTIVELY_INFINITE, 1, 2, CK_UNAVAILABLE_INFORMATION};
  info_.ulMaxSessionCount = kLimits[flags >> 6];
  label_ = input.byte();
  pad(info_.label, input.take(label_ & 0x3f));
  pad(info_.serialNumber, core::as_bytes("0001"));
  const bool is_softhsm = (flags & 0x20) != 0;  // whose quirks are known
  pad(info_.manufacturerID, core::as_bytes(is_softhsm ? "SoftHSM project" : "fuzz"));
  pad(info_.model, core::as_bytes(is_softhsm ? "SoftHSM v2" : "fuzz"));
  const auto read_lie = [&input] {
    return static_cast<ListLie>(input.byte() % static_cast<unsigned>(ListLie::kCount));
  };
  const unsigned slots = 1 + (input.byte() & 0x03);
  for (unsigned slot = 0; slot < slots; ++slot) slots_.push_back(slot);
  slots_lie_ = read_lie();
  for (const std::uint8_t name : input.take(input.byte() & 0x1f))
    mechanisms_.push_back(kMechanisms[name % kMechanisms.size()]);
  mechanisms_lie_ = read_lie();
  objects_lie_ = read_lie();
  state_ = input.byte() % 6;
  signature_lie_ = input.byte();
  while (!input.empty()) {
    FuzzObject made;
    for (unsigned count = input.byte() & 0x0f; count > 0; --count)
      made.attributes.push_back(read_attribute(input));
    objects.push_back(std::move(made));
  }
}

bool Answers::keeps_to_the_standard() const noexcept {
  return std::ranges::all_of(plan_, [](CK_RV rv) { return rv == CKR_OK; }) &&
         slots_lie_ == ListLie::kNone && objects_lie_ == ListLie::kNone &&
         mechanisms_lie_ == ListLie::kNone && signature_lie_ < 0x80 &&
         std::ranges::all_of(objects, &FuzzObject::is_honest);
}

CK_TOKEN_INFO Answers::info(CK_SLOT_ID slot) const noexcept {
  CK_TOKEN_INFO shown = info_;
  if (fixed_label_) pad(shown.label, core::as_bytes(kLabels[(label_ + slot) % kLabels.size()]));
  return shown;
}

CK_RV Answers::next() noexcept {
  if (gone_) return CKR_TOKEN_NOT_PRESENT;
  return calls_ < plan_.size() ? plan_[calls_++] : CKR_OK;
}

CK_RV Answers::list(const std::vector<CK_ULONG>& all, ListLie lie, CK_ULONG* out,
                    CK_ULONG* count) const {
  const CK_ULONG room = *count;
  *count = lie == ListLie::kEmpty ? 0 : all.size();
  if (lie == ListLie::kHuge) *count = ~CK_ULONG{0} >> 1;
  if (lie == ListLie::kTooSmall || lie == ListLie::kHuge || (out != nullptr && room < *count))
    return CKR_BUFFER_TOO_SMALL;
  if (out != nullptr) std::copy_n(all.begin(), *count, out);
  if (lie == ListLie::kClaimsMore) *count = room + 1;
  return CKR_OK;
}

CK_RV Answers::attribute(FuzzAttribute& known, CK_ATTRIBUTE& asked) {
  const CK_ULONG size = known.value.size();
  if (known.lie == AttributeLie::kGrows) known.value.push_back(0);
  if (known.lie == AttributeLie::kUnavailable) {
    asked.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_ATTRIBUTE_SENSITIVE;
  }
  const CK_ULONG room = asked.ulValueLen;
  asked.ulValueLen = size;
  if (asked.pValue == nullptr) return CKR_OK;
  if (room < size && known.lie != AttributeLie::kClaimsMore) {
    if (known.lie != AttributeLie::kLengthIfShort) asked.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  std::copy_n(known.value.begin(), std::min(room, size), static_cast<std::uint8_t*>(asked.pValue));
  if (known.lie == AttributeLie::kClaimsMore) asked.ulValueLen = size + known.claimed;
  if (known.lie == AttributeLie::kClaimsLess) asked.ulValueLen = std::min(size, known.claimed);
  return CKR_OK;
}

bool Answers::matches(const FuzzObject& object, const CK_ATTRIBUTE* wanted, CK_ULONG count) const {
  for (CK_ULONG i = 0; i < count; ++i) {
    const auto* const bytes = static_cast<const std::uint8_t*>(wanted[i].pValue);
    const core::ByteView value = object.value(wanted[i].type);
    if (!std::equal(value.begin(), value.end(), bytes, bytes + wanted[i].ulValueLen)) return false;
  }
  return true;
}

// A copy of an object has its handle and 0x10000.
FuzzObject* Answers::object(CK_OBJECT_HANDLE handle) {
  const CK_OBJECT_HANDLE index = (handle & 0xffff) - 1;
  return index < objects.size() ? &objects[index] : nullptr;
}

// PKCS#11 v2.40, section 5.
struct Functions {
  static Answers& now() { return Answers::current(); }

  static CK_RV initialize(void*) {
    const CK_RV rv = now().gone_ ? CKR_OK : now().next();
    // A module that was initialized is never forgotten; the router's is the same each time.
    return rv == CKR_OK && !now().fixed_label_ ? CKR_CRYPTOKI_ALREADY_INITIALIZED : rv;
  }
  static CK_RV finalize(void*) { return CKR_OK; }
  static CK_RV get_info(CK_INFO* info) {
    *info = {};
    pad(info->manufacturerID, core::as_bytes("fuzz"));
    pad(info->libraryDescription, core::as_bytes("fuzz"));
    info->cryptokiVersion = {2, 40};
    info->libraryVersion = {1, 0};
    return now().next();
  }
  static CK_RV get_slot_list(CK_BBOOL, CK_SLOT_ID* out, CK_ULONG* count) {
    const CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    return now().list(now().slots_, now().slots_lie_, out, count);
  }
  static CK_RV get_slot_info(CK_SLOT_ID, CK_SLOT_INFO* info) {
    *info = {};
    pad(info->slotDescription, core::as_bytes("fuzz"));
    pad(info->manufacturerID, core::as_bytes("fuzz"));
    info->flags = CKF_TOKEN_PRESENT;
    return now().next();
  }
  static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
    *info = now().info(slot);
    return now().next();
  }
  static CK_RV get_mechanism_list(CK_SLOT_ID, CK_MECHANISM_TYPE* out, CK_ULONG* count) {
    const CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    return now().list(now().mechanisms_, now().mechanisms_lie_, out, count);
  }
  static CK_RV open_session(CK_SLOT_ID, CK_FLAGS, void*, CK_NOTIFY, CK_SESSION_HANDLE* session) {
    const CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    *session = ++now().last_session_;
    now().sessions_.insert(*session);
    return CKR_OK;
  }
  static CK_RV close_session(CK_SESSION_HANDLE session) {
    now().sessions_.erase(session);
    now().searches_.erase(session);
    return now().next();
  }
  static CK_RV get_session_info(CK_SESSION_HANDLE, CK_SESSION_INFO* info) {
    *info = {0, now().state_, CKF_SERIAL_SESSION, 0};
    return now().next();
  }
  // Not a refused PIN: the process would remember it beyond this input.
  static CK_RV login(CK_SESSION_HANDLE, CK_USER_TYPE, CK_UTF8CHAR*, CK_ULONG) {
    return now().next();
  }
  static CK_RV copy_object(CK_SESSION_HANDLE, CK_OBJECT_HANDLE object, CK_ATTRIBUTE*, CK_ULONG,
                           CK_OBJECT_HANDLE* copy) {
    const CK_RV rv = now().next();
    if (rv == CKR_OK) *copy = object | 0x10000;
    return rv;
  }
  static CK_RV destroy_object(CK_SESSION_HANDLE, CK_OBJECT_HANDLE) { return now().next(); }
  static CK_RV get_attribute_value(CK_SESSION_HANDLE, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE* asked,
                                   CK_ULONG count) {
    CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    FuzzObject* const object = now().object(handle);
    if (object == nullptr) return CKR_OBJECT_HANDLE_INVALID;
    for (CK_ULONG i = 0; i < count; ++i) {
      const auto known = std::ranges::find(object->attributes, asked[i].type, &FuzzAttribute::type);
      CK_RV one = CKR_ATTRIBUTE_TYPE_INVALID;
      if (known == object->attributes.end())
        asked[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
      else if (known->lie == AttributeLie::kUnknownAtAll)
        return CKR_GENERAL_ERROR;
      else
        one = now().attribute(*known, asked[i]);
      if (one != CKR_OK) rv = one;
    }
    return rv;
  }
  static CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE* wanted, CK_ULONG count) {
    const CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    if (!now().searches_.insert(session).second) return CKR_OPERATION_ACTIVE;
    now().found_.clear();
    const bool all = now().objects_lie_ == ListLie::kIgnoresWanted;
    for (CK_ULONG i = 0; i < now().objects.size(); ++i) {
      if (!all && !now().matches(now().objects[i], wanted, count)) continue;
      now().found_.push_back(i + 1);
      if (now().objects_lie_ == ListLie::kTwice) now().found_.push_back(i + 1);
    }
    if (now().objects_lie_ == ListLie::kUnknown) now().found_ = {0, 0xfff0};
    return CKR_OK;
  }
  static CK_RV find_objects(CK_SESSION_HANDLE, CK_OBJECT_HANDLE* out, CK_ULONG most,
                            CK_ULONG* count) {
    const CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    std::vector<CK_ULONG>& found = now().found_;
    *count = std::min<CK_ULONG>(most, found.size());
    std::copy_n(found.begin(), *count, out);
    found.erase(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(*count));
    if (now().objects_lie_ == ListLie::kEndless) *count = most;
    if (now().objects_lie_ == ListLie::kClaimsMore) *count = most + *count;
    return CKR_OK;
  }
  static CK_RV find_objects_final(CK_SESSION_HANDLE session) {
    now().searches_.erase(session);
    return now().next();
  }
  static CK_RV sign_init(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE) {
    return now().next();
  }
  static CK_RV sign(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* out, CK_ULONG* size) {
    const CK_RV rv = now().next();
    if (rv != CKR_OK) return rv;
    std::fill_n(out, *size, CK_BYTE{0x5a});
    *size = now().claimed_signature(*size);
    return CKR_OK;
  }
};

CK_FUNCTION_LIST* Answers::functions() {
  static CK_FUNCTION_LIST made = [] {
    CK_FUNCTION_LIST list{};
    list.version = {2, 40};
    list.C_Initialize = Functions::initialize;
    list.C_Finalize = Functions::finalize;
    list.C_GetInfo = Functions::get_info;
    list.C_GetSlotList = Functions::get_slot_list;
    list.C_GetSlotInfo = Functions::get_slot_info;
    list.C_GetTokenInfo = Functions::get_token_info;
    list.C_GetMechanismList = Functions::get_mechanism_list;
    list.C_OpenSession = Functions::open_session;
    list.C_CloseSession = Functions::close_session;
    list.C_GetSessionInfo = Functions::get_session_info;
    list.C_Login = Functions::login;
    list.C_CopyObject = Functions::copy_object;
    list.C_DestroyObject = Functions::destroy_object;
    list.C_GetAttributeValue = Functions::get_attribute_value;
    list.C_FindObjectsInit = Functions::find_objects_init;
    list.C_FindObjects = Functions::find_objects;
    list.C_FindObjectsFinal = Functions::find_objects_final;
    list.C_SignInit = Functions::sign_init;
    list.C_Sign = Functions::sign;
    refuse(list.C_GetMechanismInfo);
    refuse(list.C_Logout);
    refuse(list.C_CreateObject);
    refuse(list.C_GenerateKeyPair);
    return list;
  }();
  return &made;
}

}  // namespace hwid::fuzz
