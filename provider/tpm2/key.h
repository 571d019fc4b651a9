// A private key in a TPM, as the provider sees it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "provider/core/backend.h"
#include "provider/core/key.h"
#include "provider/core/process.h"
#include "provider/tpm2/sign_scheme.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

// What is known of one TPM by one backend. Thread-safe.
class Device {
 public:
  // What goes through a session that hides it: what is secret, or everything.
  enum class Protect { kNothing, kSecrets, kAll };
  Device(std::shared_ptr<Tpm> tpm, std::string label, Protect protect, bool verify_all)
      : tpm_(std::move(tpm)),
        label_(std::move(label)),
        protect_(protect),
        verify_all_(verify_all) {}

  Tpm& tpm() const noexcept { return *tpm_; }
  const std::string& label() const noexcept { return label_; }  // of the token, or the TCTI
  // KeyAuth::protect of a command whose answer is a secret, or is none.
  bool protects(bool is_secret) const noexcept {
    return protect_ == Protect::kAll || (is_secret && protect_ == Protect::kSecrets);
  }
  bool verify_all() const noexcept { return verify_all_; }  // signatures, not just the first

  // Until a signature says otherwise, the salt that TLS 1.3 wants.
  PssSalt pss_salt() const noexcept { return pss_salt_.load(std::memory_order_acquire); }
  bool is_pss_salt_known() const noexcept {
    return pss_salt_known_.load(std::memory_order_acquire);
  }
  void set_pss_salt(PssSalt salt) noexcept {
    pss_salt_.store(salt, std::memory_order_release);
    pss_salt_known_.store(true, std::memory_order_release);
  }

  // The public half of a persistent key: asked once, until somebody finds that keys changed.
  PublicObject public_object(const Caller& caller, TPM2_HANDLE handle);
  void forget();

 private:
  struct Known {
    explicit Known(const Known*) {}
    std::mutex mutex;
    std::map<TPM2_HANDLE, PublicObject> objects;
  };
  const std::shared_ptr<Tpm> tpm_;
  const std::string label_;
  const Protect protect_;
  const bool verify_all_;
  std::atomic<PssSalt> pss_salt_{PssSalt::kDigestSize};
  std::atomic<bool> pss_salt_known_{false};
  core::EpochLocal<Known> known_;
};

// The auth values that a key was opened with. Either may be empty.
struct KeySecrets {
  bool needs_value = false;                  // the key's file, or its policy, says so
  std::optional<core::Secret> value;         // of the key itself
  std::optional<core::Secret> parent_value;  // of its parent
};

// Immutable; keeps its auth values as long as it lives. The first signature of everything that is
// loaded anew, and of each connection, is verified in software: a handle is not an identity.
class Key final : public core::Key {
 public:
  // `provider` outlives the key. `tss2`: the key's own file, DER; empty: it has none.
  Key(std::shared_ptr<Device> device, const Caller& provider, KeyRef ref, const TPMT_PUBLIC& area,
      core::KeyDescription description, KeySecrets secrets, core::Bytes tss2 = {},
      std::optional<CreationProof> creation = std::nullopt);

  const core::PublicKey& public_key() const noexcept override { return public_key_; }
  const core::KeyDescription& description() const noexcept override { return description_; }
  core::Bytes sign(const core::SignScheme& scheme, core::ByteView input) const override;
  core::SignInput sign_input(const core::SignScheme& scheme) const noexcept override;
  core::Protection protection() const override { return protection_; }  // of the public area
  core::Digest only_digest() const noexcept override;
  core::Secret decrypt(const core::DecryptScheme& scheme, core::ByteView ciphertext) const override;
  core::Secret derive(core::ByteView peer) const override;
  // Null: what authorizes the key is part of it.
  std::shared_ptr<const void> hold(const core::PinChain& pins) const override;
  std::optional<core::KeyReference> wrapped() const override;

  // For who examines the key itself: see Tpm::with_object.
  using ObjectBody = Tpm::ObjectBody;
  void with_object(const ObjectBody& body) const;
  // The same, authorized to use the key.
  using UseBody = std::function<void(Commands& commands, const Residency::Ready& ready)>;
  void with_use(const UseBody& body) const;
  const KeyTraits& traits() const noexcept { return traits_; }
  // How it was made, of a key that was made by this object's maker; null else.
  const CreationProof* creation() const noexcept { return creation_ ? &*creation_ : nullptr; }
  core::TokenInfo device_info() const;  // what inspect() says of its TPM; `module`: the TCTI

 private:
  friend class Attester;
  using Signature = Made<core::Bytes>;
  Signature sign_by(const SignPlan& plan, const core::SignScheme& scheme,
                    core::ByteView input) const;
  Signature sign_once(const core::SignScheme& scheme, core::ByteView input) const;
  bool is_right(const SignPlan& plan, const core::SignScheme& scheme, core::ByteView input,
                const Signature& made) const;
  bool learns_salt(const core::SignScheme& scheme, core::ByteView digest,
                   core::ByteView signature) const;
  core::Secret rsa_decrypt(core::ByteView input, bool padded_by_tpm) const;
  void require_below_modulus(core::ByteView number) const;
  template <typename Use>
  core::Secret use_verified(const char* call, Use&& use) const;
  template <typename Judge>
  auto placed(const char* call, Judge&& judge) const;
  void require_decrypt(const char* what) const;
  [[noreturn]] void rethrow(const TpmError& error) const;
  [[noreturn]] void raise_changed(const char* call) const;
  // Throws kPinMissing where the key's file says that it has a value, none was given, and the TPM
  // counts a failure already: the one try without must not become lockout.
  KeyAuth auth(bool is_secret = false) const;
  void require_opens() const;
  Place place() const { return device_->tpm().place(description_.label); }

  const std::shared_ptr<Device> device_;
  const Caller caller_;
  const KeyRef ref_;
  const KeyTraits traits_;
  const core::Protection protection_;
  const core::PublicKey public_key_;
  const core::KeyDescription description_;
  const KeySecrets secrets_;
  const core::Bytes tss2_;
  const std::optional<CreationProof> creation_;
  mutable std::atomic<std::uint64_t> verified_{0};  // generation that made a right signature
};

}  // namespace hwid::tpm2
