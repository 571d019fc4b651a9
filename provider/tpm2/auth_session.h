// Sessions: who may use what a command names, and what is hidden on the bus (TPM 2.0 Part 1,
// 19-21).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "provider/core/bytes.h"
#include "provider/core/secret.h"
#include "provider/tpm2/command.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

// A session that the TPM holds, AES-128-CFB: an HMAC session, which is salted and has SHA-256, or a
// policy session, salted or not. State only; the nonces roll with each command that succeeds.
struct AuthSession {
  TPM2_HANDLE handle = TPM2_RH_NULL;
  core::Secret key;  // empty: not salted
  core::Bytes nonce_tpm;
  TPMI_ALG_HASH hash = TPM2_ALG_SHA256;
};

// How a handle is authorized. With a session: by `value` (null: empty), which never goes over the
// bus. Without one: by an empty password, or, where the user wants no sessions, by `value` in
// clear. By a policy: by its session, in which the policy holds, and `value` where the policy asks
// for it; `session` then only protects.
struct Authorization {
  AuthSession* session = nullptr;
  const core::Secret* value = nullptr;
  bool in_clear = false;
  AuthSession* policy = nullptr;
};

// One session of one command. The first ones authorize the command's handles, in their order; the
// others only protect.
struct SessionUse {
  AuthSession* session = nullptr;       // null: a password
  const core::Secret* value = nullptr;  // of the handle that it authorizes
  bool in_clear = false;                // a policy session that shows `value` itself
  bool decrypt = false;                 // the first parameter of the command is encrypted
  bool encrypt = false;                 // likewise of the answer
};

// The authorization area of one command, and what its answer must then hold.
class AuthorizationArea {
 public:
  // `crypto` may be null where no use has a session. All are borrowed.
  AuthorizationArea(Command& command, std::span<const SessionUse> uses,
                    const core::Libcrypto* crypto);

  // Encrypts the command's first parameter if a session asks for it, and computes the area.
  core::Bytes write();

  // Checks every session's HMAC, decrypts the first parameter, and rolls the nonces. Throws
  // kResponseAuthFailed; the sessions are then good for nothing.
  void read(Response& response) const;

 private:
  void crypt(bool encrypt, std::size_t index, core::ByteView newer, core::ByteView older,
             std::span<std::uint8_t> parameter) const;
  SessionDigest command_hmac(std::size_t index) const;

  Command& command_;
  std::span<const SessionUse> uses_;
  std::vector<std::optional<SessionCrypto>> crypto_;  // of each use, none for passwords
  std::vector<core::Bytes> nonces_;                   // of the caller, empty for passwords
};

// An auth value as the TPM keeps it: without zeros at the end (Part 1, 19.6.4.3).
core::ByteView trimmed(const core::Secret* value) noexcept;
inline bool has_value(const core::Secret* value) noexcept { return !trimmed(value).empty(); }

}  // namespace hwid::tpm2
