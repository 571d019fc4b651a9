#include "provider/ossl/encoder.h"

#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/pem.h>

#include "provider/core/key_reference.h"

namespace hwid::ossl::encoder {
namespace {

using core::Error;
using core::Reason;
using EncoderCtx = std::unique_ptr<OSSL_ENCODER_CTX, core::FreeWith<OSSL_ENCODER_CTX_free>>;

constexpr int kPublic = OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;

constexpr bool has_parameters(Form form) { return form == Form::kEcPem || form == Form::kEcDer; }

constexpr bool has_private(Form form) {
  return form == Form::kTypePem || form == Form::kPrivatePem || form == Form::kPrivateDer ||
         has_parameters(form);
}

bool is_of_key(int selection) { return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0; }

constexpr const char* output_type(Form form) {
  switch (form) {
    case Form::kSpkiPem:
    case Form::kTypePem:
    case Form::kEcPem:
    case Form::kPrivatePem:
      return "PEM";
    case Form::kText:
      return "TEXT";
    default:
      return "DER";
  }
}

constexpr const char* structure(Form form) {
  switch (form) {
    case Form::kSpkiPem:
    case Form::kSpkiDer:
      return "SubjectPublicKeyInfo";
    case Form::kTypePem:
    case Form::kEcPem:
    case Form::kEcDer:
      return "type-specific";
    case Form::kText:
      return nullptr;
    default:
      return "PrivateKeyInfo";
  }
}

// libcrypto's own encoders, by our query: PEM_write_bio_PUBKEY and its like would come back to us.
void write_software(const Context& ctx, BIO* out, EVP_PKEY* pkey, int selection, Form form,
                    OSSL_PASSPHRASE_CALLBACK* callback, void* argument) {
  const EncoderCtx encoder(OSSL_ENCODER_CTX_new_for_pkey(pkey, selection, output_type(form),
                                                         structure(form), core::kNotHwid));
  bool good = encoder != nullptr;
  if (good && !ctx.cipher.empty())
    good = OSSL_ENCODER_CTX_set_cipher(encoder.get(), ctx.cipher.c_str(),
                                       ctx.cipher_properties.c_str()) == 1;
  if (good && callback != nullptr)
    good = OSSL_ENCODER_CTX_set_passphrase_cb(encoder.get(), callback, argument) == 1;
  if (!good || OSSL_ENCODER_to_bio(encoder.get(), out) != 1)
    throw Error(Reason::kLibcrypto, "OSSL_ENCODER_to_bio: " + core::last_libcrypto_error());
}

void write_bytes(BIO* out, core::ByteView bytes) {
  if (BIO_write(out, bytes.data(), static_cast<int>(bytes.size())) !=
      static_cast<int>(bytes.size()))
    throw Error(Reason::kLibcrypto, "BIO_write: " + core::last_libcrypto_error());
}

void write_description(BIO* out, const KeyObject& object) {
  const core::KeyDescription& key = object.description();
  std::string text =
      object.key() != nullptr ? "Private key on a token\n" : "Public key on a token\n";
  const auto add = [&text](const char* name, const std::string& value) {
    if (!value.empty()) text.append("    ").append(name).append(": ").append(value).append("\n");
  };
  add("Token", core::one_line(key.token));
  add("Object", core::one_line(key.label));
  add("ID", core::to_hex(key.id));
  add("URI", key.uri);
  add("Attributes", key.traits);
  write_bytes(out, core::as_bytes(text));
}

void write_pem(BIO* out, const core::KeyReference& reference) {
  if (PEM_write_bio(out, reference.label, "", reference.der.data(),
                    static_cast<long>(reference.der.size())) <= 0)
    throw Error(Reason::kLibcrypto, "PEM_write_bio: " + core::last_libcrypto_error());
}

core::KeyReference reference_to(const Context& ctx, const core::KeyDescription& key) {
  if (!ctx.provider().router().config().encode_reference)
    throw Error(Reason::kPrivateStays,
                place_text(key) +
                    ": pkcs11-module-encode-provider-uri-to-pem = false forbids key references");
  return core::encode_reference(key.uri);
}

// What a private key is kept as outside of its token. One that a URI leads to has no file of its
// own, also where its token could wrap it.
void write_private(const Context& ctx, BIO* out, const KeyObject& object, bool as_pem) {
  const core::KeyDescription& key = object.description();
  std::optional<core::KeyReference> wrapped;
  if (key.uri.empty()) wrapped = object.key()->wrapped();
  if (key.uri.empty() && !wrapped)
    throw Error(Reason::kPrivateStays,
                place_text(key) +
                    ": the key is in a session of this process, and nothing can refer to it; "
                    "generate it without pkcs11_ephemeral");
  if (as_pem) {
    write_pem(out, wrapped ? *wrapped : reference_to(ctx, key));
  } else if (wrapped) {
    write_bytes(out, wrapped->der);
  } else {
    throw Error(Reason::kPrivateStays, place_text(key) +
                                           ": a private key stays on its token; write a key "
                                           "reference in PEM form instead");
  }
}

}  // namespace

Context* newctx(Provider* provider) { return new Context(*provider); }
void freectx(Context* ctx) { delete ctx; }

int set_ctx_params(Context* ctx, const OSSL_PARAM params[]) {
  const auto take = [params](const char* name, std::string& into) {
    const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
    const char* value = nullptr;
    if (param != nullptr && OSSL_PARAM_get_utf8_string_ptr(param, &value) == 1 && value != nullptr)
      into = value;
  };
  take(OSSL_ENCODER_PARAM_CIPHER, ctx->cipher);
  take(OSSL_ENCODER_PARAM_PROPERTIES, ctx->cipher_properties);
  return 1;
}

const OSSL_PARAM* settable_ctx_params(Provider*) {
  static const OSSL_PARAM kSettable[] = {
      OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_CIPHER, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_PROPERTIES, nullptr, 0), OSSL_PARAM_END};
  return kSettable;
}

template <Form F>
int does_selection(void*, int selection) {
  if (has_parameters(F) && !is_of_key(selection))
    return (selection & OSSL_KEYMGMT_SELECT_ALL_PARAMETERS) != 0 ? 1 : 0;
  if (has_private(F)) return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? 1 : 0;
  if (F == Form::kText) return (selection & OSSL_KEYMGMT_SELECT_ALL) != 0 ? 1 : 0;
  return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 &&
                 (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0
             ? 1
             : 0;
}

template <Form F>
int encode(Context* ctx, OSSL_CORE_BIO* out, const void* key, const OSSL_PARAM abstract[],
           int selection, OSSL_PASSPHRASE_CALLBACK* callback, void* argument) {
  const auto* const object = static_cast<const KeyObject*>(key);
  if (object == nullptr || abstract != nullptr || object->pkey() == nullptr) return 0;
  const core::Bio bio = ctx->provider().crypto().bio(out);
  if (F == Form::kText && object->on_token()) write_description(bio.get(), *object);
  if (has_parameters(F) && !is_of_key(selection)) {
    write_software(*ctx, bio.get(), object->pkey(), OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS, F,
                   callback, argument);
  } else if (has_private(F) && object->key() != nullptr) {
    constexpr bool kPem = F != Form::kPrivateDer && F != Form::kEcDer;
    write_private(*ctx, bio.get(), *object, kPem);
  } else {
    const int parts = object->key() != nullptr ? kPublic : selection & object->parts();
    write_software(*ctx, bio.get(), object->pkey(), parts, F, callback, argument);
  }
  return 1;
}

#define HWID_INSTANTIATE(F)                                                              \
  template int does_selection<F>(void*, int);                                            \
  template int encode<F>(Context*, OSSL_CORE_BIO*, const void*, const OSSL_PARAM[], int, \
                         OSSL_PASSPHRASE_CALLBACK*, void*);
HWID_INSTANTIATE(Form::kSpkiPem)
HWID_INSTANTIATE(Form::kSpkiDer)
HWID_INSTANTIATE(Form::kTypePem)
HWID_INSTANTIATE(Form::kEcPem)
HWID_INSTANTIATE(Form::kEcDer)
HWID_INSTANTIATE(Form::kPrivatePem)
HWID_INSTANTIATE(Form::kPrivateDer)
HWID_INSTANTIATE(Form::kText)
#undef HWID_INSTANTIATE

}  // namespace hwid::ossl::encoder
