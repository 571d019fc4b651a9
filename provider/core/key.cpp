#include "provider/core/key.h"

#include <openssl/obj_mac.h>
#include <strings.h>

#include <array>

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
    case SignScheme::Kind::kRsaPss:
      break;
  }
  std::string text = "RSA-PSS " + digest;
  if (scheme.mgf1_digest != scheme.digest)
    text.append(" MGF1 ").append(digest_name(scheme.mgf1_digest));
  return text + " salt " + std::to_string(scheme.salt_size);
}

}  // namespace hwid::core
