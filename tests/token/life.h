// What the tests of an open key's life share: the token's keys, and the application's own use of
// the module.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fixture/life.h"
#include "tests/token/world.h"

namespace hwid::test::life {

struct Kind {
  const char* label;
  bool pss;
};
inline constexpr Kind kKinds[] = {{"rsa", false}, {"rsa", true}, {"ec", false}};

class Signer : public KeySigner {
 public:
  using KeySigner::KeySigner;
  Signer(const LibraryContext& context, const Kind& kind)
      : KeySigner(context, context.private_key(world().token.uri(kind.label)), kind.pss) {}
};

struct FreeStore {
  void operator()(OSSL_STORE_CTX* store) const noexcept { OSSL_STORE_close(store); }
};
struct FreeUi {
  void operator()(UI_METHOD* method) const noexcept { UI_destroy_method(method); }
};

using Prompt = std::function<std::string()>;

inline int ask(char* into, int size, int, void* prompt) {
  const std::string pin = (*static_cast<Prompt*>(prompt))();
  if (pin.empty() || static_cast<int>(pin.size()) > size) return -1;
  pin.copy(into, pin.size());
  return static_cast<int>(pin.size());
}

// Opens a key whose PIN comes from `prompt`, as an application's passphrase callback.
inline EvpPkey open_with_prompt(const LibraryContext& own, const std::string& uri, Prompt prompt) {
  const std::unique_ptr<UI_METHOD, FreeUi> ui(UI_UTIL_wrap_read_pem_callback(ask, 0));
  const std::unique_ptr<OSSL_STORE_CTX, FreeStore> store(OSSL_STORE_open_ex(
      uri.c_str(), own.get(), nullptr, ui.get(), &prompt, nullptr, nullptr, nullptr));
  EvpPkey key;
  while (store && !key && OSSL_STORE_eof(store.get()) == 0) {
    OSSL_STORE_INFO* const info = OSSL_STORE_load(store.get());
    if (info == nullptr) break;
    if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
      key.reset(OSSL_STORE_INFO_get1_PKEY(info));
    OSSL_STORE_INFO_free(info);
  }
  return key;
}

inline LibraryContext context_without_pin() {
  Settings settings;
  for (const auto& [name, value] : world().token.backend(world().module.path())) {
    if (name != "pin-source") settings.emplace_back(name, value);
  }
  return LibraryContext(OpensslConf().backend("dev", settings));
}

// The application's own use of the module that the provider uses too.
class Application {
 public:
  Application() {
    void* const library = dlopen(world().module.path().c_str(), RTLD_NOW | RTLD_LOCAL);
    const auto get_list =
        reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
    get_list(&p11_);
  }
  CK_FUNCTION_LIST* operator->() const { return p11_; }

  CK_RV initialize() const {
    CK_C_INITIALIZE_ARGS arguments{};
    arguments.flags = CKF_OS_LOCKING_OK;
    return p11_->C_Initialize(&arguments);
  }
  CK_RV finalize() const { return p11_->C_Finalize(nullptr); }

  // The slot of world()'s token; throws if it is not there.
  CK_SLOT_ID slot() const {
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;
    if (p11_->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK) count = 0;
    for (CK_ULONG i = 0; i < count; ++i) {
      CK_TOKEN_INFO info{};
      if (p11_->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
          std::string(info.label, info.label + sizeof info.label)
              .starts_with(world().token.label()))
        return slots[i];
    }
    throw std::runtime_error("the application sees no token");
  }
  CK_SESSION_HANDLE open_session() const {
    CK_SESSION_HANDLE session = 0;
    if (p11_->C_OpenSession(slot(), CKF_SERIAL_SESSION, nullptr, nullptr, &session) != CKR_OK)
      throw std::runtime_error("the application gets no session");
    return session;
  }
  CK_RV log_in(CK_SESSION_HANDLE session) const {
    std::string pin = SoftHsmToken::kPin;
    return p11_->C_Login(session, CKU_USER, reinterpret_cast<CK_UTF8CHAR*>(pin.data()), pin.size());
  }
  void log_out() const {
    const CK_SESSION_HANDLE session = open_session();
    CHECK(p11_->C_Logout(session) == CKR_OK);
    CHECK(p11_->C_CloseSession(session) == CKR_OK);
  }
  void close_all_sessions() const { CHECK(p11_->C_CloseAllSessions(slot()) == CKR_OK); }
  // Private keys on the token that a session sees: none without a login.
  CK_ULONG private_keys(CK_SESSION_HANDLE session) const {
    CK_OBJECT_CLASS wanted = CKO_PRIVATE_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE by_class[] = {{CKA_CLASS, &wanted, sizeof wanted}, {CKA_TOKEN, &yes, sizeof yes}};
    CK_OBJECT_HANDLE found[16];
    CK_ULONG count = 0;
    CHECK(p11_->C_FindObjectsInit(session, by_class, 2) == CKR_OK);
    CHECK(p11_->C_FindObjects(session, found, 16, &count) == CKR_OK);
    CHECK(p11_->C_FindObjectsFinal(session) == CKR_OK);
    return count;
  }

 private:
  CK_FUNCTION_LIST* p11_ = nullptr;
};

// The counters that must stay zero whatever happens.
inline void check_order() {
  CHECK(world().module.count("shared-session") == 0);
  CHECK(world().module.count("after-exit") == 0);
}

}  // namespace hwid::test::life
