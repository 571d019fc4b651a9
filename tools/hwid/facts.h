// Keys, certificates and tokens, as facts to print.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "provider/core/backend.h"
#include "provider/core/inventory.h"
#include "tools/hwid/output.h"

namespace hwid::tool {

const char* class_name(core::ObjectClass object_class);  // "private-key", ..., "other"

std::string key_type(const core::PublicKey& key);  // "RSA 2048", "EC P-256"

struct CertificateFacts {
  std::string subject;  // RFC 4514
  std::string issuer;
  std::string serial;  // hexadecimal
  std::time_t begins = 0;
  std::time_t ends = 0;
  std::string fingerprint;             // SHA-256, hexadecimal
  std::optional<core::PublicKey> key;  // unset: of a kind that we have not
};
// `der` may be anything that a token answers: nullopt where it is no certificate.
std::optional<CertificateFacts> certificate_facts(const core::Libcrypto& crypto,
                                                  core::ByteView der);

// SHA-256 in hexadecimal digits; empty where OpenSSL cannot hash.
std::string fingerprint_of(const core::Libcrypto& crypto, core::ByteView bytes);

// "2027-01-30T12:00:00Z, in 62 days", "..., 3 hours ago".
std::string end_text(std::time_t ends, std::time_t now);

// "no: sensitive, never extractable, made on the token"; "yes: extractable"; "unknown".
std::string export_text(const core::Protection& protection);

std::string pin_text(const core::TokenInfo& token);

Json to_json(const core::Protection& protection);
Json to_json(const CertificateFacts& certificate);
Json to_json(const core::TokenInfo& token);

}  // namespace hwid::tool
