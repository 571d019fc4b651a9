// Keys that a TPM wrapped: TSS2 PRIVATE KEY as DER or PEM, and handles that tpm2-tools saved.
#include <openssl/err.h>

#include <string>

#include "fuzz/property.h"
#include "provider/core/libcrypto.h"
#include "provider/tpm2/key_file.h"
#include "provider/tpm2/policy.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/sign_scheme.h"

namespace {

using namespace hwid;
using core::Digest;
using core::Reason;
using core::SignScheme;
using fuzz::require;
using fuzz::succeeds;
using tpm2::KeyFile;
using tpm2::SavedHandle;
using tpm2::Tss2Key;

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

void check_public(const TPM2B_PUBLIC& area) {
  const core::Bytes bytes = tpm2::marshal_public(area);
  const auto again = tpm2::unmarshal_public(bytes);
  require(again && tpm2::marshal_public(*again) == bytes, "a public area goes round");
  std::size_t bits = 0;
  succeeds([&] { bits = tpm2::public_key(crypto(), area.publicArea).bits(); },
           {Reason::kUnsupported, Reason::kBadParameter});
  core::Bytes name;
  if (succeeds([&] { name = tpm2::object_name(crypto(), area.publicArea); },
               {Reason::kUnsupported}))
    require(name.size() == 2 + tpm2::hash_size(area.publicArea.nameAlg), "a name has a size");
  tpm2::KeyTraits traits;
  if (!succeeds([&] { traits = tpm2::key_traits(area.publicArea); }, {Reason::kUnsupported})) {
    require(bits == 0, "a key has traits");
    return;
  }
  require(bits == 0 || bits == traits.bits, "key and traits agree");
  const bool is_ec = traits.algorithm == core::Algorithm::kEc;
  for (const Digest digest : {Digest::kNone, Digest::kSha1, Digest::kSha256, Digest::kSha3_512}) {
    const SignScheme scheme{is_ec ? SignScheme::Kind::kEcdsa : SignScheme::Kind::kRsaPkcs1, digest};
    succeeds(
        [&] {
          const auto plans = tpm2::plans_for(scheme, traits, tpm2::PssSalt::kDigestSize);
          require(plans.count == 1 || plans.count == 2, "there is a plan, or an error");
        },
        {Reason::kMechanismMissing, Reason::kNotPermitted});
  }
}

// One that is taken is the key's, and is written as it was read.
void check_policy(const Tss2Key& key) {
  const TPMT_PUBLIC& area = key.public_area.publicArea;
  const auto policy = tpm2::policy_of_file(crypto(), key);
  require(policy->problem.has_value() == policy->alternatives.empty(), "a policy, or a problem");
  const core::Bytes wanted(area.authPolicy.buffer, area.authPolicy.buffer + area.authPolicy.size);
  for (const tpm2::Policy& each : policy->alternatives) {
    const auto digest = tpm2::policy_digest(crypto(), area.nameAlg, each);
    require(!digest || *digest == wanted, "it is the key's policy");
    if (!digest) continue;
    Tss2Key written = key;
    written.policy.clear();
    written.auth_policy.clear();
    tpm2::put_policy(crypto(), area.nameAlg, each, written);
    const auto again = tpm2::policy_of_file(crypto(), written);
    require(!again->problem && !again->alternatives.empty(), "what is written means the same");
  }
}

void check_key(const Tss2Key& key) {
  const bool hierarchy = key.parent >> 24 == 0x40;
  require(hierarchy || key.parent >> 24 == 0x81, "a parent is a hierarchy or a persistent key");
  require(key.private_area.size > 0, "there is a private part");
  const core::Bytes der = tpm2::encode_tss2(key);
  const Tss2Key again = tpm2::decode_tss2(der);
  require(again.kind == key.kind && again.empty_auth == key.empty_auth &&
              again.policy == key.policy && again.secret == key.secret &&
              again.auth_policy == key.auth_policy && again.description == key.description &&
              again.rsa_parent == key.rsa_parent && again.parent_name == key.parent_name &&
              again.parent == key.parent,
          "what is written means the same");
  require(tpm2::encode_tss2(again) == der, "there is one form");
  succeeds([&] { tpm2::require_usable(key); }, {Reason::kUnsupported});
  succeeds([&] { (void)tpm2::seed_of(key); }, {Reason::kBadReference});
  check_policy(key);
  check_public(key.public_area);
}

}  // namespace

int LLVMFuzzerInitialize(int*, char***) {
  (void)crypto();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::optional<KeyFile> file;
  succeeds(
      [&] {
        file = tpm2::parse_key_file({data, size});
      },
      {Reason::kBadReference, Reason::kUnsupported});
  if (file && std::holds_alternative<Tss2Key>(*file)) check_key(std::get<Tss2Key>(*file));
  if (file && std::holds_alternative<SavedHandle>(*file))
    check_public(std::get<SavedHandle>(*file).public_area);
  require(ERR_peek_error() == 0, "nothing is left on OpenSSL's queue");
  return 0;
}
