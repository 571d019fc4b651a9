#include "provider/ossl/decoder.h"

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/pem.h>

#include <array>
#include <vector>

#include "provider/core/key_reference.h"
#include "provider/ossl/key_object.h"
#include "provider/ossl/load_audit.h"
#include "provider/ossl/token_call.h"

namespace hwid::ossl::decoder {
namespace {

using core::Algorithm;
using core::Bytes;

constexpr std::size_t kStart = 16;       // enough to tell ours from what is not
constexpr std::size_t kLongest = 65536;  // a wrapped key with its policies

core::Bio input(const Context& ctx, OSSL_CORE_BIO* in) { return ctx.provider().crypto().bio(in); }

void read_on(BIO* bio, Bytes& bytes, std::size_t most) {
  std::size_t size = bytes.size();
  bytes.resize(most);
  while (size < most) {
    const int got = BIO_read(bio, bytes.data() + size, static_cast<int>(most - size));
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
}

// A reference is a SEQUENCE that begins with text; there the tag is of what comes first in it.
bool may_be_ours(core::ByteView start) {
  if (start.size() < 2 || start[0] != (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED)) return false;
  const std::size_t header = start[1] < 0x80 ? 2 : 2 + (start[1] & 0x7fU);
  if (header >= start.size()) return false;
  switch (start[header]) {
    case V_ASN1_UTF8STRING:
    case V_ASN1_VISIBLESTRING:
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_IA5STRING:
      return true;
    default:
      return core::may_be_tss2(start);
  }
}

// The whole input; empty for what is not ours. Whatever a program decodes (each certificate of a
// bundle, each public key of a peer) may come by here, so that is told from its first bytes.
Bytes read_ours(BIO* bio) {
  Bytes bytes;
  read_on(bio, bytes, kStart);
  if (!may_be_ours(bytes)) return {};
  read_on(bio, bytes, kLongest + 1);
  return bytes.size() > kLongest ? Bytes() : bytes;
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

std::vector<core::Object> open_reference(const Context& ctx, core::ByteView der,
                                         const core::PinPrompt& prompt, LoadAudit& audit) {
  std::optional<std::string> uri = core::decode_reference(der);
  if (!uri) return {};
  const core::Cleansed uri_guard(*uri);
  const core::KeyUri parsed = core::KeyUri::parse(*uri);
  const bool is_public = parsed.type() == core::ObjectClass::kPublicKey;
  const core::Wanted keys{!is_public, is_public, false};
  return audit.search(&parsed, [&] {
    return ctx.provider().router().open(parsed, keys, prompt, core::Router::Origin::kReferenceFile);
  });
}

// Nobody is asked for the auth value of a key that another key type's decoder will take.
std::vector<core::Object> open_wrapped(const Context& ctx, core::ByteView der, Algorithm algorithm,
                                       const core::PinPrompt& prompt) {
  core::Router& router = ctx.provider().router();
  const core::Object found = router.open_wrapped(der, {});
  if (found.key->public_key().algorithm() != algorithm) return {};
  return {router.open_wrapped(der, prompt)};
}

// What `der` is or leads to; empty if it is neither, or wrapped and of another algorithm.
std::vector<core::Object> open_der(const Context& ctx, core::ByteView der, Algorithm algorithm,
                                   const core::PinPrompt& prompt, LoadAudit& audit) {
  const bool wrapped = core::may_be_tss2(der);
  try {
    const TokenCall call(ctx.provider());
    if (wrapped)
      return audit.search(nullptr, [&] { return open_wrapped(ctx, der, algorithm, prompt); });
    return open_reference(ctx, der, prompt, audit);
  } catch (const core::Error& error) {
    // OpenSSL's file store drops what decoders raise, and says "unsupported".
    HWID_LOG(ctx.provider().log(), kError,
             (wrapped ? std::string() : std::string("key reference: ")) + error.what());
    throw;
  }
}

}  // namespace

Context* newctx(Provider* provider) { return new Context(*provider); }
void freectx(Context* ctx) { delete ctx; }

// Accepted and not needed: the file says all.
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
  const bool wrapped = core::is_tss2_label(label);
  const bool ours =
      wrapped ? !ctx->provider().leaves_tss2_to_another() : core::is_reference_label(label);
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
  const Bytes der = read_ours(input(*ctx, in).get());
  if (der.empty()) return 1;
  if (core::may_be_tss2(der) && ctx->provider().leaves_tss2_to_another()) return 1;
  LoadAudit audit(ctx->provider());
  // Every key type's decoder comes by here; the router answers all but the first from its cache
  // (of a private key).
  for (const core::Object& object :
       open_der(*ctx, der, A, pin_prompt(pin_callback, pin_argument), audit)) {
    const core::PublicKey* const half =
        object.key ? &object.key->public_key() : object.public_key.get();
    if (half == nullptr || half->algorithm() != A) continue;
    const int result =
        emit_key(KeyObject::from_object(ctx->provider(), object), callback, argument);
    if (result == 1) audit.taken(object);
    return result;
  }
  return 1;
}
#define HWID_INSTANTIATE(A)                                                        \
  template int decode_der<A>(Context*, OSSL_CORE_BIO*, int, OSSL_CALLBACK*, void*, \
                             OSSL_PASSPHRASE_CALLBACK*, void*);
HWID_INSTANTIATE(Algorithm::kRsa)
HWID_INSTANTIATE(Algorithm::kRsaPss)
HWID_INSTANTIATE(Algorithm::kEc)
HWID_INSTANTIATE(Algorithm::kEd25519)
HWID_INSTANTIATE(Algorithm::kEd448)
HWID_INSTANTIATE(Algorithm::kX25519)
HWID_INSTANTIATE(Algorithm::kX448)
#undef HWID_INSTANTIATE

}  // namespace hwid::ossl::decoder
