#include "provider/ossl/key_object.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>

#include <array>
#include <new>

#include "provider/core/rsa_padding.h"

namespace hwid::ossl {

std::unique_ptr<KeyObject> KeyObject::from_object(Provider& provider, const core::Object& object) {
  const core::PublicKey& half = object.key ? object.key->public_key() : *object.public_key;
  auto made = std::make_unique<KeyObject>(provider, half.algorithm());
  made->key_ = object.key;
  made->hold_ = object.hold;
  made->description_ = object.description;
  made->parts_ = OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;
  if (object.key) {
    made->parts_ |= OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
  } else {
    EVP_PKEY_up_ref(half.pkey());
    made->software_.reset(half.pkey());
  }
  return made;
}

std::unique_ptr<KeyObject> KeyObject::copy() const {
  auto made = std::make_unique<KeyObject>(provider_, algorithm_);
  made->key_ = key_;
  made->hold_ = hold_;
  made->description_ = description_;
  made->parts_ = parts_;
  if (software_) {
    EVP_PKEY_up_ref(software_.get());
    made->software_.reset(software_.get());
  }
  return made;
}

void KeyObject::own_public_half() {
  core::EvpPkey copy(EVP_PKEY_dup(pkey()));
  if (!copy) throw std::bad_alloc();
  software_ = std::move(copy);
}

const core::Secret& KeyObject::rejection_key(const RawOperation& raw_operation) const {
  if (const core::Secret* const made = rejection_key_.load(std::memory_order_acquire)) return *made;
  // A number below any modulus of this length, that nobody encrypts by chance.
  core::Bytes fixed(key_->public_key().field_size());
  const core::EvpMd sha256 = provider_.crypto().fetch_digest("SHA2-256");
  core::apply_mgf1(sha256.get(), core::as_bytes("hwid implicit rejection"), fixed);
  fixed[0] = 0;
  auto fresh = std::make_unique<const core::Secret>(raw_operation(fixed));
  const core::Secret* seen = nullptr;
  if (rejection_key_.compare_exchange_strong(seen, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *seen;  // another thread was first
}

int emit_key(std::unique_ptr<KeyObject> object, OSSL_CALLBACK* callback, void* argument) {
  int type = OSSL_OBJECT_PKEY;
  const char* const data_type = core::algorithm_name(object->algorithm());
  KeyObject* reference = object.release();
  const std::array<OSSL_PARAM, 4> params{
      OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
      OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, const_cast<char*>(data_type),
                                       0),
      OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &reference, sizeof reference),
      OSSL_PARAM_construct_end()};
  const int result = callback(params.data(), argument);
  delete reference;  // null once load has taken it
  return result;
}

std::string place_text(const core::KeyDescription& key) {
  return "token=" + key.token + (key.label.empty() ? "" : " object=" + key.label);
}

core::PinPrompt pin_prompt(OSSL_PASSPHRASE_CALLBACK* callback, void* argument) {
  if (callback == nullptr) return {};
  return [callback, argument](const std::string& token) -> std::optional<core::Secret> {
    constexpr std::size_t kLongestPin = 256;
    core::Secret pin(kLongestPin);
    std::size_t size = 0;
    const std::string info = "PIN of " + token;
    const std::array<OSSL_PARAM, 2> params{
        OSSL_PARAM_construct_utf8_string(OSSL_PASSPHRASE_PARAM_INFO,
                                         const_cast<char*>(info.c_str()), 0),
        OSSL_PARAM_construct_end()};
    const core::ErrorMark mark;  // a program without UI is no error of its own
    const int good = callback(reinterpret_cast<char*>(pin.writable().data()), pin.size(), &size,
                              params.data(), argument);
    if (good != 1 || size == 0 || size > pin.size()) return std::nullopt;
    pin.truncate(size);
    return pin;
  };
}

}  // namespace hwid::ossl
