#include <openssl/core_names.h>
#include <openssl/err.h>

#include "provider/ossl/signature.h"

namespace hwid::ossl::signature {
namespace {

using core::Error;
using core::EvpMdCtx;
using core::EvpPkeyCtx;
using core::Reason;

[[noreturn]] void failed(const char* call) {
  throw Error(Reason::kLibcrypto, std::string(call) + ": " + core::last_libcrypto_error());
}

void require(int result, const char* call) {
  if (result != 1) failed(call);
}

// Hands everything to libcrypto's own operation on the ordinary key or the public half, in the
// provider's context: no token call.
class SoftwareOperation final : public Operation {
 public:
  SoftwareOperation(const KeyRef& key, Mode mode, const std::string& digest)
      : mode_(mode), keeps_message_(core::is_edwards(key->algorithm())) {
    OSSL_LIB_CTX* const context = key->provider().crypto().get();
    if (mode == Mode::kDigestSign || mode == Mode::kDigestVerify)
      start_digest(key->pkey(), context, digest);
    else
      start_plain(key->pkey(), context);
  }

  std::unique_ptr<Operation> duplicate() const override {
    auto copy = std::unique_ptr<SoftwareOperation>(new SoftwareOperation(mode_, keeps_message_));
    copy->message_ = message_;
    if (digest_) {
      copy->digest_.reset(EVP_MD_CTX_new());
      if (!copy->digest_) throw std::bad_alloc();
      require(EVP_MD_CTX_copy_ex(copy->digest_.get(), digest_.get()), "EVP_MD_CTX_copy_ex");
      copy->pkey_ = EVP_MD_CTX_get_pkey_ctx(copy->digest_.get());
    } else {
      copy->plain_.reset(EVP_PKEY_CTX_dup(pkey_));
      if (!copy->plain_) failed("EVP_PKEY_CTX_dup");
      copy->pkey_ = copy->plain_.get();
    }
    return copy;
  }

  void set_params(const OSSL_PARAM params[]) override {
    require(EVP_PKEY_CTX_set_params(pkey_, params), "EVP_PKEY_CTX_set_params");
  }
  void get_params(OSSL_PARAM params[]) override {
    require(EVP_PKEY_CTX_get_params(pkey_, params), "EVP_PKEY_CTX_get_params");
  }
  const OSSL_PARAM* settable_params() const override { return EVP_PKEY_CTX_settable_params(pkey_); }
  const OSSL_PARAM* gettable_params() const override { return EVP_PKEY_CTX_gettable_params(pkey_); }
  EVP_MD_CTX* digest_context() noexcept override { return digest_.get(); }

  void update(const unsigned char* data, std::size_t size) override {
    if (keeps_message_) {
      message_.insert(message_.end(), data, data + size);
      return;
    }
    require(mode_ == Mode::kDigestSign ? EVP_DigestSignUpdate(digest_.get(), data, size)
                                       : EVP_DigestVerifyUpdate(digest_.get(), data, size),
            "EVP_DigestUpdate");
  }
  void sign_final(unsigned char* signature, std::size_t* size, std::size_t room) override {
    if (keeps_message_) return sign_whole(signature, size, room, message_);
    *size = room;
    require(EVP_DigestSignFinal(digest_.get(), signature, size), "EVP_DigestSignFinal");
  }
  void digest_sign(unsigned char* signature, std::size_t* size, std::size_t room,
                   const unsigned char* input, std::size_t input_size) override {
    sign_whole(signature, size, room, with_parts({input, input_size}, signature != nullptr));
  }
  bool verify_final(const unsigned char* signature, std::size_t size) override {
    if (keeps_message_) return verify_whole({signature, size}, message_);
    return EVP_DigestVerifyFinal(digest_.get(), signature, size) == 1;
  }
  bool digest_verify(const unsigned char* signature, std::size_t size, const unsigned char* input,
                     std::size_t input_size) override {
    return verify_whole({signature, size}, with_parts({input, input_size}, true));
  }
  void sign(unsigned char* signature, std::size_t* size, std::size_t room,
            const unsigned char* input, std::size_t input_size) override {
    *size = room;
    require(EVP_PKEY_sign(pkey_, signature, size, input, input_size), "EVP_PKEY_sign");
  }
  bool verify(const unsigned char* signature, std::size_t size, const unsigned char* input,
              std::size_t input_size) override {
    return EVP_PKEY_verify(pkey_, signature, size, input, input_size) == 1;
  }
  void verify_recover(unsigned char* output, std::size_t* size, std::size_t room,
                      const unsigned char* signature, std::size_t signature_size) override {
    *size = room;
    require(EVP_PKEY_verify_recover(pkey_, output, size, signature, signature_size),
            "EVP_PKEY_verify_recover");
  }

 private:
  SoftwareOperation(Mode mode, bool keeps_message) : mode_(mode), keeps_message_(keeps_message) {}

  // The message whose last part is `input`. Not `is_last`: only the signature's size is asked for.
  core::ByteView with_parts(core::ByteView input, bool is_last) {
    if (message_.empty() || !is_last) return input;
    message_.insert(message_.end(), input.begin(), input.end());
    return message_;
  }
  void sign_whole(unsigned char* signature, std::size_t* size, std::size_t room,
                  core::ByteView message) {
    *size = room;
    require(EVP_DigestSign(digest_.get(), signature, size, message.data(), message.size()),
            "EVP_DigestSign");
  }
  bool verify_whole(core::ByteView signature, core::ByteView message) {
    return EVP_DigestVerify(digest_.get(), signature.data(), signature.size(), message.data(),
                            message.size()) == 1;
  }

  void start_digest(EVP_PKEY* key, OSSL_LIB_CTX* context, const std::string& digest) {
    digest_.reset(EVP_MD_CTX_new());
    if (!digest_) throw std::bad_alloc();
    const char* const name = digest.empty() ? nullptr : digest.c_str();
    const auto init = mode_ == Mode::kDigestSign ? EVP_DigestSignInit_ex : EVP_DigestVerifyInit_ex;
    require(init(digest_.get(), &pkey_, name, context, core::kNotHwid, key, nullptr),
            "EVP_DigestSignInit_ex");
  }

  void start_plain(EVP_PKEY* key, OSSL_LIB_CTX* context) {
    plain_.reset(EVP_PKEY_CTX_new_from_pkey(context, key, core::kNotHwid));
    if (!plain_) failed("EVP_PKEY_CTX_new_from_pkey");
    pkey_ = plain_.get();
    switch (mode_) {
      case Mode::kSign:
        return require(EVP_PKEY_sign_init(pkey_), "EVP_PKEY_sign_init");
      case Mode::kVerify:
        return require(EVP_PKEY_verify_init(pkey_), "EVP_PKEY_verify_init");
      default:
        return require(EVP_PKEY_verify_recover_init(pkey_), "EVP_PKEY_verify_recover_init");
    }
  }

  Mode mode_;
  bool keeps_message_;   // EdDSA has it whole: libcrypto's own takes no parts
  core::Bytes message_;  // if so
  EvpMdCtx digest_;
  EvpPkeyCtx plain_;
  EVP_PKEY_CTX* pkey_ = nullptr;  // of digest_ or plain_
};

}  // namespace

std::unique_ptr<Operation> make_software_operation(const KeyRef& key, Mode mode,
                                                   const std::string& digest) {
  return std::make_unique<SoftwareOperation>(key, mode, digest);
}

}  // namespace hwid::ossl::signature
