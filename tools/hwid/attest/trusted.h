// What a verifier trusts, as its options name it.
#pragma once

#include <optional>
#include <string>

#include "tools/attest/checks.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::attestation {

// The certificates (and CRLs) at `path`: a file, or a directory. In one of `hwid ca` the CA's own,
// and what its index has revoked. Throws kBadParameter, kNotPermitted.
attest::Anchors anchors_at(Invocation& invocation, const std::string& path);

void add_trust_options(po::options_description& options);  // --trusted-ak, --ak-ca, --ak-cert
void add_nonce_option(po::options_description& options, const char* text);

// What these options say, for attest::verify: keeps what that borrows. Neither copied nor moved.
struct Trust {
  // `ca_directory`: who certifies AKs where no option says it; empty: nobody does.
  explicit Trust(Invocation& invocation, const std::string& ca_directory = {});
  Trust(const Trust&) = delete;
  Trust& operator=(const Trust&) = delete;

  attest::Expectation expected;
  core::Bytes ak_certificate;  // of --ak-cert, in place of the evidence's own
  std::string text;            // who is believed: for people

 private:
  std::optional<attest::Anchors> ak_anchors_;
};

}  // namespace hwid::tool::attestation
