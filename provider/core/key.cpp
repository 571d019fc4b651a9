#include "provider/core/key.h"

#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>
#include <openssl/rsa.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <new>

namespace hwid::core {
namespace {

struct DigestRow {
  Digest digest;
  std::array<const char*, 3> names;  // the first is OpenSSL's own
  std::size_t size;
  int nid;
};

constexpr std::array<DigestRow, 15> kDigests{{
    {Digest::kMd5, {"MD5", "SSL3-MD5", nullptr}, 16, NID_md5},
    {Digest::kMd5Sha1, {"MD5-SHA1", nullptr, nullptr}, 36, NID_md5_sha1},
    {Digest::kSha1, {"SHA1", "SHA-1", "SSL3-SHA1"}, 20, NID_sha1},
    {Digest::kSha224, {"SHA2-224", "SHA224", "SHA-224"}, 28, NID_sha224},
    {Digest::kSha256, {"SHA2-256", "SHA256", "SHA-256"}, 32, NID_sha256},
    {Digest::kSha384, {"SHA2-384", "SHA384", "SHA-384"}, 48, NID_sha384},
    {Digest::kSha512, {"SHA2-512", "SHA512", "SHA-512"}, 64, NID_sha512},
    {Digest::kSha512_224, {"SHA2-512/224", "SHA512-224", "SHA-512/224"}, 28, NID_sha512_224},
    {Digest::kSha512_256, {"SHA2-512/256", "SHA512-256", "SHA-512/256"}, 32, NID_sha512_256},
    {Digest::kSha3_224, {"SHA3-224", nullptr, nullptr}, 28, NID_sha3_224},
    {Digest::kSha3_256, {"SHA3-256", nullptr, nullptr}, 32, NID_sha3_256},
    {Digest::kSha3_384, {"SHA3-384", nullptr, nullptr}, 48, NID_sha3_384},
    {Digest::kSha3_512, {"SHA3-512", nullptr, nullptr}, 64, NID_sha3_512},
    {Digest::kRipemd160, {"RIPEMD-160", "RIPEMD160", "RMD160"}, 20, NID_ripemd160},
    {Digest::kSm3, {"SM3", nullptr, nullptr}, 32, NID_sm3},
}};

const DigestRow* row_of(Digest digest) noexcept {
  for (const DigestRow& row : kDigests) {
    if (row.digest == digest) return &row;
  }
  return nullptr;
}

}  // namespace

Digest digest_by_name(std::string_view openssl_name) noexcept {
  for (const DigestRow& row : kDigests) {
    for (const char* const name : row.names) {
      if (name != nullptr && std::string_view(name).size() == openssl_name.size() &&
          strncasecmp(name, openssl_name.data(), openssl_name.size()) == 0)
        return row.digest;
    }
  }
  return Digest::kOther;
}

const char* digest_name(Digest digest) noexcept {
  const DigestRow* const row = row_of(digest);
  if (row != nullptr) return row->names[0];
  return digest == Digest::kNone ? "no digest" : "unknown digest";
}

std::size_t digest_size(Digest digest) noexcept {
  const DigestRow* const row = row_of(digest);
  return row != nullptr ? row->size : 0;
}

int digest_nid(Digest digest) noexcept {
  const DigestRow* const row = row_of(digest);
  return row != nullptr ? row->nid : NID_undef;
}

std::string scheme_text(const SignScheme& scheme) {
  const std::string digest = digest_name(scheme.digest);
  switch (scheme.kind) {
    case SignScheme::Kind::kRsaPkcs1:
      return "RSA PKCS#1 v1.5 " + digest;
    case SignScheme::Kind::kRsaRaw:
      return "RSA without padding";
    case SignScheme::Kind::kEcdsa:
      return "ECDSA " + digest;
    case SignScheme::Kind::kEddsa:
      return std::string("EdDSA") + (scheme.prehash ? " prehash" : "") +
             (scheme.context.empty() ? "" : " with a context");
    case SignScheme::Kind::kRsaPss:
      break;
  }
  std::string text = "RSA-PSS " + digest;
  if (scheme.mgf1_digest != scheme.digest)
    text.append(" MGF1 ").append(digest_name(scheme.mgf1_digest));
  return text + " salt " + std::to_string(scheme.salt_size);
}

std::string name_of(const KeyDescription& key) {
  if (!key.label.empty()) return key.label;
  return key.id.empty() ? key.uri : to_hex(key.id);
}

Bytes ecdsa_der(ByteView signature) {
  const std::size_t half = signature.size() / 2;
  BIGNUM* const r = BN_bin2bn(signature.data(), static_cast<int>(half), nullptr);
  BIGNUM* const s = BN_bin2bn(signature.data() + half, static_cast<int>(half), nullptr);
  const std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> numbers(ECDSA_SIG_new());
  if (!numbers || ECDSA_SIG_set0(numbers.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    throw std::bad_alloc();
  }
  Bytes der(static_cast<std::size_t>(i2d_ECDSA_SIG(numbers.get(), nullptr)));
  unsigned char* at = der.data();
  i2d_ECDSA_SIG(numbers.get(), &at);
  return der;
}

namespace {

bool set_scheme(const Libcrypto& crypto, EVP_PKEY_CTX* context, const SignScheme& scheme,
                EvpMd& digest, EvpMd& mgf1) {
  const bool is_pss = scheme.kind == SignScheme::Kind::kRsaPss;
  if (scheme.kind == SignScheme::Kind::kEcdsa) return true;
  if (EVP_PKEY_CTX_set_rsa_padding(context, is_pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) !=
      1)
    return false;
  if (scheme.digest == Digest::kNone) return true;
  digest = crypto.fetch_digest(digest_name(scheme.digest));
  if (EVP_PKEY_CTX_set_signature_md(context, digest.get()) != 1) return false;
  if (!is_pss) return true;
  mgf1 = crypto.fetch_digest(digest_name(scheme.mgf1_digest));
  return EVP_PKEY_CTX_set_rsa_mgf1_md(context, mgf1.get()) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, static_cast<int>(scheme.salt_size)) == 1;
}

// What the public operation makes of a signature without padding.
bool opens_to(EVP_PKEY_CTX* context, ByteView block, ByteView signature) {
  Bytes opened(signature.size());
  std::size_t size = opened.size();
  return EVP_PKEY_verify_recover_init(context) == 1 &&
         EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING) == 1 &&
         EVP_PKEY_verify_recover(context, opened.data(), &size, signature.data(),
                                 signature.size()) == 1 &&
         std::ranges::equal(ByteView(opened).first(size), block);
}

// The plain forms alone: before OpenSSL 3.2 libcrypto knows no others.
bool eddsa_verifies(const Libcrypto& crypto, const PublicKey& key, const SignScheme& scheme,
                    ByteView message, ByteView signature) {
  if (scheme.prehash || !scheme.context.empty() || !is_edwards(key.algorithm())) return false;
  const EvpMdCtx context(EVP_MD_CTX_new());
  return context &&
         EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, crypto.get(), kNotHwid,
                                 key.pkey(), nullptr) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

}  // namespace

bool verifies(const Libcrypto& crypto, const PublicKey& key, const SignScheme& scheme,
              ByteView digest, ByteView signature) {
  const bool is_ec = scheme.kind == SignScheme::Kind::kEcdsa;
  if (signature.size() != (is_rsa(key.algorithm()) ? 1 : 2) * key.field_size()) return false;
  const ErrorMark mark;
  if (scheme.kind == SignScheme::Kind::kEddsa)
    return eddsa_verifies(crypto, key, scheme, digest, signature);
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(crypto.get(), key.pkey(), kNotHwid));
  if (!context) return false;
  if (scheme.kind == SignScheme::Kind::kRsaRaw) return opens_to(context.get(), digest, signature);
  EvpMd md;
  EvpMd mgf1;
  if (EVP_PKEY_verify_init(context.get()) != 1 ||
      !set_scheme(crypto, context.get(), scheme, md, mgf1))
    return false;
  const Bytes der = is_ec ? ecdsa_der(signature) : Bytes();
  const ByteView given = is_ec ? ByteView(der) : signature;
  return EVP_PKEY_verify(context.get(), given.data(), given.size(), digest.data(), digest.size()) ==
         1;
}

}  // namespace hwid::core
