// The files that tpm2:file= and tpm2-openssl's object: name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "provider/tpm2/tss2_pem.h"

namespace hwid::tpm2 {

// A key in the TPM as tpm2_evictcontrol -o and tpm2_readpublic -t save it (Esys_TR_Serialize): a
// handle, and what stood there.
struct SavedHandle {
  std::uint32_t handle = 0;
  core::Bytes name;
  TPM2B_PUBLIC public_area{};
};

using KeyFile = std::variant<Tss2Key, SavedHandle>;

// TSS2 PRIVATE KEY or TSS2 KEY BLOB as PEM (the first that is there, text around it is skipped) or
// DER, or a saved handle. Throws kBadReference; kUnsupported for a saved NV index.
KeyFile parse_key_file(core::ByteView content);

// The same of a regular file of at most 64 KiB; every error names it. Throws kBadReference where it
// cannot be read.
KeyFile read_key_file(const std::string& path);

// A regular file of at most 64 KiB. Throws kBadReference; messages begin with `what` and the path.
core::Bytes read_whole(const std::string& what, const std::string& path);

}  // namespace hwid::tpm2
