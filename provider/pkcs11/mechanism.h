// From a signature scheme to PKCS#11 mechanisms, and what to do where one is missing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/key.h"
#include "provider/core/libcrypto.h"
#include "provider/pkcs11/cryptoki.h"

namespace hwid::pkcs11 {

// What C_Sign is given.
enum class PlanInput {
  kAsItIs,      // the caller's bytes
  kDigestInfo,  // DigestInfo around the digest
  kLeftmost,    // the digest, cut to the size of the curve's order (FIPS 186-5, 6.4.1)
  kEmsaPkcs1,   // padded in software, for the raw operation
  kEmsaPss,     // likewise
  kMessage,     // the whole message: the token hashes
};

// One way to make a signature.
struct SignPlan {
  CK_MECHANISM_TYPE mechanism = 0;
  PlanInput input = PlanInput::kAsItIs;
  std::optional<CK_RSA_PKCS_PSS_PARAMS> pss;
  unsigned memory = 0;           // which bit remembers what the token said of it
  std::uint64_t parameters = 0;  // names digest, MGF1 and salt size, among plans of that bit
};

// The ways to make a signature of `scheme`, best first: the raw mechanism over a digest made in
// software, a padding made in software over CKM_RSA_X_509, a mechanism that hashes in the token.
struct SignPlans {
  std::array<SignPlan, 3> plans;
  std::size_t count = 0;
  const SignPlan* begin() const noexcept { return plans.data(); }
  const SignPlan* end() const noexcept { return plans.data() + count; }
};
SignPlans plans_for(const core::SignScheme& scheme) noexcept;

// The bytes for C_Sign: of `input` where they are there, else made in `room`. Throws what
// core/rsa_padding.h throws.
core::ByteView prepare_input(const core::Libcrypto& crypto, const SignPlan& plan,
                             const core::SignScheme& scheme, core::ByteView input,
                             const core::PublicKey& key, core::Bytes& room);

// What one key may do: the CKA_ALLOWED_MECHANISMS it was made with, and what the token was seen to
// accept and to refuse. Thread-safe.
class MechanismChoice {
 public:
  using List = std::vector<CK_MECHANISM_TYPE>;
  explicit MechanismChoice(List allowed) : allowed_(std::move(allowed)) {}

  // The best plan for a digest or for a message; nullopt if there is none. `offered`: the token's
  // mechanisms, or null where they are not known.
  std::optional<SignPlan> choose(const core::SignScheme& scheme, const List* offered,
                                 bool for_message) const noexcept;

  // See core::Key::sign_input.
  core::SignInput sign_input(const core::SignScheme& scheme, const List* offered) const noexcept;

  void accept(const SignPlan& plan) noexcept;

  // CKR_MECHANISM_INVALID is remembered for the digest; any other answer may be about the salt or
  // the MGF, and is remembered for just these, the newest few.
  void refuse(const SignPlan& plan, CK_RV rv) noexcept;

 private:
  bool is_open(const SignPlan& plan, const List* offered) const noexcept;
  const List allowed_;
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::array<std::atomic<std::uint64_t>, 16> refused_parameters_{};  // 0: empty
  std::atomic<unsigned> next_parameters_{0};
};

// Of CKM_EDDSA (PKCS#11 v3.0, 2.3.15), pointing into the scheme; none for plain Ed25519.
std::optional<EddsaParams> eddsa_params(const core::SignScheme& scheme,
                                        core::Algorithm algorithm) noexcept;

// True for an answer that means "not by this mechanism".
bool is_mechanism_refusal(CK_RV rv, const SignPlan& plan) noexcept;

std::string mechanism_name(CK_MECHANISM_TYPE mechanism);

// "CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS": those among `offered` that sign with a key of `algorithm`.
std::string signing_mechanisms(const std::vector<CK_MECHANISM_TYPE>& offered,
                               core::Algorithm algorithm);

bool is_pss_mechanism(CK_MECHANISM_TYPE mechanism) noexcept;

// What a key for PSS only may do: the value of its CKA_ALLOWED_MECHANISMS.
std::vector<CK_MECHANISM_TYPE> pss_mechanisms();

}  // namespace hwid::pkcs11
