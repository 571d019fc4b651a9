// How a verifier learns that an attestation key (AK) is in the TPM of an endorsement key (EK): a
// secret that only this TPM gives out, and only where the AK is in it (TPM 2.0 Part 1, 24).
//
//   device                verifier
//   Request        ->     EK certificate, AK's attributes; Challenge out, Pending kept
//   Answer         ->     by the Pending alone: the AK is accepted, once
//
// Neither side here needs a TPM: what a device's TPM does is in provider/tpm2/attester.h.
#pragma once

#include <ctime>
#include <string>

#include "provider/core/secret.h"
#include "provider/tpm2/credential.h"
#include "tools/attest/certificates.h"
#include "tools/attest/structures.h"

namespace hwid::attest {

// What a device says of itself. Anybody can write one.
struct Request {
  TPM2B_PUBLIC ek{};
  core::Bytes ek_certificate;  // DER
  TPM2B_PUBLIC ak{};
};
inline constexpr char kRequestFormat[] = "hwid-attestation-request";
std::string to_text(const Request& request);
Request parse_request(const std::string& text, const std::string& file);

// What goes to the device. Not secret: only the TPM can open it.
struct Challenge {
  std::string id;
  core::Bytes ak_name;
  core::Bytes ek_name;
  tpm2::Credential credential;
};
inline constexpr char kChallengeFormat[] = "hwid-attestation-challenge";
std::string to_text(const Challenge& challenge);
// Also of the file of tpm2_makecredential, which has neither id nor names.
Challenge parse_challenge(const std::string& content, const std::string& file);

// What the verifier keeps. Who can write it decides who is accepted. The secret itself is not in
// it: a digest that binds it to this AK, EK and time, so that no part of one state fits another.
struct Pending {
  std::string id;
  TPM2B_PUBLIC ak{};
  core::Bytes ek_certificate;
  std::time_t expires = 0;
  core::Bytes proof;
};
inline constexpr char kPendingFormat[] = "hwid-attestation-state";
std::string to_text(const Pending& pending);
Pending parse_pending(const std::string& text, const std::string& file);

// What comes back. The secret alone decides; the rest is for better words where it is wrong.
struct Answer {
  std::string id;       // empty: not said
  core::Bytes ak_name;  // likewise
  core::Secret secret;
};
inline constexpr char kAnswerFormat[] = "hwid-attestation-answer";
std::string to_text(const Answer& answer);  // holds the secret: the only copy, to be cleansed
// Also of what tpm2_activatecredential writes: the secret by itself, which is shorter than any such
// file.
Answer parse_answer(const std::string& text, const std::string& file);

// Why no challenge is made; empty: one may be.
std::string fault_of(const core::Libcrypto& crypto, const Request& request,
                     const Anchors& ek_anchors);

struct Made {
  Challenge challenge;
  Pending pending;
};
// REQUIRES: fault_of(request) is empty.
Made make_challenge(const core::Libcrypto& crypto, const Request& request, std::time_t expires);

// Why the AK is not accepted; empty: it is. Compares in constant time.
std::string fault_of(const core::Libcrypto& crypto, const Pending& pending, const Answer& answer,
                     std::time_t now);

}  // namespace hwid::attest
