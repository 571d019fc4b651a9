// The endorsement key (EK) of the TPM in which an attestation key is.
#pragma once

#include <string>

#include "provider/tpm2/attester.h"
#include "provider/tpm2/endorsement.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::attestation {

// --ek; `otherwise`: which it is without the option.
void add_ek_option(po::options_description& options, const std::string& what,
                   const std::string& otherwise = "the one that has a certificate");
// and --endorsement-auth-source
void add_endorsement_options(po::options_description& options,
                             const std::string& otherwise = "the one that has a certificate");
void add_ek_certificate_option(po::options_description& options);  // --ek-cert
core::Bytes given_ek_certificate(Invocation& invocation);  // its file's, DER; empty: not given

class Endorsement {
 public:
  // By the options, or without them the one of that name. Asks the TPM, and may have it make the
  // key: see tpm2::find_endorsement_key, find_endorsement_key_named. Throws kUnsupported where the
  // TPM has none of that name.
  Endorsement(Invocation& invocation, const tpm2::Key& ak, const core::Bytes& name = {});

  TPM2B_PUBLIC public_area() const { return {0, key_.object.public_area}; }
  core::Bytes certificate() const;  // DER; empty: the TPM has none
  // What stands at its address in its stead; empty: nothing.
  const std::string& problem() const noexcept { return key_.problem; }
  std::string text() const;  // "RSA 2048, persistent at 0x81010001": for people
  core::Secret activate(const tpm2::Key& ak, const tpm2::Credential& credential) const;

 private:
  std::shared_ptr<const core::Secret> value_;
  tpm2::EndorsementKey key_;
};

// The EK certificate that the TPM has, DER, of the kind that --ek names; empty: none, or it cannot
// be read. Of a kind that is named either is an error (kNoObject, and what reading it throws). No
// key is made.
core::Bytes ek_certificate_of(Invocation& invocation, const tpm2::Key& ak);

}  // namespace hwid::tool::attestation
