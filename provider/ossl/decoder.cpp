#include "provider/ossl/decoder.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/pem.h>

#include <array>
#include <vector>

#include "provider/core/key_reference.h"
#include "provider/ossl/key_object.h"

namespace hwid::ossl::decoder {
namespace {

using core::Algorithm;
using core::Bytes;

constexpr std::size_t kLongestReference = 8192;

core::Bio input(const Context& ctx, OSSL_CORE_BIO* in) {
  core::Bio bio(BIO_new_from_core_bio(ctx.provider().crypto().get(), in));
  if (!bio) throw std::bad_alloc();
  return bio;
}

// The whole input; empty if it is longer than any reference.
Bytes read_all(BIO* bio) {
  Bytes bytes(kLongestReference + 1);
  std::size_t size = 0;
  for (int got = 0; size < bytes.size(); size += static_cast<std::size_t>(got)) {
    got = BIO_read(bio, bytes.data() + size, static_cast<int>(bytes.size() - size));
    if (got <= 0) break;
  }
  bytes.resize(size > kLongestReference ? 0 : size);
  return bytes;
}

int emit_der(const Bytes& der, OSSL_CALLBACK* callback, void* argument) {
  int type = OSSL_OBJECT_PKEY;
  const std::array<OSSL_PARAM, 4> params{
      OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
      OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE,
                                       const_cast<char*>(kStructure), 0),
      OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA,
                                        const_cast<std::uint8_t*>(der.data()), der.size()),
      OSSL_PARAM_construct_end()};
  return callback(params.data(), argument);
}

std::vector<core::Object> open_reference(const Context& ctx, const std::string& uri,
                                         const core::PinPrompt& prompt) {
  const core::Wanted private_keys{true, false, false};
  try {
    return ctx.provider().router().open(core::KeyUri::parse(uri), private_keys, prompt,
                                        core::Router::Origin::kReferenceFile);
  } catch (const core::Error& error) {
    // OpenSSL's file store drops what decoders raise, and says "unsupported".
    HWID_LOG(ctx.provider().log(), kError, std::string("key reference: ") + error.what());
    throw;
  }
}

}  // namespace

Context* newctx(Provider* provider) { return new Context(*provider); }
void freectx(Context* ctx) { delete ctx; }

// Accepted and not needed: the reference says all.
int set_ctx_params(Context*, const OSSL_PARAM[]) { return 1; }
const OSSL_PARAM* settable_ctx_params(Provider*) {
  static const OSSL_PARAM kSettable[] = {
      OSSL_PARAM_utf8_string(OSSL_DECODER_PARAM_PROPERTIES, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, nullptr, 0), OSSL_PARAM_END};
  return kSettable;
}

// Returns 1 without a callback for what is not ours: other decoders go on.
int decode_pem(Context* ctx, OSSL_CORE_BIO* in, int, OSSL_CALLBACK* callback, void* argument,
               OSSL_PASSPHRASE_CALLBACK*, void*) {
  const core::Bio bio = input(*ctx, in);
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  {
    const core::ErrorMark mark;
    if (PEM_read_bio(bio.get(), &label, &header, &data, &size) != 1) return 1;
  }
  const bool ours = core::is_reference_label(label);
  Bytes der;
  if (ours) der.assign(data, data + size);
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  return ours ? emit_der(der, callback, argument) : 1;
}

template <Algorithm A>
int decode_der(Context* ctx, OSSL_CORE_BIO* in, int, OSSL_CALLBACK* callback, void* argument,
               OSSL_PASSPHRASE_CALLBACK* pin_callback, void* pin_argument) {
  const Bytes der = read_all(input(*ctx, in).get());
  std::optional<std::string> text = core::decode_reference(der);
  if (!text) return 1;
  const core::Cleansed text_guard(*text);
  // Every key type's decoder comes by here; the router answers all but the first from its cache.
  for (const core::Object& object :
       open_reference(*ctx, *text, pin_prompt(pin_callback, pin_argument))) {
    if (object.key == nullptr || object.key->public_key().algorithm() != A) continue;
    return emit_key(KeyObject::from_object(ctx->provider(), object), callback, argument);
  }
  return 1;
}
template int decode_der<Algorithm::kRsa>(Context*, OSSL_CORE_BIO*, int, OSSL_CALLBACK*, void*,
                                         OSSL_PASSPHRASE_CALLBACK*, void*);
template int decode_der<Algorithm::kRsaPss>(Context*, OSSL_CORE_BIO*, int, OSSL_CALLBACK*, void*,
                                            OSSL_PASSPHRASE_CALLBACK*, void*);
template int decode_der<Algorithm::kEc>(Context*, OSSL_CORE_BIO*, int, OSSL_CALLBACK*, void*,
                                        OSSL_PASSPHRASE_CALLBACK*, void*);

}  // namespace hwid::ossl::decoder
