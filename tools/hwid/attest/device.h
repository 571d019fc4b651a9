// What the device's side of an attestation has in common: the attestation key (AK), and what its
// TPM says.
#pragma once

#include <memory>
#include <string>

#include "provider/tpm2/attester.h"
#include "tools/attest/evidence.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::attestation {

// A key of a TPM, held as long as this lives.
struct TpmKey {
  std::shared_ptr<const core::Key> held;
  const tpm2::Key& key() const { return static_cast<const tpm2::Key&>(*held); }
};
// Throws kUnsupported where it is in another device, and as open_in_device().
TpmKey open_tpm_key(Invocation& invocation, const std::string& source,
                    const char* pin_option = "pin-source");

void add_ak_option(po::options_description& options);  // --ak
std::string ak_source(const Invocation& invocation);   // throws UsageError where it is missing

// Hexadecimal digits of --nonce: too many to be foreseen, and at most as many as a TPM takes.
// Throws UsageError. Both sides ask for that: who verifies, and who is asked.
core::Bytes nonce_of(const Invocation& invocation);
// Bytes as a user writes them.
core::Bytes parse_nonce(const std::string& text);

// The evidence, as the TPM makes it now; then verified as another machine would: throws
// kKeyChanged where it does not hold, kUnsupported of a key that is too weak. `key` may be null,
// `pcrs` empty.
struct Wish {
  const tpm2::Key* key = nullptr;
  std::optional<attest::Creation> creation;
  TPML_PCR_SELECTION pcrs{};
  core::Bytes nonce;
  core::Bytes ak_certificate;  // DER; empty: none
};
attest::Evidence make_evidence(Invocation& invocation, const tpm2::Key& ak, const Wish& wish);

// The one certificate in a file, DER.
core::Bytes certificate_in(Invocation& invocation, const std::string& file);

}  // namespace hwid::tool::attestation
