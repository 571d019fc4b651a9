#include "provider/pkcs11/token.h"

#include <algorithm>

namespace hwid::pkcs11 {

using core::Access;
using core::Error;
using core::KeyDescription;
using core::KeyUri;
using core::Object;
using core::Reason;
using core::Wanted;

namespace {

// A class in the template only where no pair is looked for: a private key's public half comes by
// the same search.
SearchFor search_for(const KeyUri& uri, const Wanted& wanted) {
  SearchFor search{uri.object(), uri.id(), std::nullopt};
  if (!wanted.private_keys && !wanted.others && wanted.public_keys != wanted.certificates)
    search.object_class = wanted.public_keys ? CKO_PUBLIC_KEY : CKO_CERTIFICATE;
  return search;
}

}  // namespace

Token::Token(std::shared_ptr<SharedToken> token, const TokenPolicy& policy, core::Standing standing,
             const CK_TOKEN_INFO* fresh_info)
    : token_(std::move(token)),
      policy_(policy),
      standing_(standing),
      info_(fresh_info != nullptr ? *fresh_info : CK_TOKEN_INFO{}),
      info_is_fresh_(fresh_info != nullptr) {}

Credentials Token::credentials(const Access& access, const core::PinChain& pins) {
  return {policy_, access.log, access.audit, &pins, info_is_fresh_.load() ? &info_ : nullptr};
}

std::vector<Object> Token::find(const KeyUri& uri, const Wanted& asked, const Access& access) {
  Wanted wanted = asked;
  if (!wanted.private_keys && !wanted.public_keys && !wanted.certificates && !wanted.others)
    return {};
  const SharedToken::Hold hold(
      token_, KeptPin::For::kCall);  // a PIN that is given now lasts until keys hold it
  const bool needs_login = token_->needs_login(policy_);
  using Login = core::BackendConfig::Login;
  const bool always = policy_.login == Login::kAlways;
  const bool only_public = wanted.only_halves && policy_.login == Login::kPrivate;
  bool login = needs_login && ((wanted.private_keys && !only_public) || wanted.others || always);
  if (login && !log_in_if_possible(uri, wanted, access)) {
    login = false;
    wanted.private_keys = false;
  }
  std::vector<Object> found = search(uri, wanted, access, login);
  if (!found.empty() || login || !needs_login || token_->logged_in()) return found;

  // Public objects may be private ones to the token: log in if nobody need be asked.
  if (policy_.login == Login::kPrivate) return found;
  Access quiet = access;
  quiet.pins.prompt = nullptr;
  try {
    log_in(quiet);
  } catch (const Error& error) {
    if (error.reason != Reason::kPinMissing) throw;
    return found;
  }
  return search(uri, wanted, quiet, true);
}

void Token::log_in(const Access& access) {
  const Credentials with = credentials(access, access.pins);
  token_->with_session({true, false, with}, [](Lease&, bool) {});
  info_is_fresh_ = false;
}

// False if no PIN can be had and the URI is content with public objects.
bool Token::log_in_if_possible(const KeyUri& uri, const Wanted& wanted, const Access& access) {
  try {
    log_in(access);
    return true;
  } catch (const Error& error) {
    const bool content = !uri.names_object() && !uri.type() &&
                         (wanted.public_keys || wanted.certificates || wanted.others);
    if (error.reason != Reason::kPinMissing || !content) throw;
    HWID_LOG(access.log, kInfo, std::string("public objects only: ") + error.what());
    return false;
  }
}

std::vector<Object> Token::search(const KeyUri& uri, const Wanted& wanted, const Access& access,
                                  bool login) {
  const Credentials with = credentials(access, access.pins);
  bool always_authenticate = false;
  std::vector<Object> found = token_->with_session({login, false, with}, [&](Lease& lease, bool) {
    const SearchFor searched = search_for(uri, wanted);
    std::vector<ObjectAttributes> objects = find_objects(lease, searched, token_->place());
    // A login that was lost underneath hides private objects and is no error by itself.
    const bool hidden = login && wanted.private_keys &&
                        std::ranges::none_of(objects, [](const ObjectAttributes& object) {
                          return object.object_class == CKO_PRIVATE_KEY;
                        });
    if (hidden) token_->require_user(lease);
    always_authenticate = std::ranges::any_of(objects, &ObjectAttributes::always_authenticate);
    return pick({lease, objects, searched, uri, wanted, access});
  });
  if (login) keep_pin_for(found, always_authenticate, access);
  const auto hold = std::make_shared<SharedToken::Hold>(token_, KeptPin::For::kKey);
  for (Object& object : found) {
    if (object.key) object.hold = hold;
  }
  return found;
}

// The PIN in use must outlast the login where it is needed again: in a child, after a loss, for
// CKA_ALWAYS_AUTHENTICATE. Someone else may have logged in, and then it was not asked for.
void Token::keep_pin_for(const std::vector<Object>& objects, bool always_authenticate,
                         const Access& access) {
  if (std::ranges::none_of(objects, [](const Object& object) { return object.key != nullptr; }))
    return;
  core::PinChain pins = access.pins;
  if (!always_authenticate) pins.prompt = nullptr;
  token_->keep_pin(credentials(access, pins));
}

// The URI that opened it, or one that names this object where that one only listed.
KeyDescription Token::describe(const ObjectAttributes& object, const KeyUri* uri) const {
  KeyDescription description{"pkcs11", token_->label(), object.label, object.id, {}};
  if (uri != nullptr && uri->names_object()) {
    description.uri = uri->text();
    return description;
  }
  std::string text = "pkcs11:token=" + core::uri_escape(token_->label());
  if (names_serial_ && !serial().empty()) text += ";serial=" + core::uri_escape(serial());
  if (!object.label.empty()) text += ";object=" + core::uri_escape(object.label);
  if (!object.id.empty()) text += ";id=" + core::uri_escape_id(object.id);
  const char* const type = type_name(object.object_class);
  description.uri = *type != '\0' ? text + ";type=" + type : text;
  return description;
}

std::shared_ptr<const core::Key> Token::make_key(const ObjectAttributes& object,
                                                 const core::PublicKey& public_key,
                                                 KeyDescription description, const Access& access,
                                                 std::uint64_t handle_generation,
                                                 std::shared_ptr<const void> in_session) const {
  KeyContext context{access.crypto, access.log, access.audit, policy_};
  // The section's PIN serves a key that was opened with it.
  const core::PinChain& own = policy_.configured;
  if (access.pins.uri_value != nullptr || access.pins.uri_source != nullptr ||
      access.pins.configured_value != own.configured_value ||
      access.pins.configured_source != own.configured_source)
    context.policy.configured = {};
  return std::make_shared<Key>(token_, context, std::move(description), public_key, object,
                               handle_generation, std::move(in_session));
}

core::Object Token::unwrap(core::ByteView, const Access&) {
  throw core::Error(core::Reason::kUnsupported, "TSS2 PRIVATE KEY:" + place_text(token_->place()) +
                                                    ": a TPM made it, and this token is none; "
                                                    "configure a backend of `type = tpm2`");
}

core::Secret Token::random(std::size_t size, const Access& access) {
  const Credentials nobody = credentials(access, access.pins);
  return token_->with_session(SessionRequest{false, false, nobody}, [&](Lease& lease, bool) {
    core::Secret bytes(size);
    check(lease->C_GenerateRandom(lease.session(), bytes.writable().data(), size),
          "C_GenerateRandom", token_->place());
    return bytes;
  });
}

}  // namespace hwid::pkcs11
