#include <openssl/core_names.h>
#include <strings.h>

#include <array>
#include <string_view>
#include <utility>

#include "provider/ossl/algorithm_id.h"
#include "provider/ossl/params.h"
#include "provider/ossl/signature.h"

namespace hwid::ossl::signature {
namespace {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::SignScheme;

constexpr std::size_t kLongestContext = 255;  // RFC 8032, 5.1

// What OpenSSL calls the forms (EVP_SIGNATURE-ED25519(7)).
struct Form {
  core::Algorithm algorithm;
  const char* name;
  bool prehash;
  bool takes_context;
};
constexpr std::array<Form, 5> kForms{{{core::Algorithm::kEd25519, "Ed25519", false, false},
                                      {core::Algorithm::kEd25519, kEd25519ctx, false, true},
                                      {core::Algorithm::kEd25519, kEd25519ph, true, true},
                                      {core::Algorithm::kEd448, "Ed448", false, true},
                                      {core::Algorithm::kEd448, kEd448ph, true, true}}};

// EdDSA has the whole message at once: what comes in parts is kept until it is signed.
class EddsaOperation final : public TokenSigning {
 public:
  EddsaOperation(const KeyRef& key, Mode mode, const std::string& digest)
      : TokenSigning(key), mode_(mode), form_(&form_named(form_name())) {
    refuse_digest(digest);
  }

  std::unique_ptr<Operation> duplicate() const override {
    return std::make_unique<EddsaOperation>(*this);
  }

  void set_params(const OSSL_PARAM params[]) override {
    refuse_digest(text_param(params, OSSL_SIGNATURE_PARAM_DIGEST).value_or(""));
    if (const auto instance = text_param(params, kInstance)) form_ = &form_named(*instance);
    const auto context = bytes_param(params, kContextString);
    if (!context) return;
    if (context->size() > kLongestContext)
      bad_parameter(kContextString, "it has " + std::to_string(context->size()) +
                                        " bytes; at most " + std::to_string(kLongestContext) +
                                        " are possible");
    context_.assign(context->begin(), context->end());
  }

  void get_params(OSSL_PARAM params[]) override {
    if (OSSL_PARAM* const id = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID)) {
      const Bytes der = algorithm_id(key()->algorithm());
      if (OSSL_PARAM_set_octet_string(id, der.data(), der.size()) != 1)
        bad_parameter(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, "no room");
    }
  }

  const OSSL_PARAM* settable_params() const override {
    static const OSSL_PARAM kSettable[] = {
        OSSL_PARAM_utf8_string(kInstance, nullptr, 0),
        OSSL_PARAM_octet_string(kContextString, nullptr, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, nullptr, 0), OSSL_PARAM_END};
    return kSettable;
  }
  const OSSL_PARAM* gettable_params() const override {
    static const OSSL_PARAM kGettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, nullptr, 0), OSSL_PARAM_END};
    return kGettable;
  }
  EVP_MD_CTX* digest_context() noexcept override { return nullptr; }

  void update(const unsigned char* data, std::size_t size) override {
    if (mode_ != Mode::kDigestSign)
      throw Error(Reason::kBadParameter, "signature: no digest operation was started");
    if (std::exchange(signed_, false)) message_.clear();
    message_.insert(message_.end(), data, data + size);
  }

  void sign_final(unsigned char* signature, std::size_t* size, std::size_t room) override {
    if (signature == nullptr) {
      *size = largest_signature();
      return;
    }
    require_room(room);
    // An empty message would be another one.
    if (signed_)
      throw Error(Reason::kBadParameter,
                  "signature: the message was signed already; initialize for the next one");
    hand_out(make(scheme(), message_), signature, size);
    signed_ = true;
  }

  void digest_sign(unsigned char* signature, std::size_t* size, std::size_t room,
                   const unsigned char* input, std::size_t input_size) override {
    if (signature == nullptr) return sign_final(signature, size, room);
    require_room(room);  // who comes again with more room brings the message again
    if (!message_.empty() && !signed_) {
      update(input, input_size);
      return sign_final(signature, size, room);
    }
    hand_out(make(scheme(), {input, input_size}), signature, size);
    signed_ = true;
  }

  void sign(unsigned char*, std::size_t*, std::size_t, const unsigned char*, std::size_t) override {
    throw Error(Reason::kBadParameter,
                "signature: EdDSA signs messages, not digests; use EVP_DigestSign or "
                "EVP_PKEY_sign_message_init");
  }

 private:
  static void refuse_digest(const std::string& name) {
    if (!name.empty())
      bad_parameter("digest", "EdDSA has its own, " + name + " cannot be chosen; leave it out");
  }

  const char* form_name() const noexcept {
    return key()->algorithm() == core::Algorithm::kEd25519 ? "Ed25519" : "Ed448";
  }

  const Form& form_named(std::string_view name) const {
    std::string known;
    for (const Form& form : kForms) {
      if (form.algorithm != key()->algorithm()) continue;
      if (name.size() == std::string_view(form.name).size() &&
          strncasecmp(form.name, name.data(), name.size()) == 0)
        return form;
      known.append(known.empty() ? "" : ", ").append(form.name);
    }
    bad_parameter(kInstance, std::string(name) + " is not of this key; use one of: " + known);
  }

  // RFC 8032, 8.3: a context that is there makes Ed25519 another algorithm.
  SignScheme scheme() const {
    if (!context_.empty() && !form_->takes_context)
      bad_parameter(kContextString, std::string(form_->name) +
                                        " has none; use the instance Ed25519ctx or Ed25519ph");
    if (context_.empty() && std::string_view(form_->name) == kEd25519ctx)
      bad_parameter(kContextString, "Ed25519ctx needs one; set it");
    SignScheme scheme{SignScheme::Kind::kEddsa};
    scheme.message = true;
    scheme.prehash = form_->prehash;
    scheme.context = context_;
    return scheme;
  }

  Mode mode_;
  const Form* form_;
  Bytes context_;
  Bytes message_;
  bool signed_ = false;  // what comes now is another message
};

}  // namespace

std::unique_ptr<Operation> make_eddsa_operation(const KeyRef& key, Mode mode,
                                                const std::string& digest) {
  return std::make_unique<EddsaOperation>(key, mode, digest);
}

}  // namespace hwid::ossl::signature
