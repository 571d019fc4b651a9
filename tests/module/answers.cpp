#include "tests/module/answers.h"

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace hwid::test {

CK_RV answer(Tag<Function::kInitialize>, Interposer& self, const Plan& plan, void* args) {
  return self.initialize(plan, args);
}

CK_RV answer(Tag<Function::kFinalize>, Interposer& self, const Plan&, void* reserved) {
  return self.finalize(reserved);
}

CK_RV answer(Tag<Function::kGetFunctionList>, Interposer&, const Plan&, CK_FUNCTION_LIST** list) {
  if (list == nullptr) return CKR_ARGUMENTS_BAD;
  *list = wrapped_functions();
  return CKR_OK;
}

CK_RV answer(Tag<Function::kGetSlotList>, Interposer& self, const Plan& plan,
             CK_BBOOL token_present, CK_SLOT_ID* slots, CK_ULONG* count) {
  const CK_RV rv = self.real()->C_GetSlotList(token_present, slots, count);
  if (rv == CKR_OK && plan.token_removed && token_present != CK_FALSE) *count = 0;
  return rv;
}

CK_RV answer(Tag<Function::kGetSlotInfo>, Interposer& self, const Plan& plan, CK_SLOT_ID slot,
             CK_SLOT_INFO* info) {
  const CK_RV rv = self.real()->C_GetSlotInfo(slot, info);
  if (rv == CKR_OK && plan.token_removed) info->flags &= ~CK_FLAGS{CKF_TOKEN_PRESENT};
  return rv;
}

CK_RV answer(Tag<Function::kGetTokenInfo>, Interposer& self, const Plan& plan, CK_SLOT_ID slot,
             CK_TOKEN_INFO* info) {
  const CK_RV rv = self.real()->C_GetTokenInfo(slot, info);
  if (rv != CKR_OK) return rv;
  const std::uint64_t failed = self.counters().value(Tally::kFailedLogins);
  if (plan.pin_tries != 0) {
    if (failed > 0) info->flags |= CKF_USER_PIN_COUNT_LOW;
    if (failed + 1 == plan.pin_tries) info->flags |= CKF_USER_PIN_FINAL_TRY;
    if (failed >= plan.pin_tries) info->flags |= CKF_USER_PIN_LOCKED;
  }
  info->flags = (info->flags | plan.token_flags_set) & ~plan.token_flags_cleared;
  return rv;
}

CK_RV answer(Tag<Function::kGetMechanismList>, Interposer& self, const Plan& plan, CK_SLOT_ID slot,
             CK_MECHANISM_TYPE* types, CK_ULONG* count) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  CK_ULONG real_count = 0;
  CK_RV rv = self.real()->C_GetMechanismList(slot, nullptr, &real_count);
  if (rv != CKR_OK) return rv;
  std::vector<CK_MECHANISM_TYPE> shown(real_count);
  rv = self.real()->C_GetMechanismList(slot, shown.data(), &real_count);
  if (rv != CKR_OK) return rv;
  shown.resize(real_count);
  std::erase_if(shown, [&](CK_MECHANISM_TYPE type) { return plan.hides_mechanism(type); });
  const CK_ULONG room = *count;
  *count = static_cast<CK_ULONG>(shown.size());
  if (types == nullptr) return CKR_OK;
  if (room < *count) return CKR_BUFFER_TOO_SMALL;
  std::ranges::copy(shown, types);
  return CKR_OK;
}

CK_RV answer(Tag<Function::kGetMechanismInfo>, Interposer& self, const Plan& plan, CK_SLOT_ID slot,
             CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info) {
  if (plan.hides_mechanism(type)) return CKR_MECHANISM_INVALID;
  return self.real()->C_GetMechanismInfo(slot, type, info);
}

CK_RV answer(Tag<Function::kOpenSession>, Interposer& self, const Plan& plan, CK_SLOT_ID slot,
             CK_FLAGS flags, void* application, CK_NOTIFY notify, CK_SESSION_HANDLE* session) {
  if (notify != nullptr && plan.refusal(Asked::kNotify) != CKR_OK)
    return plan.refusal(Asked::kNotify);
  if (!self.sessions().reserve(plan.max_sessions)) return CKR_SESSION_COUNT;
  const CK_RV rv = self.real()->C_OpenSession(slot, flags, application, notify, session);
  if (rv != CKR_OK) {
    self.sessions().give_back();
    return rv;
  }
  self.sessions().opened(*session, slot);
  self.counters().raise_to(Tally::kPeakSessions, self.sessions().open());
  return rv;
}

namespace {

// A token that locks itself, which SoftHSM does not. The counter is shared by all processes.
template <typename Try>
CK_RV counted_try(Interposer& self, const Plan& plan, Try&& try_pin) {
  if (plan.pin_tries == 0) return try_pin();
  Counters& counters = self.counters();
  if (counters.value(Tally::kFailedLogins) >= plan.pin_tries) return CKR_PIN_LOCKED;
  const CK_RV rv = try_pin();
  if (rv == CKR_OK)
    counters.set(Tally::kFailedLogins, 0);
  else if (rv == CKR_PIN_INCORRECT)
    counters.add(Tally::kFailedLogins);
  return rv;
}

}  // namespace

CK_RV answer(Tag<Function::kLogin>, Interposer& self, const Plan& plan, CK_SESSION_HANDLE session,
             CK_USER_TYPE user, CK_UTF8CHAR* pin, CK_ULONG size) {
  std::string typed = plan.pin_pad;
  const auto log_in = [&] {
    if (pin != nullptr || typed.empty()) return self.real()->C_Login(session, user, pin, size);
    return self.real()->C_Login(session, user, reinterpret_cast<CK_UTF8CHAR*>(typed.data()),
                                typed.size());
  };
  return user == CKU_USER ? counted_try(self, plan, log_in) : log_in();
}

CK_RV answer(Tag<Function::kSetPIN>, Interposer& self, const Plan& plan, CK_SESSION_HANDLE session,
             CK_UTF8CHAR* old_pin, CK_ULONG old_size, CK_UTF8CHAR* new_pin, CK_ULONG new_size) {
  return counted_try(self, plan, [&] {
    return self.real()->C_SetPIN(session, old_pin, old_size, new_pin, new_size);
  });
}

CK_RV answer(Tag<Function::kInitPIN>, Interposer& self, const Plan&, CK_SESSION_HANDLE session,
             CK_UTF8CHAR* pin, CK_ULONG size) {
  const CK_RV rv = self.real()->C_InitPIN(session, pin, size);
  if (rv == CKR_OK) self.counters().set(Tally::kFailedLogins, 0);
  return rv;
}

CK_RV answer(Tag<Function::kCloseSession>, Interposer& self, const Plan&,
             CK_SESSION_HANDLE session) {
  const CK_RV rv = self.real()->C_CloseSession(session);
  if (rv == CKR_OK) self.sessions().closed(session);
  return rv;
}

CK_RV answer(Tag<Function::kCloseAllSessions>, Interposer& self, const Plan&, CK_SLOT_ID slot) {
  const CK_RV rv = self.real()->C_CloseAllSessions(slot);
  if (rv == CKR_OK) self.sessions().closed_slot(slot);
  return rv;
}

namespace {

// The class and label of an object, as something to sort by.
std::pair<CK_OBJECT_CLASS, std::string> name_of(const CK_FUNCTION_LIST& real,
                                                CK_SESSION_HANDLE session,
                                                CK_OBJECT_HANDLE object) {
  CK_OBJECT_CLASS object_class = 0;
  std::array<char, 256> label{};
  CK_ATTRIBUTE asked[] = {{CKA_CLASS, &object_class, sizeof object_class},
                          {CKA_LABEL, label.data(), static_cast<CK_ULONG>(label.size() - 1)}};
  real.C_GetAttributeValue(session, object, asked, 2);
  return {object_class, label.data()};
}

// PKCS#11 v2.40, 5.7.5, for one attribute whose value is known here.
CK_RV give(const std::string& value, CK_ATTRIBUTE& attribute) {
  const CK_ULONG room = attribute.ulValueLen;
  attribute.ulValueLen = static_cast<CK_ULONG>(value.size());
  if (attribute.pValue == nullptr) return CKR_OK;
  if (room < value.size()) {
    attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  std::ranges::copy(value, static_cast<char*>(attribute.pValue));
  return CKR_OK;
}

}  // namespace

// SoftHSM's own order differs from one process to the next. Sorted within one answer.
CK_RV answer(Tag<Function::kFindObjects>, Interposer& self, const Plan& plan,
             CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* objects, CK_ULONG room, CK_ULONG* count) {
  const CK_RV rv = self.real()->C_FindObjects(session, objects, room, count);
  if (rv != CKR_OK || !plan.sort_objects) return rv;
  std::ranges::sort(objects, objects + *count, {}, [&](CK_OBJECT_HANDLE object) {
    return name_of(*self.real(), session, object);
  });
  return rv;
}

CK_RV answer(Tag<Function::kGetAttributeValue>, Interposer& self, const Plan& plan,
             CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes,
             CK_ULONG count) {
  const auto is_ours = [&](const CK_ATTRIBUTE& attribute) {
    return plan.hides_attribute(attribute.type) || plan.attributes.contains(attribute.type);
  };
  std::vector<CK_ATTRIBUTE> asked;
  std::copy_if(attributes, attributes + count, std::back_inserter(asked), std::not_fn(is_ours));
  if (asked.size() == count)
    return self.real()->C_GetAttributeValue(session, object, attributes, count);
  CK_RV rv = CKR_OK;
  if (!asked.empty())
    rv = self.real()->C_GetAttributeValue(session, object, asked.data(),
                                          static_cast<CK_ULONG>(asked.size()));
  auto next = asked.begin();
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_ATTRIBUTE& attribute = attributes[i];
    CK_RV own = CKR_OK;
    if (plan.hides_attribute(attribute.type)) {
      attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
      own = CKR_ATTRIBUTE_TYPE_INVALID;
    } else if (is_ours(attribute)) {
      own = give(plan.attributes.at(attribute.type), attribute);
    } else {
      attribute.ulValueLen = (next++)->ulValueLen;
    }
    if (rv == CKR_OK) rv = own;
  }
  return rv;
}

}  // namespace hwid::test
