#include "provider/tpm2/nv_certificates.h"

#include <openssl/asn1.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <string_view>

#include "provider/core/pem_block.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Libcrypto;

namespace {

bool is_filler(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0xff; }) ||
         std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

std::size_t number(ByteView bytes, std::size_t at) {
  return std::size_t{bytes[at]} << 8 | bytes[at + 1];
}

// TCG PC Client Specific Implementation Specification for Conventional BIOS 1.21, 7.3.2: a tag, the
// kind, the size of what follows, which makers counted in two ways; of a full certificate a second
// tag.
constexpr std::size_t kStoredCertificate = 0x1001;
constexpr std::size_t kFullCertificate = 0x1002;
constexpr std::size_t kHeader = 5;

bool is_wrapped(ByteView content) {
  return content.size() > kHeader + 2 && number(content, 0) == kStoredCertificate;
}

// Empty: it is no full certificate.
ByteView unwrapped(ByteView content) {
  const bool is_full = content[2] == 0 && number(content, kHeader) == kFullCertificate;
  return is_full ? content.subspan(kHeader + 2) : ByteView();
}

// The size of the first SEQUENCE with its header; 0: there is none, or it is cut off.
std::size_t sequence_size(ByteView bytes) {
  const std::uint8_t* at = bytes.data();
  long length = 0;
  int tag = 0;
  int tag_class = 0;
  const int flags =
      ASN1_get_object(&at, &length, &tag, &tag_class, static_cast<long>(bytes.size()));
  const bool is_sequence = flags == V_ASN1_CONSTRUCTED && tag == V_ASN1_SEQUENCE && length > 0;
  return is_sequence ? static_cast<std::size_t>(at - bytes.data() + length) : 0;
}

void take_der(const Libcrypto& crypto, ByteView content, NvCertificates& found) {
  while (const std::size_t size = content.empty() ? 0 : sequence_size(content)) {
    const ByteView der = content.first(size);
    if (!core::parse_certificate(crypto, der)) break;
    found.all.emplace_back(der.begin(), der.end());
    content = content.subspan(size);
  }
  if (!found.all.empty() && !is_filler(content))
    found.rest = std::to_string(content.size()) + " bytes that are no certificate";
}

void take_pem(const Libcrypto& crypto, ByteView content, NvCertificates& found) {
  const core::Bio bio(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  for (;;) {
    core::PemBlock block;
    if (!bio || !block.read(bio.get())) {
      const bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      if (!found.all.empty() && !is_end) found.rest = "a PEM block that is damaged or cut off";
      return;
    }
    if (!block.is_certificate()) {
      found.rest = "a PEM block \"" + core::name_text(block.label) + "\"";
      continue;
    }
    // OpenSSL's own form has more behind the certificate.
    const ByteView bytes = block.bytes();
    const ByteView der = bytes.first(bytes.empty() ? 0 : sequence_size(bytes));
    if (core::parse_certificate(crypto, der))
      found.all.emplace_back(der.begin(), der.end());
    else
      found.rest = "a PEM block that is no certificate";
  }
}

bool is_pem(ByteView content) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  return std::search(content.begin(), content.end(), kBegin.begin(), kBegin.end()) != content.end();
}

// By OpenSSL's decoders, in software: of a private key none.
Bytes public_key_in(const Libcrypto& crypto, ByteView content) {
  EVP_PKEY* key = nullptr;
  const std::unique_ptr<OSSL_DECODER_CTX, core::FreeWith<OSSL_DECODER_CTX_free>> decoder(
      OSSL_DECODER_CTX_new_for_pkey(&key, nullptr, nullptr, nullptr, EVP_PKEY_PUBLIC_KEY,
                                    crypto.get(), core::kNotHwid));
  const unsigned char* at = content.data();
  std::size_t size = content.size();
  if (!decoder || content.empty() || OSSL_DECODER_from_data(decoder.get(), &at, &size) != 1)
    return {};
  const core::EvpPkey owned(key);
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  if (length <= 0) return {};
  Bytes info(der, der + length);
  OPENSSL_free(der);
  return info;
}

// What people put there.
std::string problem_of(ByteView content, const NvCertificates& found) {
  if (is_filler(content)) return "it is empty: all its bytes are the same";
  if (!found.public_key.empty()) return "it holds a public key, and no certificate";
  if (!found.rest.empty()) return "it holds no certificate, but " + found.rest;
  if (content.size() > 2 && content[0] == 0x1f && content[1] == 0x8b)
    return "it is compressed (gzip), which is not undone here: tpm2_nvread INDEX | gunzip > "
           "cert.der; use that file";
  if (is_wrapped(content))
    return "it has the header of TCG's PC Client profile (1001), but no full certificate behind it";
  if (is_pem(content)) return "its PEM is damaged or cut off";
  if (content[0] == 0x30 && sequence_size(content) == 0)
    return "it begins as DER does, and is damaged or cut off";
  if (content[0] == 0x30) return "it is DER, but no X.509 certificate";
  return "it is no X.509 certificate in DER or PEM form";
}

}  // namespace

NvCertificates certificates_in(const Libcrypto& crypto, ByteView content) {
  const core::ErrorMark mark;
  NvCertificates found;
  const ByteView inner = is_wrapped(content) ? unwrapped(content) : content;
  take_der(crypto, inner, found);  // which may hold the text of a PEM block
  if (found.all.empty() && is_pem(inner)) take_pem(crypto, inner, found);
  if (found.all.empty()) {
    found.public_key = public_key_in(crypto, content);
    found.problem = problem_of(content, found);
    found.is_empty = is_filler(content);
    found.rest.clear();
  }
  return found;
}

}  // namespace hwid::tpm2
