#include "tools/prove_key_stays/extraction.h"

#include <algorithm>

#include "tools/prove_key_stays/weakening.h"
#include "tools/prove_key_stays/wrapping.h"

namespace hwid::prove {

using core::Secret;

namespace {

constexpr std::size_t kLongestValue = 16384;

Attempt read(const TokenAccess& token, CK_OBJECT_HANDLE key, const PrivateAttribute& wanted,
             const IsValue& is_value) {
  const ReadValue read = read_attribute(token, key, wanted.type);
  require_alive(read.rv, "C_GetAttributeValue", token.place);
  Attempt attempt{std::string("C_GetAttributeValue ") + wanted.name, read.rv, outcome_of(read.rv),
                  read.value.size()};
  if (read.rv == CKR_OK) {
    attempt.outcome = read.value.empty() ? Outcome::kRefused : Outcome::kAllowed;
    if (read.value.empty()) attempt.remark = "without a value";
  } else if (!read.value.empty() && is_value(wanted.type, read.value.reveal())) {
    attempt.outcome = Outcome::kAllowed;
    attempt.remark = "it is the value, whatever the answer says";
  } else if (!read.value.empty()) {
    attempt.remark = "with " + std::to_string(read.value.size()) + " bytes that are not the value";
  }
  return attempt;
}

}  // namespace

void require_alive(CK_RV rv, const char* call, const pkcs11::Place& place) {
  switch (rv) {
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_REMOVED:
    case CKR_HOST_MEMORY:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_USER_NOT_LOGGED_IN:
      pkcs11::raise(rv, call, place);
    default:
      return;
  }
}

Outcome outcome_of(CK_RV rv) noexcept {
  switch (rv) {
    case CKR_ACTION_PROHIBITED:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_INFORMATION_SENSITIVE:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_NOT_WRAPPABLE:
    case CKR_KEY_UNEXTRACTABLE:
    case CKR_TEMPLATE_INCONSISTENT:
      return Outcome::kRefused;
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_KEY_SIZE_RANGE:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_MECHANISM_INVALID:
    case CKR_WRAPPING_KEY_SIZE_RANGE:
    case CKR_WRAPPING_KEY_TYPE_INCONSISTENT:
      return Outcome::kUnable;
    default:
      return Outcome::kUnclear;
  }
}

std::vector<PrivateAttribute> private_attributes(CK_KEY_TYPE type) {
  if (type != CKK_RSA) return {{CKA_VALUE, "CKA_VALUE"}};
  return {{CKA_PRIVATE_EXPONENT, "CKA_PRIVATE_EXPONENT"},
          {CKA_PRIME_1, "CKA_PRIME_1"},
          {CKA_PRIME_2, "CKA_PRIME_2"},
          {CKA_EXPONENT_1, "CKA_EXPONENT_1"},
          {CKA_EXPONENT_2, "CKA_EXPONENT_2"},
          {CKA_COEFFICIENT, "CKA_COEFFICIENT"}};
}

CK_KEY_TYPE key_type(const TokenAccess& token, CK_OBJECT_HANDLE key) {
  CK_KEY_TYPE type = CKK_RSA;
  CK_ATTRIBUTE attribute{CKA_KEY_TYPE, &type, sizeof type};
  pkcs11::check(token->C_GetAttributeValue(token.session, key, &attribute, 1),
                "C_GetAttributeValue CKA_KEY_TYPE", token.place);
  return type;
}

ReadValue read_attribute(const TokenAccess& token, CK_OBJECT_HANDLE object,
                         CK_ATTRIBUTE_TYPE type) {
  Secret value(kLongestValue);
  CK_ATTRIBUTE attribute{type, value.writable().data(), static_cast<CK_ULONG>(value.size())};
  const CK_RV rv = token->C_GetAttributeValue(token.session, object, &attribute, 1);
  const auto bytes = value.reveal();
  const auto last = std::find_if(bytes.rbegin(), bytes.rend(), [](auto byte) { return byte != 0; });
  auto size = static_cast<std::size_t>(bytes.rend() - last);
  if (rv == CKR_OK && attribute.ulValueLen <= value.size())
    size = std::max<std::size_t>(size, attribute.ulValueLen);
  value.truncate(size);
  return {rv, std::move(value)};
}

std::vector<Attempt> try_to_read(const TokenAccess& token, CK_OBJECT_HANDLE key,
                                 const IsValue& is_value) {
  std::vector<Attempt> attempts;
  for (const PrivateAttribute& wanted : private_attributes(key_type(token, key)))
    attempts.push_back(read(token, key, wanted, is_value));
  return attempts;
}

std::vector<Attempt> try_to_extract(const TokenAccess& token, CK_OBJECT_HANDLE key,
                                    const IsValue& is_value) {
  std::vector<Attempt> attempts = try_to_read(token, key, is_value);
  for (Attempt& attempt : try_to_wrap(token, key)) attempts.push_back(std::move(attempt));
  for (Attempt& attempt : try_to_weaken(token, key, is_value))
    attempts.push_back(std::move(attempt));
  return attempts;
}

}  // namespace hwid::prove
