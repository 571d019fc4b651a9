// The TPM's structures, as the files of an attestation have them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "provider/core/libcrypto.h"
#include "provider/core/secret.h"
#include "provider/tpm2/public_area.h"
#include "tools/attest/strict_json.h"

namespace hwid::attest {

// For PEM that others wrote: libcrypto would ask at the terminal where it says that it is
// encrypted.
int no_passphrase(char* buffer, int size, int writing, void* data) noexcept;

void cleanse_text(Json& value) noexcept;  // if it is a text

std::string base64(core::ByteView bytes);
// With padding, and white space wherever it is; nullopt: it is none. Its own copies are cleansed.
std::optional<core::Bytes> parse_base64(std::string_view text);

// One file: JSON (strict_json.h) with "format" and "version". `path` names it in messages. Every
// method throws core::Error (kBadParameter), which names the file, the member and what is wanted
// there. What is not known is left alone: a later version may say more.
class Document {
 public:
  // `format`: what it must be, version 1.
  Document(const std::string& text, std::string path, const char* format);

  // Members are named by their path, "/key/certify/attest". What they stand in is an object, or
  // that is what is wrong.
  bool has(const char* member) const;  // null is none
  std::string text(const char* member) const;
  core::Bytes bytes(const char* member) const;  // base64
  core::Secret secret(const char* member);      // the same, once: no copy of it is left
  std::int64_t number(const char* member) const;
  TPM2B_PUBLIC public_area(const char* member) const;
  core::Bytes certificate(const char* member) const;  // PEM in, DER out
  [[noreturn]] void fail(const char* member, const std::string& why) const;

 private:
  void require_objects_above(const char* member) const;
  const Json& at(const char* member) const;

  Json json_;
  std::string path_;
  const char* format_;
};

Json begin_document(const char* format);
std::string public_text(const TPM2B_PUBLIC& area);  // base64
std::string certificate_text(core::ByteView der);   // PEM
core::Bytes certificate_der(X509* certificate);

// Marshalled TPMT_SIGNATURE, TPMS_ATTEST, TPMT_TK_CREATION. nullopt: the bytes are none, or there
// is a rest.
core::Bytes marshal_signature(const TPMT_SIGNATURE& signature);  // throws kInternal
std::optional<TPMT_SIGNATURE> unmarshal_signature(core::ByteView bytes);
std::optional<TPMS_ATTEST> unmarshal_attest(core::ByteView bytes);
core::Bytes marshal_ticket(const TPMT_TK_CREATION& ticket);  // throws kInternal
std::optional<TPMT_TK_CREATION> unmarshal_ticket(core::ByteView bytes);
// TPMT_PUBLIC without a size in front, or TPM2B_PUBLIC.
std::optional<TPM2B_PUBLIC> unmarshal_any_public(core::ByteView bytes);

// SHA-256.
core::Bytes sha256(const core::Libcrypto& crypto, std::initializer_list<core::ByteView> parts);

}  // namespace hwid::attest
