// What the tests of an open key's life share: keys with their software judge, signatures that stay
// open over an event, children, threads, and the application's own use of the module.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/token/world.h"

namespace hwid::test::life {

struct Kind {
  const char* label;
  bool pss;
};
inline constexpr Kind kKinds[] = {{"rsa", false}, {"rsa", true}, {"ec", false}};

// An EVP_DigestSign (or, without a context, a software EVP_DigestVerify) with its padding.
inline EvpMdCtx begin(OSSL_LIB_CTX* context, EVP_PKEY* key, bool pss, bool verify) {
  EvpMdCtx md(EVP_MD_CTX_new());
  EVP_PKEY_CTX* padding = nullptr;
  const auto init = verify ? EVP_DigestVerifyInit_ex : EVP_DigestSignInit_ex;
  if (init(md.get(), &padding, "SHA256", context, nullptr, key, nullptr) != 1 ||
      (pss && (EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) != 1 ||
               EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST) != 1)))
    throw std::runtime_error("EVP_DigestSignInit:\n" + openssl_errors());
  return md;
}

inline const unsigned char* bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// A key and the software that judges its signatures. Usable from several threads.
class Signer {
 public:
  Signer(OSSL_LIB_CTX* context, EvpPkey key, bool pss)
      : context_(context), key_(std::move(key)), judge_(software_public(key_.get())), pss_(pss) {}
  Signer(const LibraryContext& context, EvpPkey key, bool pss)
      : Signer(context.get(), std::move(key), pss) {}
  Signer(const LibraryContext& context, const Kind& kind)
      : Signer(context, context.private_key(world().token.uri(kind.label)), kind.pss) {}

  EVP_PKEY* key() const { return key_.get(); }
  void free_key() { key_.reset(); }

  // A signature over a message that comes in two parts.
  class Stream {
   public:
    explicit Stream(const Signer& signer)
        : signer_(signer), md_(begin(signer.context_, signer.key_.get(), signer.pss_, false)) {
      EVP_DigestSignUpdate(md_.get(), "first, ", 7);
    }
    // What went wrong; empty: the signature is good.
    std::string finish() {
      std::size_t size = 0;
      if (EVP_DigestSignUpdate(md_.get(), "second", 6) != 1 ||
          EVP_DigestSignFinal(md_.get(), nullptr, &size) != 1)
        return "EVP_DigestSignFinal:\n" + openssl_errors();
      std::string signature(size, '\0');
      if (EVP_DigestSignFinal(md_.get(), reinterpret_cast<unsigned char*>(signature.data()),
                              &size) != 1)
        return "EVP_DigestSignFinal:\n" + openssl_errors();
      signature.resize(size);
      return signer_.accepts("first, second", signature) ? "" : "the signature is wrong";
    }

   private:
    const Signer& signer_;
    EvpMdCtx md_;
  };
  Stream stream() const { return Stream(*this); }

  // What went wrong; empty: all signatures are good.
  std::string failure(int times = 1) const {
    try {
      for (int round = 0; round < times; ++round) {
        const std::string message = "message " + std::to_string(round);
        const EvpMdCtx md = begin(context_, key_.get(), pss_, false);
        std::size_t size = 0;
        if (EVP_DigestSign(md.get(), nullptr, &size, bytes(message), message.size()) != 1)
          return "EVP_DigestSign:\n" + openssl_errors();
        std::string signature(size, '\0');
        if (EVP_DigestSign(md.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                           bytes(message), message.size()) != 1)
          return "EVP_DigestSign:\n" + openssl_errors();
        signature.resize(size);
        if (!accepts(message, signature)) return "the signature is wrong";
      }
      return {};
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  bool signs(int times = 1) const { return none(failure(times)); }
  // For children and threads: an empty text is good, another is shown.
  static bool none(const std::string& failure) {
    if (!failure.empty())
      std::fprintf(stderr, "pid %d: %s\n", static_cast<int>(getpid()), failure.c_str());
    return failure.empty();
  }

 private:
  bool accepts(const std::string& message, const std::string& signature) const {
    const EvpMdCtx md = begin(nullptr, judge_.get(), pss_, true);
    const bool good = EVP_DigestVerify(md.get(), bytes(signature), signature.size(), bytes(message),
                                       message.size()) == 1;
    (void)openssl_errors();
    return good;
  }

  OSSL_LIB_CTX* context_;
  EvpPkey key_;
  EvpPkey judge_;
  bool pss_;
};

// A child that runs `body` and leaves by _exit: 0 if it was true. A hang ends by SIGALRM.
inline pid_t start_child(const std::function<bool()>& body) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  alarm(60);
  bool good = false;
  try {
    good = body();
  } catch (const std::exception& error) {
    (void)Signer::none(error.what());
  }
  _exit(good ? 0 : 1);
}

// What waitpid says: 0 for a child that left with 0.
inline int status_of(pid_t pid) {
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

inline bool in_child(const std::function<bool()>& body) {
  return status_of(start_child(body)) == 0;
}

inline void on_threads(int number, const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(number));
  for (int i = 0; i < number; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
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
