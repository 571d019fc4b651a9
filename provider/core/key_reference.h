// Key reference files: PEM that names a key and holds no secret.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "provider/core/bytes.h"

namespace hwid::core {

// PEM labels. The first is pkcs11-provider's, for pkcs11: URIs; the second ours, where a hwid: name
// stays a name. Both hold DER: SEQUENCE { VisibleString or UTF8String description, UTF8String uri
// }.
inline constexpr char kPkcs11ReferenceLabel[] = "PKCS#11 PROVIDER URI";
inline constexpr char kHwidReferenceLabel[] = "HWID KEY REFERENCE";

bool is_reference_label(std::string_view pem_label) noexcept;

// A key that a TPM wrapped (draft-bottomley-tpm2-keys), and the label of the draft's first version.
inline constexpr char kTss2Label[] = "TSS2 PRIVATE KEY";
inline constexpr char kOldTss2Label[] = "TSS2 KEY BLOB";

bool is_tss2_label(std::string_view pem_label) noexcept;
// True if `der` may be the body of one: it begins with its object identifier (2.23.133.10.*).
bool may_be_tss2(ByteView der) noexcept;

// The PEM label and the DER body for `uri` (a KeyUri::text(), without PIN).
struct KeyReference {
  const char* label;
  Bytes der;
};
KeyReference encode_reference(const std::string& uri);

// The URI in a DER body; nullopt if it is not a reference at all. Throws kBadReference if it is
// one but damaged (trailing bytes, NUL, longer than 4 KiB).
std::optional<std::string> decode_reference(ByteView der);

}  // namespace hwid::core
