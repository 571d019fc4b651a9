// What a TPM proves to others, by an attestation key (AK) of its own.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "provider/tpm2/credential.h"
#include "provider/tpm2/endorsement.h"
#include "provider/tpm2/key.h"

namespace hwid::tpm2 {

// Borrows the key. Every method is a use of it, with what that may throw, and asks the TPM anew.
// What comes out is the device's word: whoever relies on it checks it, the maker as well (a handle
// is no identity). Thread-safe as the key is.
class Attester {
 public:
  // Throws kNotPermitted where the key is none that attests: restricted, and for signing only.
  explicit Attester(const Key& ak);

  // The public area as the TPM has it, of any key. Throws kKeyChanged where it is another key's.
  static TPM2B_PUBLIC public_area(const Key& key);

  // That `object` is in the same TPM, with the public area that it has. Its auth value is needed.
  Attested certify(const Key& object, core::ByteView nonce) const;
  // How `object` was made: while its hierarchy has the same seed.
  Attested certify_creation(const Key& object, const CreationProof& creation,
                            core::ByteView nonce) const;
  Attested quote(const TPML_PCR_SELECTION& pcrs, core::ByteView nonce) const;
  std::vector<PcrValue> pcr_values(const TPML_PCR_SELECTION& pcrs) const;

  // The endorsement key of the TPM in which this key is: see find_endorsement_key.
  // `endorsement_value`: the auth value of that hierarchy; null: none.
  template <typename Which>
  EndorsementKey endorsement_key(Which&& which, const core::Secret* endorsement_value) const {
    return find_endorsement_key(tpm(), ak_.caller_, std::forward<Which>(which), endorsement_value);
  }
  // The one of that name; nullopt: the TPM has none: see find_endorsement_key_named.
  std::optional<EndorsementKey> endorsement_key_named(core::ByteView name,
                                                      const core::Secret* endorsement_value) const {
    return find_endorsement_key_named(tpm(), ak_.caller_, name, endorsement_value);
  }
  // The first certificate that the TPM has of one of these types, DER; empty: it has none. No key
  // is made.
  core::Bytes ek_certificate(const std::function<bool(const EkType&)>& is_of) const;

  // The secret that somebody made for this key in the TPM with `endorsement_key`. Throws
  // kNotPermitted where it was made for another key or TPM.
  core::Secret activate(const EndorsementKey& endorsement_key,
                        const core::Secret* endorsement_value, const Credential& credential) const;

 private:
  void require_same_tpm(const Key& object) const;
  Tpm& tpm() const noexcept { return ak_.device_->tpm(); }
  // What certifies a key needs no policy of it: its auth value does (ADMIN role).
  static KeyAuth value_of(const Key& object);

  const Key& ak_;
};

}  // namespace hwid::tpm2
