// Platform configuration registers: what of the machine's state a TPM has been told.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/bytes.h"
#include "provider/core/libcrypto.h"

namespace hwid::tpm2 {

struct PcrValue {
  TPMI_ALG_HASH bank = TPM2_ALG_SHA256;
  unsigned pcr = 0;
  core::Bytes value;
  bool operator==(const PcrValue&) const = default;
};

// Calls `see` with each selected PCR, in the order in which a TPM reads and hashes them (TPM 2.0
// Part 1, 17.5).
void each_pcr(const TPML_PCR_SELECTION& pcrs,
              const std::function<void(TPMI_ALG_HASH bank, unsigned pcr)>& see);
std::size_t selected_pcrs(const TPML_PCR_SELECTION& pcrs);
// Takes one out; false: it is not in.
bool take_pcr(TPML_PCR_SELECTION& pcrs, TPMI_ALG_HASH bank, unsigned pcr) noexcept;

// What a user writes: "sha256:0,7", or with the value that is wanted "sha256:7=HEX"; several by
// blanks or '+'. Either all have a value, or none has. nullopt: it is nothing of this form.
struct WrittenPcrs {
  TPML_PCR_SELECTION selection{};
  std::vector<PcrValue> values;  // in the selection's order
};
std::optional<WrittenPcrs> parse_pcrs(const std::string& text);

// "sha256:7=HEX sha256:14=HEX": what parse_pcrs reads.
std::string values_text(const std::vector<PcrValue>& values);
std::string bank_text(TPMI_ALG_HASH bank);              // "sha256", "0x27"
std::string pcrs_text(const TPML_PCR_SELECTION& pcrs);  // "sha256:0,7+sha1:4"

// H(value || value ...), which a policy holds in the values' stead.
core::Bytes pcr_digest(const core::Libcrypto& crypto, TPMI_ALG_HASH hash,
                       const std::vector<PcrValue>& values);

// Hexadecimal digits; nullopt: others, or half a byte.
std::optional<core::Bytes> parse_hex(std::string_view text);

}  // namespace hwid::tpm2
