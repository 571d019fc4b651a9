// Certificates in what an NV index holds.
#pragma once

#include <string>
#include <vector>

#include "provider/core/libcrypto.h"

namespace hwid::tpm2 {

struct NvCertificates {
  std::vector<core::Bytes> all;  // DER, in their order
  std::string problem;           // what stands there in their place, for a message; empty: nothing
  bool is_empty = false;         // there is only filler
  std::string rest;              // what follows them that is none, for the log; empty: nothing
  core::Bytes public_key;        // SubjectPublicKeyInfo: what stands there instead; empty: none
};

// X.509 certificates, one or several after the other: in DER, in PEM, or in the wrapping that TCG's
// PC Client profile for TPM 1.2 has for them (TCG_PCCLIENT_STORED_CERT), which some makers went on
// writing. What fills the index up behind them (0xff, zeros) is nothing. Either `all` or `problem`
// is empty. Where there is none, a public key is looked for, in every form that OpenSSL reads. Says
// nothing of the bytes themselves, which may be anybody's secret.
NvCertificates certificates_in(const core::Libcrypto& crypto, core::ByteView content);

}  // namespace hwid::tpm2
