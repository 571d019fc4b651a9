// A PKCS#11 module as a program without OpenSSL uses it: what hwid is compared with.
#pragma once

#ifndef CRYPTOKI_COMPAT
#define CRYPTOKI_COMPAT  // p11-kit's header with the standard's names
#endif
#include <p11-kit/pkcs11.h>

#include <string>

namespace hwid::bench {

// A module with one of its tokens, logged in, with as few calls as there can be. Several of them,
// and the provider, may share a module. Never closed by itself. Methods throw std::runtime_error
// and are thread-safe.
class Token {
 public:
  Token(const std::string& module, const std::string& label, const std::string& pin);

  const CK_FUNCTION_LIST* operator->() const noexcept { return functions_; }
  // The session that carries the login.
  CK_SESSION_HANDLE session() const noexcept { return session_; }
  CK_SESSION_HANDLE open_session() const;

  // The one private key of that label, a token object or not: one search, three calls.
  CK_OBJECT_HANDLE find(CK_SESSION_HANDLE session, const std::string& label) const;
  // A copy that lives as long as the session: some tokens sign faster with one.
  CK_OBJECT_HANDLE copy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) const;
  void finalize() const;

 private:
  const CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
};

// Throws std::runtime_error unless `rv` is CKR_OK.
void check(CK_RV rv, const char* call);

enum class Scheme { kRsaPkcs1, kRsaPss, kEcdsa };
const char* scheme_name(Scheme scheme);

// C_SignInit and C_Sign of a SHA-256 digest. Immutable; one for any number of keys.
class RawSigning {
 public:
  explicit RawSigning(Scheme scheme, std::string digest);
  // The signature; r and s for ECDSA.
  std::string sign(const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session,
                   CK_OBJECT_HANDLE key) const;

 private:
  CK_RSA_PKCS_PSS_PARAMS pss_{CKM_SHA256, CKG_MGF1_SHA256, 32};
  CK_MECHANISM_TYPE mechanism_;
  bool has_parameters_;
  std::string input_;
};

}  // namespace hwid::bench
