// The functions that do more than to forward: one overload of answer() each, found by its tag.
#pragma once

#include "tests/module/interposer.h"

namespace hwid::test {

template <Function F>
struct Tag {};

// The list that C_GetFunctionList gives out: module.cpp.
CK_FUNCTION_LIST* wrapped_functions() noexcept;
// Makes the list one that lacks what the plan hides. A list that is in use changes, too.
void show_functions(const Plan& plan) noexcept;

CK_RV answer(Tag<Function::kInitialize>, Interposer&, const Plan&, void* args);
CK_RV answer(Tag<Function::kFinalize>, Interposer&, const Plan&, void* reserved);
CK_RV answer(Tag<Function::kGetFunctionList>, Interposer&, const Plan&, CK_FUNCTION_LIST** list);
CK_RV answer(Tag<Function::kGetSlotList>, Interposer&, const Plan&, CK_BBOOL token_present,
             CK_SLOT_ID* slots, CK_ULONG* count);
CK_RV answer(Tag<Function::kGetSlotInfo>, Interposer&, const Plan&, CK_SLOT_ID slot,
             CK_SLOT_INFO* info);
CK_RV answer(Tag<Function::kGetTokenInfo>, Interposer&, const Plan&, CK_SLOT_ID slot,
             CK_TOKEN_INFO* info);
CK_RV answer(Tag<Function::kGetMechanismList>, Interposer&, const Plan&, CK_SLOT_ID slot,
             CK_MECHANISM_TYPE* types, CK_ULONG* count);
CK_RV answer(Tag<Function::kGetMechanismInfo>, Interposer&, const Plan&, CK_SLOT_ID slot,
             CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info);
CK_RV answer(Tag<Function::kOpenSession>, Interposer&, const Plan&, CK_SLOT_ID slot, CK_FLAGS flags,
             void* application, CK_NOTIFY notify, CK_SESSION_HANDLE* session);
CK_RV answer(Tag<Function::kCloseSession>, Interposer&, const Plan&, CK_SESSION_HANDLE session);
CK_RV answer(Tag<Function::kCloseAllSessions>, Interposer&, const Plan&, CK_SLOT_ID slot);
CK_RV answer(Tag<Function::kLogin>, Interposer&, const Plan&, CK_SESSION_HANDLE session,
             CK_USER_TYPE user, CK_UTF8CHAR* pin, CK_ULONG size);
CK_RV answer(Tag<Function::kSetPIN>, Interposer&, const Plan&, CK_SESSION_HANDLE session,
             CK_UTF8CHAR* old_pin, CK_ULONG old_size, CK_UTF8CHAR* new_pin, CK_ULONG new_size);
CK_RV answer(Tag<Function::kInitPIN>, Interposer&, const Plan&, CK_SESSION_HANDLE session,
             CK_UTF8CHAR* pin, CK_ULONG size);
CK_RV answer(Tag<Function::kFindObjects>, Interposer&, const Plan&, CK_SESSION_HANDLE session,
             CK_OBJECT_HANDLE* objects, CK_ULONG room, CK_ULONG* count);
CK_RV answer(Tag<Function::kGetAttributeValue>, Interposer&, const Plan&, CK_SESSION_HANDLE session,
             CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes, CK_ULONG count);

}  // namespace hwid::test
