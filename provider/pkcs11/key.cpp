#include "provider/pkcs11/key.h"

#include "provider/pkcs11/inventory.h"
#include "provider/pkcs11/public_half.h"
#include "provider/pkcs11/quirks.h"
#include "provider/pkcs11/recovered_half.h"

namespace hwid::pkcs11 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::SignScheme;

namespace {

bool fits(SignScheme::Kind kind, core::Algorithm algorithm) noexcept {
  switch (kind) {
    case SignScheme::Kind::kEcdsa:
      return algorithm == core::Algorithm::kEc;
    case SignScheme::Kind::kEddsa:
      return core::is_edwards(algorithm);
    case SignScheme::Kind::kRsaPss:
      return core::is_rsa(algorithm);
    default:
      return algorithm == core::Algorithm::kRsa;
  }
}

std::string object_name(const core::KeyDescription& description) {
  return description.label.empty() ? "id:" + core::to_hex(description.id) : description.label;
}

}  // namespace

Key::Key(std::shared_ptr<SharedToken> token, const KeyContext& context,
         core::KeyDescription description, core::PublicKey public_key,
         const ObjectAttributes& object, std::uint64_t handle_generation,
         std::shared_ptr<const void> in_session)
    : token_(std::move(token)),
      in_session_(std::move(in_session)),
      context_(context),
      credentials_{context_.policy, context_.log, context_.audit, nullptr, nullptr},
      description_(std::move(description)),
      public_key_(std::move(public_key)),
      place_{description_.token, object_name(description_), {}},
      always_authenticate_(object.always_authenticate),
      copies_(context_.policy.cache_keys && !always_authenticate_ && !in_session_ &&
              quirks_of(token_->info()).copy_keys),
      may_sign_(object.may_sign),
      mechanisms_(object.allowed_mechanisms) {
  Whereabouts& where = whereabouts_.get();
  where.handle = object.handle;
  where.generation = handle_generation;
}

core::SignInput Key::sign_input(const SignScheme& scheme) const noexcept {
  return mechanisms_.sign_input(scheme, token_->known_mechanisms());
}

void Key::check_kind(const SignScheme& scheme) const {
  if (fits(scheme.kind, public_key_.algorithm())) return;
  throw Error(Reason::kBadParameter, "C_SignInit:" + place_text(place_) + ": " +
                                         core::scheme_text(scheme) + " is not for a key of type " +
                                         core::algorithm_name(public_key_.algorithm()) +
                                         "; use another padding, or another key");
}

Bytes Key::sign(const SignScheme& scheme, ByteView input) const {
  check_kind(scheme);
  const SessionRequest request{token_->needs_login(context_.policy), false, credentials_};
  return token_->with_session(request, [&](Lease& lease, bool again) {
    return sign_on(lease, signing_handle(lease, again), scheme, input);
  });
}

core::Protection Key::protection() const {
  const SessionRequest request{token_->needs_login(context_.policy), false, credentials_};
  return token_->with_session(request, [&](Lease& lease, bool again) {
    return read_protection(lease, locate(lease, again), place_);
  });
}

void Key::with_object(const ObjectBody& body) const {
  SessionRequest request{token_->needs_login(context_.policy), true, credentials_};
  const auto run = [&](Lease& lease, bool again) { body(lease, locate(lease, again)); };
  try {
    token_->with_session(request, run);
  } catch (const TokenError& error) {
    if (error.rv != CKR_TOKEN_WRITE_PROTECTED) throw;
    request.read_write = false;
    token_->with_session(request, run);
  }
}

void Key::with_signing_object(const ObjectBody& body) const {
  const SessionRequest request{token_->needs_login(context_.policy), false, credentials_};
  token_->with_session(
      request, [&](Lease& lease, bool again) { body(lease, signing_handle(lease, again)); });
}

core::TokenInfo Key::device_info() const {
  const SessionRequest request{token_->needs_login(context_.policy), false, credentials_};
  return token_->with_session(request, [&](Lease& lease, bool) {
    CK_SESSION_INFO info{};
    check(lease->C_GetSessionInfo(lease.session(), &info), "C_GetSessionInfo", token_->place());
    return inspect_slot(lease.use(), info.slotID, token_->module_path(), description_.backend, {});
  });
}

std::shared_ptr<const void> Key::hold(const core::PinChain& pins) const {
  auto held = std::make_shared<SharedToken::Hold>(token_, KeptPin::For::kKey);
  core::PinChain chain = pins;
  if (!always_authenticate_) chain.prompt = nullptr;  // as when it was found: Token::keep_pin_for
  Credentials with = credentials_;
  with.pins = &chain;
  if (token_->needs_login(context_.policy)) token_->keep_pin(with);
  return held;
}

Bytes Key::sign_on(Lease& lease, CK_OBJECT_HANDLE handle, const SignScheme& scheme,
                   ByteView input) const {
  Attempt failed;
  for (std::size_t tries = 0; tries < SignPlans{}.plans.size(); ++tries) {
    const auto plan = mechanisms_.choose(scheme, token_->known_mechanisms(), scheme.message);
    if (!plan) break;
    Bytes room;
    const ByteView prepared =
        prepare_input(context_.crypto, *plan, scheme, input, public_key_, room);
    Bytes signature;
    const Attempt made = attempt(lease, handle, *plan, scheme, prepared, signature);
    HWID_LOG(credentials_.log, kDebug,
             std::string(made.call) + ":" + place_text(place_) + ": " + core::scheme_text(scheme) +
                 " by " + mechanism_name(plan->mechanism) + ": " + code_name(made.rv));
    if (made.rv == CKR_OK) {
      require_form(scheme, input, signature);
      mechanisms_.accept(*plan);
      return signature;
    }
    if (!is_mechanism_refusal(made.rv, *plan)) raise_refusal(made);
    failed = made;
    mechanisms_.refuse(*plan, made.rv);
    (void)token_->mechanisms(lease);  // so that the next plan is one that the token has
  }
  raise_missing(lease, scheme, failed);
}

// A token may take no notice of a context or of prehashing (SoftHSM): its signature is the plain
// one then, which says something else.
void Key::require_form(const SignScheme& scheme, ByteView message, ByteView signature) const {
  if (!scheme.prehash && scheme.context.empty()) return;
  SignScheme plain = scheme;
  plain.prehash = false;
  plain.context = {};
  if (!core::verifies(context_.crypto, public_key_, plain, message, signature)) return;
  throw Error(
      Reason::kMechanismMissing,
      "C_Sign:" + place_text(place_) + ": " + core::scheme_text(scheme) +
          ": the token makes the plain form of the signature instead; leave that out, or use "
          "another token");
}

Key::Attempt Key::attempt(Lease& lease, CK_OBJECT_HANDLE handle, const SignPlan& plan,
                          const SignScheme& scheme, ByteView input, Bytes& signature) const {
  CK_MECHANISM mechanism{plan.mechanism, nullptr, 0};
  std::optional<EddsaParams> eddsa;
  if (plan.mechanism == kEddsa) eddsa = eddsa_params(scheme, public_key_.algorithm());
  if (eddsa) {
    mechanism.pParameter = &*eddsa;
    mechanism.ulParameterLen = sizeof *eddsa;
  }
  std::optional<CK_RSA_PKCS_PSS_PARAMS> pss = plan.pss;
  if (pss) {
    mechanism.pParameter = &*pss;
    mechanism.ulParameterLen = sizeof *pss;
  }
  const CK_RV init = lease->C_SignInit(lease.session(), &mechanism, handle);
  if (init == CKR_OPERATION_ACTIVE) lease.operation_begins();  // whoever began it
  if (init != CKR_OK && lease.is_stale()) return {CKR_SESSION_HANDLE_INVALID, "C_SignInit"};
  if (init != CKR_OK) return {init, "C_SignInit"};
  lease.operation_begins();
  if (always_authenticate_) token_->log_in_for_operation(lease, credentials_);

  const bool is_rsa = core::is_rsa(public_key_.algorithm());
  const std::size_t expected = public_key_.field_size() * (is_rsa ? 1 : 2);
  signature.resize(expected);
  CK_ULONG length = expected;
  // Of nothing, too, there is a signature; SoftHSM refuses a null pointer.
  CK_BYTE nothing = 0;
  const CK_RV rv = lease->C_Sign(lease.session(),
                                 input.empty() ? &nothing : const_cast<CK_BYTE_PTR>(input.data()),
                                 input.size(), signature.data(), &length);
  // An answer about the data ends the operation; after any other the session is not reused.
  if (rv == CKR_OK || is_mechanism_refusal(rv, plan) || rv == CKR_DATA_LEN_RANGE ||
      rv == CKR_DATA_INVALID)
    lease.operation_ends();
  // Where sessions were lost meanwhile, the number may be another thread's by now, and so the
  // signature; or the object vanished under the call.
  if (lease.is_stale()) return {CKR_SESSION_HANDLE_INVALID, "C_Sign"};
  if (rv == CKR_OK && length != expected)
    throw Error(Reason::kDeviceError, "C_Sign:" + place_text(place_) +
                                          ": the token made a signature of " +
                                          std::to_string(length) + " bytes instead of " +
                                          std::to_string(expected) + "; see the module's own log");
  return {rv, "C_Sign"};
}

void Key::raise_refusal(const Attempt& failed) const {
  if (failed.rv == CKR_KEY_FUNCTION_NOT_PERMITTED)
    raise(Reason::kNotPermitted, failed.rv, failed.call, place_,
          may_sign_ == false ? "the key may not sign: CKA_SIGN is false; use a signing key"
                             : "the key may not sign; use a signing key");
  raise(failed.rv, failed.call, place_);
}

void Key::raise_missing(Lease& lease, const SignScheme& scheme, const Attempt& failed) const {
  const SignPlans plans = plans_for(scheme);
  const std::string wanted = plans.count != 0 ? mechanism_name(plans.begin()->mechanism) : "none";
  std::string cause = core::scheme_text(scheme) + " needs " + wanted;
  if (sign_input(scheme) == core::SignInput::kMessage && !scheme.message)
    cause +=
        ", and this key only signs what the token hashes itself; sign the message, not its "
        "digest, and try again";
  else
    cause += "; the token offers " +
             signing_mechanisms(token_->mechanisms(lease), public_key_.algorithm()) +
             ", and the key may restrict it (CKA_ALLOWED_MECHANISMS)";
  const CK_RV rv = failed.rv != CKR_OK ? failed.rv : CKR_MECHANISM_INVALID;
  raise(Reason::kMechanismMissing, rv, failed.call, place_, cause);
}

// The object, or its copy from the second signature on: a program that makes one gains nothing.
CK_OBJECT_HANDLE Key::signing_handle(Lease& lease, bool again) const {
  if (!copies_) return locate(lease, again);
  Whereabouts& where = whereabouts_.get();
  const std::uint64_t generation = lease.handle_generation();
  bool wants_copy = false;
  {
    const std::lock_guard lock(where.mutex);
    const bool known = where.handle != CK_INVALID_HANDLE && where.generation == generation;
    if (known && !again) {
      if (where.copy) return *where.copy;
      wants_copy = std::exchange(where.has_signed, true);
      if (!wants_copy) return where.handle;
    } else if (known && where.copy && *where.copy != where.handle) {
      token_->copies().forget(where.handle, *where.copy);
    }
  }
  const CK_OBJECT_HANDLE object = locate(lease, again);
  if (!wants_copy) return object;
  const auto copy = token_->copies().get(lease, object, place_, context_.log);
  if (!copy) return object;
  const std::lock_guard lock(where.mutex);
  if (where.handle != object || where.generation != generation) return object;
  where.copy = *copy != CK_INVALID_HANDLE ? *copy : object;
  return *where.copy;
}

CK_OBJECT_HANDLE Key::locate(Lease& lease, bool again) const {
  Whereabouts& where = whereabouts_.get();
  const std::uint64_t generation = lease.handle_generation();
  if (!again) {
    const std::lock_guard lock(where.mutex);
    if (where.handle != CK_INVALID_HANDLE && where.generation == generation) return where.handle;
  }
  const CK_OBJECT_HANDLE handle = find_again(lease);
  const std::lock_guard lock(where.mutex);
  where.handle = handle;
  where.generation = generation;
  where.has_signed = true;  // this is for a signature
  where.copy.reset();
  return handle;
}

// By label and id, and only the key whose public half is ours.
CK_OBJECT_HANDLE Key::find_again(Lease& lease) const {
  SearchFor same;
  if (!description_.label.empty()) same.label = description_.label;
  if (!description_.id.empty()) same.id = description_.id;
  std::vector<ObjectAttributes> objects = find_objects(lease, same, place_);
  const std::vector<PrivateKeyObject> keys =
      private_keys(lease, context_.crypto, objects, same, place_);
  for (const PrivateKeyObject& key : keys) {
    const bool is_same = key.public_key ? *key.public_key == public_key_
                                        : is_private_half_of(lease, context_.crypto, key.attributes,
                                                             public_key_, place_);
    if (is_same) return key.attributes.handle;
  }
  if (keys.empty() && token_->needs_login(context_.policy)) token_->require_user(lease);
  if (keys.empty() && in_session_)
    throw Error(Reason::kNoObject, "C_FindObjects:" + place_text(place_) +
                                       ": the key was in a session (pkcs11_ephemeral) and is gone "
                                       "with it; generate another");
  if (keys.empty())
    throw Error(Reason::kNoObject, "C_FindObjects:" + place_text(place_) +
                                       ": the key is no longer on the token; open it again, or "
                                       "list the token: openssl storeutl pkcs11:");
  throw Error(Reason::kKeyChanged, "C_FindObjects:" + place_text(place_) +
                                       ": another key stands in this key's place; open the URI "
                                       "again to use it");
}

}  // namespace hwid::pkcs11
