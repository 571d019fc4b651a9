#include "tools/prove_key_stays/token_session.h"

#include <dlfcn.h>

#include <array>

#include "provider/core/log.h"
#include "provider/core/pin.h"
#include "provider/pkcs11/module.h"

namespace hwid::prove {

using core::Error;
using core::Reason;
using core::Secret;

TokenSession::TokenSession(const std::string& module_path, const std::string& token_label,
                           const std::string& pin_file)
    : token_(token_label) {
  // Never closed: a module's destructors do not expect that.
  void* const library = dlopen(module_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw Error(Reason::kModuleNotLoadable,
                "dlopen " + module_path + ": " + dlerror() + "; check the path of the module");
  const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  if (get_list == nullptr)
    throw Error(Reason::kNotAModule, module_path + ": no PKCS#11 module; name another file");
  pkcs11::check(get_list(&functions_), "C_GetFunctionList", {{}, {}, module_path});
  pkcs11::check(functions_->C_Initialize(nullptr), "C_Initialize", {{}, {}, module_path});
  find_slot();
  pkcs11::check(functions_->C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr,
                                          nullptr, &session_),
                "C_OpenSession", place({}));
  Secret pin = core::read_pin_source("file:" + pin_file, core::Log());
  pkcs11::check(functions_->C_Login(session_, CKU_USER, pin.writable().data(), pin.size()),
                "C_Login", place({}));
}

TokenSession::~TokenSession() {
  functions_->C_CloseSession(session_);
  functions_->C_Finalize(nullptr);
}

void TokenSession::find_slot() {
  std::array<CK_SLOT_ID, 64> slots{};
  CK_ULONG count = slots.size();
  pkcs11::check(functions_->C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList",
                place({}));
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_TOKEN_INFO info{};
    if (functions_->C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
    if (pkcs11::padded_text(info.label) != token_) continue;
    slot_ = slots[i];
    return;
  }
  throw Error(Reason::kNoToken, "no token is labelled " + token_ + "; check label and module");
}

CK_OBJECT_HANDLE TokenSession::private_key(const std::string& label) const {
  CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
  std::array<CK_ATTRIBUTE, 2> wanted{
      {{CKA_CLASS, &object_class, sizeof object_class},
       {CKA_LABEL, const_cast<char*>(label.data()), static_cast<CK_ULONG>(label.size())}}};
  std::array<CK_OBJECT_HANDLE, 2> found{};
  CK_ULONG count = 0;
  pkcs11::check(functions_->C_FindObjectsInit(session_, wanted.data(), wanted.size()),
                "C_FindObjectsInit", place(label));
  const CK_RV rv = functions_->C_FindObjects(session_, found.data(), found.size(), &count);
  functions_->C_FindObjectsFinal(session_);
  pkcs11::check(rv, "C_FindObjects", place(label));
  if (count != 1)
    throw Error(count == 0 ? Reason::kNoObject : Reason::kSeveralObjects,
                "token=" + token_ + " object=" + label + ": " +
                    (count == 0 ? "no private key has" : "several private keys have") +
                    " that label; name another");
  return found[0];
}

void TokenSession::generate_twin(const std::string& label) const {
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  CK_ULONG bits = 2048;
  std::array<CK_BYTE, 3> exponent{1, 0, 1};
  const auto text = [&label] {
    return CK_ATTRIBUTE{CKA_LABEL, const_cast<char*>(label.data()),
                        static_cast<CK_ULONG>(label.size())};
  };
  const auto flag = [](CK_ATTRIBUTE_TYPE type, CK_BBOOL& value) {
    return CK_ATTRIBUTE{type, &value, sizeof value};
  };
  std::array public_half{text(), flag(CKA_TOKEN, yes), flag(CKA_VERIFY, yes),
                         CK_ATTRIBUTE{CKA_MODULUS_BITS, &bits, sizeof bits},
                         CK_ATTRIBUTE{CKA_PUBLIC_EXPONENT, exponent.data(), exponent.size()}};
  std::array private_half{text(),
                          flag(CKA_TOKEN, yes),
                          flag(CKA_PRIVATE, yes),
                          flag(CKA_SIGN, yes),
                          flag(CKA_SENSITIVE, no),
                          flag(CKA_EXTRACTABLE, yes)};
  CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
  pkcs11::check(functions_->C_GenerateKeyPair(session_, &mechanism, public_half.data(),
                                              public_half.size(), private_half.data(),
                                              private_half.size(), &public_key, &private_key),
                "C_GenerateKeyPair", place(label));
}

}  // namespace hwid::prove
