#include "tests/module/answers.h"

#include <algorithm>
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
  if (rv == CKR_OK) info->flags = (info->flags | plan.token_flags_set) & ~plan.token_flags_cleared;
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

CK_RV answer(Tag<Function::kGetAttributeValue>, Interposer& self, const Plan& plan,
             CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes,
             CK_ULONG count) {
  std::vector<CK_ATTRIBUTE> shown;
  for (CK_ULONG i = 0; i < count; ++i) {
    if (!plan.hides_attribute(attributes[i].type)) shown.push_back(attributes[i]);
  }
  const bool hides = shown.size() != count;
  if (!hides) return self.real()->C_GetAttributeValue(session, object, attributes, count);
  CK_RV rv = CKR_OK;
  if (!shown.empty())
    rv = self.real()->C_GetAttributeValue(session, object, shown.data(),
                                          static_cast<CK_ULONG>(shown.size()));
  auto next = shown.begin();
  for (CK_ULONG i = 0; i < count; ++i) {
    const bool hidden = plan.hides_attribute(attributes[i].type);
    attributes[i].ulValueLen = hidden ? CK_UNAVAILABLE_INFORMATION : (next++)->ulValueLen;
  }
  return rv == CKR_OK ? CK_RV{CKR_ATTRIBUTE_TYPE_INVALID} : rv;
}

}  // namespace hwid::test
