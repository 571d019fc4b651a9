// The endorsement keys of a TPM: what TCG's "EK Credential Profile for TPM Family 2.0" (2.6) says
// of their certificates, templates and places.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

// One kind of endorsement key: a row of the profile's table. Addresses are those of NV indexes; 0:
// the profile has none.
struct EkType {
  const char* name;         // of its template: "L-1", "H-3"
  const char* key;          // "RSA 2048", "EC P-384"
  TPM2_HANDLE certificate;  // section 2.2.2.4 (low range), 2.2.2.5 (high range)
  TPM2_HANDLE nonce;        // what `unique` of the template is to have (B.3.1)
  TPM2_HANDLE written;      // the template itself, where the TPM's maker has one of its own
  bool is_rsa;
};

// Those of RSA and ECC, in the order in which a TPM is asked for them. (SM2, template H-5, is not
// among them: OpenSSL has no such keys for TLS.)
std::span<const EkType> ek_types() noexcept;
// By the address of its certificate; null: it is none.
const EkType* ek_type_at(TPM2_HANDLE certificate) noexcept;
// By the template's name, in any case of letters; null: there is none such.
const EkType* ek_type_named(std::string_view name) noexcept;

// What stands at an address that TCG has given a meaning: "EK certificate RSA 2048", "EK nonce EC
// P-256", "EK template RSA 2048", "EK certificate chain", "platform certificate"; empty for others.
std::string nv_meaning(TPM2_HANDLE index);

// The template, for TPM2_CreatePrimary in the endorsement hierarchy, by the profile (B.3, B.4).
// `nonce` and `written`: what the TPM has at those addresses; empty: nothing. Throws
// kBadReference where `written` is no template.
TPMT_PUBLIC ek_template(const EkType& type, core::ByteView nonce = {}, core::ByteView written = {});

// The endorsement key of a TPM, as far as it can be known without using it.
struct EndorsementKey {
  const EkType* type = nullptr;
  std::vector<core::Bytes> certificates;  // DER: its own, and what the maker put behind it; or none
  std::string problem;   // what stands at a certificate's address in its stead; empty: nothing
  TPMT_PUBLIC wanted{};  // its template, filled in for this TPM
  TPM2_HANDLE persistent = 0;  // 0: it is made anew where it is used
  PublicObject object;         // its public area and name
};

// Of the types that `is_of` takes that one of which the TPM has a certificate; without any, that of
// which a key is persistent; else the first. Where a key with the certificate's public key, or by
// its template, is persistent from 0x81010000 to 0x8101ffff, it is that one. Else it is made, which
// takes seconds on some TPMs, flushed again, and kept as a saved context of this process.
// `endorsement_value`: the auth value of the endorsement hierarchy, null: none. Throws kKeyChanged
// where the certificate is for another key than the TPM has, kNoObject where the TPM cannot make
// the key. Commands: 2 lists, NV_ReadPublic and NV_Read of what is there, and ReadPublic of each
// persistent key there, or CreatePrimary with what belongs to it.
EndorsementKey find_endorsement_key(Tpm& tpm, const Caller& caller,
                                    bool (*is_of)(const EkType&) noexcept,
                                    const core::Secret* endorsement_value = nullptr);
// The same of one type.
EndorsementKey find_endorsement_key(Tpm& tpm, const Caller& caller, const EkType& type,
                                    const core::Secret* endorsement_value = nullptr);

// The one of that name, of whatever type: a persistent one, else one that is made, first of the
// types that have a certificate. nullopt: the TPM has none. Throws what is wrong with one of a type
// only where no other is meant. Commands: as above, of each type that may be meant.
std::optional<EndorsementKey> find_endorsement_key_named(
    Tpm& tpm, const Caller& caller, core::ByteView name,
    const core::Secret* endorsement_value = nullptr);

// The certificates alone, of the first of these types of which the TPM has one: no key is looked
// at, nor made. `type` is null where it has none. Commands: a list, NV_ReadPublic and NV_Read, of
// each until one is found.
EndorsementKey find_endorsement_certificates(Tpm& tpm, const Caller& caller,
                                             const std::function<bool(const EkType&)>& is_of);

}  // namespace hwid::tpm2
