#include "provider/tpm2/key.h"

#include <openssl/core_names.h>

#include <algorithm>
#include <new>

#include "provider/core/rsa_padding.h"
#include "provider/tpm2/inventory.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::DecryptScheme;
using core::Error;
using core::Reason;
using core::Secret;
using core::SignScheme;

PublicObject Device::public_object(const Caller& caller, TPM2_HANDLE handle) {
  Known& known = known_.get();
  {
    const std::lock_guard lock(known.mutex);
    const auto found = known.objects.find(handle);
    if (found != known.objects.end()) return found->second;
  }
  PublicObject object = tpm_->read_public(caller, handle);
  if (handle >> TPM2_HR_SHIFT != TPM2_HT_PERSISTENT) return object;  // others come and go
  const std::lock_guard lock(known.mutex);
  return known.objects.insert_or_assign(handle, object).first->second;
}

void Device::forget() {
  Known& known = known_.get();
  const std::lock_guard lock(known.mutex);
  known.objects.clear();
}

namespace {

// A policy may allow one command only.
KeyTraits usable_traits(const TPMT_PUBLIC& area, const KeyPolicy* policy) {
  KeyTraits traits = key_traits(area);
  if (policy == nullptr || policy->problem) return traits;
  const bool is_ec = traits.algorithm == core::Algorithm::kEc;
  const auto restrict_to = [&](TPM2_CC command, bool& may, std::string& why) {
    if (!may || allows(*policy, command)) return;
    may = false;
    why = "the key's policy allows only " + allowed_text(*policy);
  };
  restrict_to(TPM2_CC_Sign, traits.sign, traits.no_sign);
  restrict_to(is_ec ? TPM2_CC_ECDH_ZGen : TPM2_CC_RSA_Decrypt, traits.decrypt, traits.no_decrypt);
  return traits;
}

}  // namespace

Key::Key(std::shared_ptr<Device> device, const Caller& provider, KeyRef ref,
         const TPMT_PUBLIC& area, core::KeyDescription description, KeySecrets secrets, Bytes tss2,
         std::optional<CreationProof> creation)
    : device_(std::move(device)),
      caller_(provider),
      ref_(std::move(ref)),
      traits_(usable_traits(area, ref_.policy.get())),
      protection_(tpm2::protection(area)),
      public_key_(tpm2::public_key(provider.crypto, area)),
      description_(std::move(description)),
      secrets_(std::move(secrets)),
      tss2_(std::move(tss2)),
      creation_(std::move(creation)) {}

std::shared_ptr<const void> Key::hold(const core::PinChain&) const { return nullptr; }

void Key::with_object(const ObjectBody& body) const {
  device_->tpm().with_object(caller_, description_.label, ref_,
                             secrets_.parent_value ? &*secrets_.parent_value : nullptr, body);
}

void Key::with_use(const UseBody& body) const {
  device_->tpm().with_connection(caller_, description_.label, [&](Tpm::Work& work) {
    body(work.commands, work.residency.prepare(work.commands, ref_, auth()));
  });
}

core::TokenInfo Key::device_info() const {
  core::TokenInfo info;
  info.kind = "tpm2";
  info.label = device_->label();
  info.module = tcti_text(device_->tpm().tcti());
  inspect(device_->tpm(), caller_, info);
  return info;
}

std::optional<core::KeyReference> Key::wrapped() const {
  if (tss2_.empty()) return std::nullopt;
  return core::KeyReference{core::kTss2Label, tss2_};
}

KeyAuth Key::auth(bool is_secret) const {
  require_opens();
  const bool lacks_value =
      secrets_.needs_value && (!secrets_.value || secrets_.value->size() == 0) && !traits_.no_da;
  if (lacks_value && verified_.load(std::memory_order_acquire) == 0)
    device_->tpm().require_no_failures(caller_, description_.label,
                                       "the key's file or policy says that it has an auth value");
  return {secrets_.value ? &*secrets_.value : nullptr,
          secrets_.parent_value ? &*secrets_.parent_value : nullptr, device_->protects(is_secret),
          ref_.policy.get()};
}

void Key::require_opens() const {
  const std::string call = command_text(traits_.sign ? TPM2_CC_Sign : TPM2_CC_RSA_Decrypt) + ":";
  if (ref_.policy && ref_.policy->problem) {
    const Error& problem = *ref_.policy->problem;
    throw Error(problem.reason, call + place_text(place()) + ": " + problem.what(), problem.where);
  }
  if (traits_.user_with_auth || ref_.policy) return;
  throw Error(Reason::kNotPermitted,
              call + place_text(place()) +
                  ": only a policy opens the key (userWithAuth is not set), and none is named; put "
                  "`policy` into the TPM's section of openssl.cnf, or ?policy=NAME into the URI");
}

core::Digest Key::only_digest() const noexcept {
  return traits_.scheme_hash == TPM2_ALG_NULL ? core::Digest::kNone
                                              : digest_of(traits_.scheme_hash);
}

core::SignInput Key::sign_input(const SignScheme&) const noexcept {
  return tpm2::sign_input(traits_);
}

namespace {

TPM2B_DIGEST digest_of_bytes(ByteView bytes) {
  TPM2B_DIGEST digest{};
  digest.size = static_cast<UINT16>(bytes.size());
  std::ranges::copy(bytes.first(std::min(bytes.size(), sizeof digest.buffer)), digest.buffer);
  return digest;
}

// `secret` at the end of `size` bytes: a TPM may leave leading zeros out.
Secret widen(Secret secret, std::size_t size, const char* call, const Place& place) {
  if (secret.size() == size) return secret;
  if (secret.size() > size)
    throw Error(Reason::kDeviceError, call + place_text(place) + ": the TPM answered " +
                                          std::to_string(secret.size()) + " bytes for a key of " +
                                          std::to_string(size) +
                                          "; check that the key is the one that was loaded");
  Secret whole(size);
  std::ranges::copy(secret.reveal(),
                    whole.writable().end() - static_cast<std::ptrdiff_t>(secret.size()));
  return whole;
}

// The TPM does not know what was asked for; another plan may do.
bool is_unknown_to_tpm(const TpmError& error) noexcept {
  const TSS2_RC code = base_code(error.rc);
  return code == TPM2_RC_HASH || code == TPM2_RC_SCHEME || code == TPM2_RC_VALUE;
}

}  // namespace

// What is judged without the TPM does not know of which key it speaks.
template <typename Judge>
auto Key::placed(const char* call, Judge&& judge) const {
  try {
    return judge();
  } catch (const Error& error) {
    throw Error(error.reason, call + place_text(place()) + ": " + error.what(), error.where);
  }
}

Bytes Key::sign(const SignScheme& scheme, ByteView input) const {
  Signature made = sign_once(scheme, input);
  if (made.generation != 0) return std::move(made.value);
  // Something else sat where ours was: loaded anew, or at the handle for good.
  made = sign_once(scheme, input);
  if (made.generation != 0) return std::move(made.value);
  raise_changed("TPM2_Sign");
}

// The next result is verified again; and that another key sits at the handle says more than what
// it answered.
void Key::rethrow(const TpmError& error) const {
  verified_.store(0, std::memory_order_release);
  const TSS2_RC code = base_code(error.rc);
  if (!ref_.blob && code < TPM2_RC_VER1) {  // the command is to blame, not the TPM
    if (code == TPM2_RC_HANDLE)
      device_->forget();
    else if (device_->tpm().read_public(caller_, ref_.persistent).name != ref_.name)
      raise_changed(error.call);
  }
  throw TpmError(error);
}

// Generation 0: the signature is not of this key, and what made it is no longer trusted.
Key::Signature Key::sign_once(const SignScheme& scheme, ByteView input) const {
  const PssSalt salt = device_->pss_salt();
  const SignPlans plans = placed("TPM2_Sign", [&] { return plans_for(scheme, traits_, salt); });
  for (const SignPlan& plan : plans) {
    try {
      Signature made = sign_by(plan, scheme, input);
      if (is_right(plan, scheme, input, made)) {
        verified_.store(made.generation, std::memory_order_release);
        return made;
      }
      if (device_->pss_salt() != salt) return sign_once(scheme, input);  // learned just now
      device_->tpm().distrust(made.generation);
      return {};
    } catch (const TpmError& error) {
      if (&plan == plans.end() - 1 || !is_unknown_to_tpm(error)) rethrow(error);
    }
  }
  return {};  // there is always a plan
}

Key::Signature Key::sign_by(const SignPlan& plan, const SignScheme& scheme, ByteView input) const {
  const Bytes prepared = placed(
      "TPM2_Sign", [&] { return prepare_input(caller_.crypto, plan, scheme, input, traits_); });
  Tpm& tpm = device_->tpm();
  HWID_LOG(caller_.log, kDebug,
           command_text(plan.command == SignPlan::Command::kRawRsa ? TPM2_CC_RSA_Decrypt
                                                                   : TPM2_CC_Sign) +
               ":" + place_text(place()) + ": " + core::scheme_text(scheme) +
               (plan.command == SignPlan::Command::kHashSign ? ", hashed by the TPM" : ""));
  if (plan.command == SignPlan::Command::kRawRsa) {
    Made<Secret> made = tpm.rsa_decrypt(caller_, ref_, auth(), prepared, {TPM2_ALG_NULL, {}});
    const Secret whole =
        widen(std::move(made.value), traits_.field_size(), "TPM2_RSA_Decrypt", place());
    return {{whole.reveal().begin(), whole.reveal().end()}, made.generation};
  }
  const Made<TPMT_SIGNATURE> made =
      plan.command == SignPlan::Command::kHashSign
          ? tpm.sign_message(caller_, ref_, auth(), prepared, plan.hash, plan.scheme)
          : tpm.sign(caller_, ref_, auth(), digest_of_bytes(prepared), plan.scheme);
  return {signature_bytes(made.value, traits_), made.generation};
}

// Verified where nothing that this generation made was yet, and where the salt is the TPM's choice.
bool Key::is_right(const SignPlan& plan, const SignScheme& scheme, ByteView input,
                   const Signature& made) const {
  const bool is_tpms_salt = scheme.kind == SignScheme::Kind::kRsaPss &&
                            plan.command != SignPlan::Command::kRawRsa &&
                            !device_->is_pss_salt_known();
  if (!is_tpms_salt && !device_->verify_all() &&
      verified_.load(std::memory_order_acquire) == made.generation)
    return true;
  Bytes hashed;
  if (plan.command == SignPlan::Command::kHashSign) {
    const core::EvpMd md = caller_.crypto.fetch_digest(core::digest_name(scheme.digest));
    hashed = core::hash(md.get(), {input});
    input = hashed;
  }
  if (!core::verifies(caller_.crypto, public_key_, scheme, input, made.value))
    return is_tpms_salt && learns_salt(scheme, input, made.value);
  if (is_tpms_salt) device_->set_pss_salt(device_->pss_salt());
  return true;
}

// False always: with another salt it is not the signature that was asked for.
bool Key::learns_salt(const SignScheme& scheme, ByteView digest, ByteView signature) const {
  SignScheme other = scheme;
  other.salt_size = pss_salt_size(PssSalt::kLargest, scheme.digest, traits_.bits);
  if (other.salt_size != scheme.salt_size &&
      core::verifies(caller_.crypto, public_key_, other, digest, signature)) {
    HWID_LOG(caller_.log, kInfo,
             "TPM2_Sign:" + place_text(place()) + ": this TPM makes PSS salts of " +
                 std::to_string(other.salt_size) + " bytes");
    device_->set_pss_salt(PssSalt::kLargest);
  }
  return false;
}

void Key::raise_changed(const char* call) const {
  if (ref_.blob)
    throw Error(Reason::kDeviceError,
                call + place_text(place()) +
                    ": the result is not one of this key, twice; another program may load keys at "
                    "its handle: use a resource manager (device:/dev/tpmrm0)");
  device_->forget();
  throw Error(Reason::kKeyChanged, call + place_text(place()) + ": another key sits at " +
                                       hex(ref_.persistent) + " now; open the key again");
}

void Key::require_decrypt(const char* what) const {
  if (traits_.decrypt && !traits_.restricted) return;
  throw Error(
      Reason::kNotPermitted,
      what + place_text(place()) +
          (traits_.restricted
               ? std::string(": the key is restricted: it serves as a parent or signs for the TPM "
                             "only")
               : ": " + traits_.no_decrypt) +
          "; use a key that may decrypt");
}

// There is no signature to verify. A session has the TPM compare names; without one, what sits at
// the key's handle is asked for its name, once for each that is loaded and each connection.
template <typename Use>
Secret Key::use_verified(const char* call, Use&& use) const {
  HWID_LOG(caller_.log, kDebug, std::string(call) + ":" + place_text(place()));
  const bool by_session = device_->protects(true);
  constexpr int kMostTries = 8;
  for (int tries = 1;; ++tries) {
    Bytes there;
    try {
      Made<Secret> made = use();
      if (by_session || verified_.load(std::memory_order_acquire) == made.generation)
        return std::move(made.value);
      there = device_->tpm().name_at(caller_, ref_, made.generation);
      if (there == ref_.name) {
        verified_.store(made.generation, std::memory_order_release);
        return std::move(made.value);
      }
      device_->tpm().distrust(made.generation);
    } catch (const TpmError& error) {
      rethrow(error);
    }
    // Empty: another thread's key took its place meanwhile.
    if (tries == kMostTries || (!there.empty() && (tries > 1 || !ref_.blob))) raise_changed(call);
  }
}

// What a TPM says of a padding that is not right must not show in what is done next: an error of
// ours, which use_verified does not look into.
Secret Key::rsa_decrypt(ByteView input, bool padded_by_tpm) const {
  return use_verified("TPM2_RSA_Decrypt", [&] {
    try {
      return device_->tpm().rsa_decrypt(caller_, ref_, auth(true), input, {TPM2_ALG_NULL, {}});
    } catch (const TpmError& error) {
      // libtpms says TPM_RC_FAILURE of it.
      const TSS2_RC code = base_code(error.rc);
      const bool may_be = code == TPM2_RC_VALUE || code == TPM2_RC_SIZE || code == TPM2_RC_FAILURE;
      if (!padded_by_tpm || !may_be) throw;
      throw Error(Reason::kDecryptionFailed, error.code,
                  call_text(error.call, error.rc, place()) +
                      ": the ciphertext is damaged, or was made for another key, padding or "
                      "label; see who made it",
                  error.where);
    }
  });
}

// TPMs answer a number that is too large as they answer their own failures.
void Key::require_below_modulus(ByteView number) const {
  BIGNUM* modulus = nullptr;
  EVP_PKEY_get_bn_param(public_key_.pkey(), OSSL_PKEY_PARAM_RSA_N, &modulus);
  const core::BigNum owner(modulus);
  const core::BigNum given(BN_bin2bn(number.data(), static_cast<int>(number.size()), nullptr));
  if (modulus == nullptr || given == nullptr) throw std::bad_alloc();
  if (number.size() != traits_.field_size() || BN_cmp(given.get(), modulus) >= 0)
    throw Error(Reason::kDecryptionFailed,
                "TPM2_RSA_Decrypt:" + place_text(place()) +
                    ": the ciphertext is damaged, or was made for another key: it is no number "
                    "below this one's modulus; see who made it");
}

Secret Key::decrypt(const DecryptScheme& scheme, ByteView ciphertext) const {
  using Kind = DecryptScheme::Kind;
  if (traits_.algorithm == core::Algorithm::kEc)
    throw Error(Reason::kBadParameter, "TPM2_RSA_Decrypt:" + place_text(place()) +
                                           ": only RSA keys decrypt; use one that is");
  require_decrypt("TPM2_RSA_Decrypt");
  require_below_modulus(ciphertext);
  const bool is_fixed = traits_.scheme != TPM2_ALG_NULL;
  if (scheme.kind == Kind::kRsaRaw && !is_fixed)
    return widen(rsa_decrypt(ciphertext, false), traits_.field_size(), "TPM2_RSA_Decrypt", place());
  // Any padding can be taken off in software, in constant time, where the key has no scheme.
  const bool by_itself =
      is_fixed && ((scheme.kind == Kind::kRsaPkcs1 && traits_.scheme == TPM2_ALG_RSAES) ||
                   (scheme.kind == Kind::kRsaOaep && traits_.scheme == TPM2_ALG_OAEP &&
                    scheme.label.empty() && scheme.oaep_digest == scheme.mgf1_digest &&
                    hash_algorithm(scheme.oaep_digest) == traits_.scheme_hash));
  if (by_itself) return rsa_decrypt(ciphertext, true);
  throw Error(Reason::kMechanismMissing,
              "TPM2_RSA_Decrypt:" + place_text(place()) +
                  (is_fixed ? ": the key was made for " + algorithm_text(traits_.scheme) +
                                  " only; use that, or make a key without a scheme"
                            : ": the padding is taken off in software; use the raw operation"));
}

Secret Key::derive(ByteView peer) const {
  if (traits_.algorithm != core::Algorithm::kEc)
    throw Error(Reason::kBadParameter, "TPM2_ECDH_ZGen:" + place_text(place()) +
                                           ": only EC keys agree on a secret; use one that is");
  require_decrypt("TPM2_ECDH_ZGen");
  const std::size_t size = traits_.field_size();
  constexpr std::uint8_t kUncompressed = 0x04;
  TPMS_ECC_POINT point{};
  if (peer.size() != 1 + 2 * size || peer[0] != kUncompressed || size > sizeof point.x.buffer)
    throw Error(Reason::kBadParameter,
                "TPM2_ECDH_ZGen:" + place_text(place()) +
                    ": the peer's point has another form or curve; use a key of the same curve");
  point.x.size = point.y.size = static_cast<UINT16>(size);
  std::ranges::copy(peer.subspan(1, size), point.x.buffer);
  std::ranges::copy(peer.subspan(1 + size), point.y.buffer);
  return widen(
      use_verified("TPM2_ECDH_ZGen",
                   [&] { return device_->tpm().ecdh_zgen(caller_, ref_, auth(true), point); }),
      size, "TPM2_ECDH_ZGen", place());
}

}  // namespace hwid::tpm2
