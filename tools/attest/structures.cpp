#include "tools/attest/structures.h"

#include <openssl/pem.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <iterator>

#include "provider/core/error.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::attest {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;

namespace {

constexpr int kVersion = 1;

template <typename T>
std::optional<T> unmarshal(TSS2_RC (*read)(const std::uint8_t[], std::size_t, std::size_t*, T*),
                           ByteView bytes) {
  T value{};
  std::size_t used = 0;
  if (read(bytes.data(), bytes.size(), &used, &value) != TSS2_RC_SUCCESS || used != bytes.size())
    return std::nullopt;
  return value;
}

template <typename T>
Bytes marshal(TSS2_RC (*write)(const T*, std::uint8_t[], std::size_t, std::size_t*),
              const T& value) {
  Bytes bytes(sizeof value);
  std::size_t size = 0;
  if (write(&value, bytes.data(), bytes.size(), &size) != TSS2_RC_SUCCESS)
    throw Error(Reason::kInternal,
                "Tss2_MU: a structure of the TPM has no form; this is a mistake of the program");
  bytes.resize(size);
  return bytes;
}

}  // namespace

int no_passphrase(char*, int, int, void*) noexcept { return -1; }

void cleanse_text(Json& value) noexcept {
  if (auto* const text = value.get_ptr<Json::string_t*>())
    OPENSSL_cleanse(text->data(), text->size());
}

std::string base64(ByteView bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

// By EVP_DecodeBlock: an EVP_ENCODE_CTX would be freed with a part of the text in it, which may be
// a secret, and takes what is behind a "-" for no part of it.
std::optional<Bytes> parse_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string block;
  block.reserve(text.size());
  const core::Cleansed guard(block);
  std::ranges::copy_if(text, std::back_inserter(block), [](char c) {
    return std::string_view(" \t\r\n").find(c) == std::string_view::npos;
  });
  const std::size_t padding = block.ends_with("==") ? 2 : block.ends_with('=') ? 1 : 0;
  const bool is_whole = block.size() % 4 == 0;
  if (!is_whole || block.find_first_not_of(kDigits) < block.size() - padding) return std::nullopt;
  Bytes bytes(block.size() / 4 * 3);
  if (EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(block.data()),
                      static_cast<int>(block.size())) < 0)
    return std::nullopt;
  bytes.resize(bytes.size() - padding);
  return bytes;
}

Document::Document(const std::string& text, std::string path, const char* format)
    : path_(std::move(path)), format_(format) {
  StrictJson parsed = parse_strict_json(text);
  if (!parsed.fault.empty())
    throw Error(Reason::kBadParameter, "file=" + path_ + ": it is no " + format_ + ": " +
                                           parsed.fault + "; have it made anew");
  json_ = std::move(parsed.value);
  if (!json_.is_object() || !json_.contains("format") || json_["format"] != format)
    fail("/format", std::string("\"") + format + "\" is wanted, and it is another file");
  if (!json_.contains("version") || json_["version"] != kVersion)
    fail("/version", "version " + std::to_string(kVersion) + " is wanted");
}

void Document::fail(const char* member, const std::string& why) const {
  throw Error(Reason::kBadParameter, "file=" + path_ + ": it is no " + format_ + ": " +
                                         (member + 1) + ": " + why + "; have it made anew");
}

void Document::require_objects_above(const char* member) const {
  using Pointer = nlohmann::json_pointer<std::string>;
  for (Pointer above = Pointer(member).parent_pointer(); !above.empty(); above.pop_back()) {
    if (!json_.contains(above)) continue;
    const Json& value = json_.at(above);
    if (!value.is_object() && !value.is_null())
      fail(above.to_string().c_str(), "an object is wanted");
  }
}

const Json& Document::at(const char* member) const {
  require_objects_above(member);
  const nlohmann::json_pointer<std::string> pointer{std::string(member)};
  if (!json_.contains(pointer)) fail(member, "it is missing");
  return json_.at(pointer);
}

bool Document::has(const char* member) const {
  require_objects_above(member);
  const nlohmann::json_pointer<std::string> pointer{std::string(member)};
  return json_.contains(pointer) && !json_.at(pointer).is_null();
}

std::string Document::text(const char* member) const {
  const Json& value = at(member);
  if (!value.is_string()) fail(member, "a text is wanted");
  return value.get<std::string>();
}

Bytes Document::bytes(const char* member) const {
  std::string base64 = text(member);
  const core::Cleansed guard(base64);
  std::optional<Bytes> bytes = parse_base64(base64);
  if (!bytes) fail(member, "base64 is wanted");
  return *std::move(bytes);
}

core::Secret Document::secret(const char* member) {
  Bytes plain = bytes(member);
  core::Secret secret(plain);
  OPENSSL_cleanse(plain.data(), plain.size());
  cleanse_text(json_.at(nlohmann::json_pointer<std::string>{std::string(member)}));
  return secret;
}

std::int64_t Document::number(const char* member) const {
  const Json& value = at(member);
  if (!value.is_number_integer()) fail(member, "a whole number is wanted");
  return value.get<std::int64_t>();
}

TPM2B_PUBLIC Document::public_area(const char* member) const {
  const std::optional<TPM2B_PUBLIC> area = tpm2::unmarshal_public(bytes(member));
  if (!area) fail(member, "a TPM2B_PUBLIC is wanted");
  return *area;
}

Bytes Document::certificate(const char* member) const {
  const std::string pem = text(member);
  const core::ErrorMark mark;
  const core::Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const core::Certificate certificate(
      in ? PEM_read_bio_X509(in.get(), nullptr, &no_passphrase, nullptr) : nullptr);
  constexpr std::string_view kBegin = "-----BEGIN ";
  const bool is_alone = pem.find(kBegin) == pem.rfind(kBegin);  // else which of them is meant?
  if (!certificate || !is_alone) fail(member, "one certificate in PEM is wanted");
  return certificate_der(certificate.get());
}

Json begin_document(const char* format) { return {{"format", format}, {"version", kVersion}}; }

std::string public_text(const TPM2B_PUBLIC& area) { return base64(tpm2::marshal_public(area)); }

Bytes certificate_der(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) throw std::bad_alloc();
  Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

std::string certificate_text(ByteView der) {
  const core::Bio out(BIO_new(BIO_s_mem()));
  if (!out ||
      PEM_write_bio(out.get(), PEM_STRING_X509, "", der.data(), static_cast<long>(der.size())) <= 0)
    throw std::bad_alloc();
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

Bytes marshal_signature(const TPMT_SIGNATURE& signature) {
  return marshal(&Tss2_MU_TPMT_SIGNATURE_Marshal, signature);
}

Bytes marshal_ticket(const TPMT_TK_CREATION& ticket) {
  return marshal(&Tss2_MU_TPMT_TK_CREATION_Marshal, ticket);
}

std::optional<TPMT_TK_CREATION> unmarshal_ticket(ByteView bytes) {
  return unmarshal(&Tss2_MU_TPMT_TK_CREATION_Unmarshal, bytes);
}

std::optional<TPMT_SIGNATURE> unmarshal_signature(ByteView bytes) {
  return unmarshal(&Tss2_MU_TPMT_SIGNATURE_Unmarshal, bytes);
}

std::optional<TPMS_ATTEST> unmarshal_attest(ByteView bytes) {
  return unmarshal(&Tss2_MU_TPMS_ATTEST_Unmarshal, bytes);
}

std::optional<TPM2B_PUBLIC> unmarshal_any_public(ByteView bytes) {
  if (const std::optional<TPM2B_PUBLIC> area = tpm2::unmarshal_public(bytes)) return area;
  if (bytes.size() > 0xffff) return std::nullopt;
  Bytes sized = {static_cast<std::uint8_t>(bytes.size() >> 8),
                 static_cast<std::uint8_t>(bytes.size())};
  sized.insert(sized.end(), bytes.begin(), bytes.end());
  return tpm2::unmarshal_public(sized);
}

Bytes sha256(const core::Libcrypto& crypto, std::initializer_list<ByteView> parts) {
  return tpm2::SessionCrypto(crypto).hash(parts);
}

}  // namespace hwid::attest
