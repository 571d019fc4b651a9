// What OpenSSL calls keydata, for all key types.
#pragma once

#include <openssl/core_dispatch.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "provider/core/audit.h"
#include "provider/core/key.h"
#include "provider/core/secret.h"
#include "provider/ossl/provider.h"
#include "provider/ossl/token_call.h"

namespace hwid::ossl {

// Either a private key on a token (`key`), or an ordinary key (`software`, with what `parts`
// says), or nothing yet. Token keys are immutable and shared by reference count; ordinary ones are
// changed only by import and set_params, which OpenSSL calls on keys that nobody else has.
class KeyObject {
 public:
  KeyObject(Provider& provider, core::Algorithm algorithm) noexcept
      : provider_(provider), algorithm_(algorithm) {}

  ~KeyObject() {
    provider_.outlive_libcrypto();
    delete rejection_key_.load();
  }
  KeyObject(const KeyObject&) = delete;
  KeyObject& operator=(const KeyObject&) = delete;

  // A private key, or (object without `key`) the public key of an object on a token.
  static std::unique_ptr<KeyObject> from_object(Provider& provider, const core::Object& object);

  Provider& provider() const noexcept { return provider_; }
  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  core::Algorithm algorithm() const noexcept { return algorithm_; }

  const core::Key* key() const noexcept { return key_.get(); }
  const core::KeyDescription& description() const noexcept { return description_; }

  // Runs `body(const core::Key&)`, one operation of a key on a token, with its audit event.
  template <typename Body>
  auto on_token(std::string_view operation, std::string_view mechanism, Body&& body) const {
    try {
      const TokenCall call(provider_);
      if (provider_.audit() == nullptr) return body(*key_);
      const std::string name = core::name_of(description_);
      return core::audited(provider_.audit(),
                           {.operation = operation,
                            .backend = description_.backend,
                            .token = description_.token,
                            .object = name,
                            .mechanism = mechanism},
                           [&] { return body(*key_); });
    } catch (const core::Error& error) {
      // The next load must search again, and not meet this key in the cache.
      if (error.reason == core::Reason::kKeyChanged || error.reason == core::Reason::kNoObject)
        provider_.router().forget();
      throw;
    }
  }

  // A secret of the RSA key, the same in every process: what its raw operation makes of a constant.
  // Asked of `raw_operation` once.
  using RawOperation = std::function<core::Secret(core::ByteView)>;
  const core::Secret& rejection_key(const RawOperation& raw_operation) const;

  // True for a token's key or object, whose values OpenSSL must not change.
  bool on_token() const noexcept { return key_ != nullptr || !description_.uri.empty(); }

  // The ordinary key, or the public half of the token's: never holds a token's private part.
  // nullptr while empty.
  EVP_PKEY* pkey() const noexcept {
    return software_ || !key_ ? software_.get() : key_->public_key().pkey();
  }
  // Another object for the same key on a token.
  std::unique_ptr<KeyObject> copy() const;

  // Makes the public half of a token's key a copy of this object's own, so that the form in which
  // it is written (a compressed point) can be set without a change to the others.
  void own_public_half();
  // OSSL_KEYMGMT_SELECT_ bits of what is there.
  int parts() const noexcept { return parts_; }
  void set_software(core::EvpPkey pkey, int parts) noexcept {
    software_ = std::move(pkey);
    parts_ = parts;
  }

  void add_parts(int parts) noexcept { parts_ |= parts; }

  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  // True if the last reference went.
  bool drop_reference() noexcept {
    return references_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

 private:
  Provider& provider_;
  core::Algorithm algorithm_;
  std::shared_ptr<const core::Key> key_;
  std::shared_ptr<const void> hold_;
  core::KeyDescription description_;
  core::EvpPkey software_;
  int parts_ = 0;
  std::atomic<int> references_{1};
  mutable std::atomic<const core::Secret*> rejection_key_{nullptr};
};

// A counted reference to keydata. Copies share the object.
class KeyRef {
 public:
  KeyRef() noexcept = default;
  explicit KeyRef(KeyObject* object) noexcept : object_(object) {
    if (object_ != nullptr) object_->add_reference();
  }
  KeyRef(const KeyRef& other) noexcept : KeyRef(other.object_) {}
  KeyRef& operator=(KeyRef other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~KeyRef() {
    if (object_ != nullptr && object_->drop_reference()) delete object_;
  }
  KeyObject* get() const noexcept { return object_; }
  KeyObject* operator->() const noexcept { return object_; }

 private:
  KeyObject* object_ = nullptr;
};

// Hands `object` to OpenSSL as an object reference: `callback` loads it through keymgmt's load,
// which takes it, or else it is freed. Returns what the callback returned.
int emit_key(std::unique_ptr<KeyObject> object, OSSL_CALLBACK* callback, void* argument);

// "token=line-7 object=device-key", for messages; what the key has no name for is left out.
std::string place_text(const core::KeyDescription& key);

// The application's passphrase callback as a PIN prompt; empty if there is none.
core::PinPrompt pin_prompt(OSSL_PASSPHRASE_CALLBACK* callback, void* argument);

}  // namespace hwid::ossl
