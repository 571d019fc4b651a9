// A private key on a token.
#pragma once

#include <functional>
#include <mutex>

#include "provider/core/inventory.h"
#include "provider/core/key.h"
#include "provider/pkcs11/attributes.h"
#include "provider/pkcs11/mechanism.h"
#include "provider/pkcs11/shared_token.h"

namespace hwid::pkcs11 {

// What a key borrows from the provider that opened it, and outlives it not.
struct KeyContext {
  const core::Libcrypto& crypto;
  const core::Log& log;
  core::AuditSink* audit;
  TokenPolicy policy;
};

class Key final : public core::Key {
 public:
  // `object` was found on `token` at `handle_generation`. `in_session`: what ends the objects of a
  // key that is in a session only; null for others.
  Key(std::shared_ptr<SharedToken> token, const KeyContext& context,
      core::KeyDescription description, core::PublicKey public_key, const ObjectAttributes& object,
      std::uint64_t handle_generation, std::shared_ptr<const void> in_session = nullptr);

  const core::PublicKey& public_key() const noexcept override { return public_key_; }
  const core::KeyDescription& description() const noexcept override { return description_; }

  // C_SignInit and C_Sign on a leased session, and nothing else; C_Login between them where the
  // key has CKA_ALWAYS_AUTHENTICATE.
  core::Bytes sign(const core::SignScheme& scheme, core::ByteView input) const override;
  core::SignInput sign_input(const core::SignScheme& scheme) const noexcept override;
  core::Protection protection() const override;  // C_GetAttributeValue
  core::Secret decrypt(const core::DecryptScheme& scheme, core::ByteView ciphertext) const override;
  // C_DeriveKey, the value read, and C_DestroyObject.
  core::Secret derive(core::ByteView peer) const override;
  std::shared_ptr<const void> hold(const core::PinChain& pins) const override;

  // For who examines the key itself: runs `body` with the object, on a session that may write where
  // the token can be written. It is run again where that heals (SharedToken::with_session).
  using ObjectBody = std::function<void(Lease& lease, CK_OBJECT_HANDLE object)>;
  void with_object(const ObjectBody& body) const;
  // The same as sign() has it: with the key's copy in a session where it signs by one.
  void with_signing_object(const ObjectBody& body) const;
  core::TokenInfo device_info() const;  // of its token, as inspect_slot says it now

 private:
  // Where the object is. Handles mean nothing in another process, nor after another login.
  struct Whereabouts {
    explicit Whereabouts(const Whereabouts*) {}
    std::mutex mutex;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    std::uint64_t generation = 0;
    bool has_signed = false;               // a copy is made for the second signature
    std::optional<CK_OBJECT_HANDLE> copy;  // the object itself where none is to be had
  };
  struct Attempt {
    CK_RV rv = CKR_OK;
    const char* call = "C_SignInit";
  };

  CK_OBJECT_HANDLE signing_handle(Lease& lease, bool again) const;
  CK_OBJECT_HANDLE locate(Lease& lease, bool again) const;
  CK_OBJECT_HANDLE find_again(Lease& lease) const;
  core::Bytes sign_on(Lease& lease, CK_OBJECT_HANDLE handle, const core::SignScheme& scheme,
                      core::ByteView input) const;
  Attempt attempt(Lease& lease, CK_OBJECT_HANDLE handle, const SignPlan& plan,
                  const core::SignScheme& scheme, core::ByteView input,
                  core::Bytes& signature) const;
  void require_form(const core::SignScheme& scheme, core::ByteView message,
                    core::ByteView signature) const;
  core::Secret decrypt_on(Lease& lease, CK_OBJECT_HANDLE handle, const core::DecryptScheme& scheme,
                          core::ByteView ciphertext) const;
  core::Secret derive_on(Lease& lease, CK_OBJECT_HANDLE handle, core::ByteView peer) const;
  [[noreturn]] void raise_refusal(const Attempt& failed) const;
  [[noreturn]] void raise_missing(Lease& lease, const core::SignScheme& scheme,
                                  const Attempt& failed) const;
  void check_kind(const core::SignScheme& scheme) const;

  const std::shared_ptr<SharedToken> token_;
  const std::shared_ptr<const void> in_session_;
  const KeyContext context_;
  const Credentials credentials_;
  const core::KeyDescription description_;
  const core::PublicKey public_key_;
  const Place place_;
  const bool always_authenticate_;
  const bool copies_;  // signs with a copy in a session
  const std::optional<bool> may_sign_;
  mutable MechanismChoice mechanisms_;
  mutable std::atomic<unsigned> refused_decryption_{0};  // bits: DecryptScheme::Kind
  mutable core::EpochLocal<Whereabouts> whereabouts_;
};

}  // namespace hwid::pkcs11
