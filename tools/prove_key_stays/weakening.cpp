#include "tools/prove_key_stays/weakening.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tools/prove_key_stays/wrapping.h"

namespace hwid::prove {
namespace {

// An attribute that protects the key, and its value that does not.
struct Protection {
  CK_ATTRIBUTE_TYPE type;
  CK_BBOOL weak;
  const char* weakened;
};
// In this order: once it is extractable too, a value that is not sensitive can be read.
constexpr std::array<Protection, 2> kProtections{
    {{CKA_EXTRACTABLE, CK_TRUE, "CKA_EXTRACTABLE=true"},
     {CKA_SENSITIVE, CK_FALSE, "CKA_SENSITIVE=false"}}};

// True, false, or nothing where the token does not tell.
std::optional<bool> read_flag(const TokenAccess& token, CK_OBJECT_HANDLE object,
                              CK_ATTRIBUTE_TYPE type) {
  CK_BBOOL value = CK_FALSE;
  CK_ATTRIBUTE attribute{type, &value, sizeof value};
  const CK_RV rv = token->C_GetAttributeValue(token.session, object, &attribute, 1);
  require_alive(rv, "C_GetAttributeValue", token.place);
  if (rv != CKR_OK || attribute.ulValueLen != sizeof value) return std::nullopt;
  return value != CK_FALSE;
}

bool is_weak(const TokenAccess& token, CK_OBJECT_HANDLE object, const Protection& protection) {
  return read_flag(token, object, protection.type) == (protection.weak != CK_FALSE);
}

CK_RV set_flag(const TokenAccess& token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
               CK_BBOOL value) {
  CK_ATTRIBUTE attribute{type, &value, sizeof value};
  return ask(token->C_SetAttributeValue, token.session, object, &attribute, CK_ULONG{1});
}

// What comes out of an object that is said to be no longer protected.
void probe(const TokenAccess& token, CK_OBJECT_HANDLE object, const Protection& protection,
           const IsValue& is_value, Attempt& attempt) {
  std::vector<Attempt> tries = try_to_read(token, object, is_value);
  bool is_doubtful = false;
  for (Attempt& wrapping : try_to_wrap(token, object)) {
    is_doubtful |= wrapping.outcome == Outcome::kUnclear || wrapping.outcome == Outcome::kNotTried;
    tries.push_back(std::move(wrapping));
  }
  const auto out = std::ranges::find(tries, Outcome::kAllowed, &Attempt::outcome);
  if (out != tries.end()) {
    attempt.outcome = Outcome::kAllowed;
    attempt.bytes = out->bytes;
    attempt.remark = "by " + out->call;
    return;
  }
  const bool may_leave = is_doubtful && protection.type == CKA_EXTRACTABLE;
  attempt.outcome = may_leave ? Outcome::kAllowed : Outcome::kHollow;
}

std::string call_of(const Protection& protection) {
  return std::string("C_SetAttributeValue ") + protection.weakened;
}

// Makes the key as it was when it goes.
class Weakened {
 public:
  Weakened(const TokenAccess& token, CK_OBJECT_HANDLE key) : token_(token), key_(key) {}
  ~Weakened() {
    for (const Protection* const protection : protections_) restore(*protection);
  }
  Weakened(const Weakened&) = delete;
  Weakened& operator=(const Weakened&) = delete;

  Attempt attempt(const Protection& protection, const IsValue& is_value) {
    Attempt attempt{call_of(protection), std::nullopt, Outcome::kNeedless};
    if (is_weak(token_, key_, protection)) return attempt;
    const CK_RV rv = set_flag(token_, key_, protection.type, protection.weak);
    require_alive(rv, "C_SetAttributeValue", token_.place);
    attempt.answer = rv;
    attempt.outcome = outcome_of(rv);
    if (rv == CKR_OK) protections_.push_back(&protection);
    const std::optional<bool> now = read_flag(token_, key_, protection.type);
    const bool took_effect = now ? *now == (protection.weak != CK_FALSE) : rv == CKR_OK;
    if (took_effect) {
      probe(token_, key_, protection, is_value, attempt);
    } else if (rv == CKR_OK) {
      protections_.pop_back();  // to set it all the same would change what was otherwise
      attempt.outcome = Outcome::kRefused;
      attempt.remark = "the token says so, and changed nothing";
    }
    return attempt;
  }

  // Now; what could not be is told in the attempt.
  void restore_all(std::vector<Attempt>& attempts) {
    std::vector<std::pair<const Protection*, CK_RV>> restored;
    for (const Protection* const protection : std::exchange(protections_, {}))
      restored.emplace_back(protection, restore(*protection));
    for (const auto& [protection, rv] : restored) {
      const bool is_done = rv == CKR_OK && !is_weak(token_, key_, *protection);
      for (Attempt& attempt : attempts) {
        if (is_done || attempt.call != call_of(*protection)) continue;
        attempt.remark = "AND COULD NOT BE CHANGED BACK: " + pkcs11::code_name(rv);
      }
    }
  }

 private:
  CK_RV restore(const Protection& protection) const noexcept {
    return set_flag(token_, key_, protection.type,
                    protection.weak != CK_FALSE ? CK_FALSE : CK_TRUE);
  }

  const TokenAccess& token_;
  const CK_OBJECT_HANDLE key_;
  std::vector<const Protection*> protections_;  // that were changed
};

// A copy in the session, destroyed when it goes.
class Copy {
 public:
  Copy(const TokenAccess& token, CK_OBJECT_HANDLE key, std::vector<const Protection*> weakened)
      : token_(token) {
    CK_BBOOL in_session = CK_FALSE;
    std::array<CK_BBOOL, kProtections.size()> values{};
    std::vector<CK_ATTRIBUTE> wanted{{CKA_TOKEN, &in_session, sizeof in_session}};
    for (std::size_t i = 0; i < weakened.size(); ++i) {
      values[i] = weakened[i]->weak;
      wanted.push_back({weakened[i]->type, &values[i], sizeof values[i]});
    }
    rv = ask(token->C_CopyObject, token.session, key, wanted.data(),
             static_cast<CK_ULONG>(wanted.size()), &object);
  }
  ~Copy() {
    if (rv == CKR_OK && object != CK_INVALID_HANDLE)
      ask(token_->C_DestroyObject, token_.session, object);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  CK_RV rv = CKR_OK;
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;

 private:
  const TokenAccess& token_;
};

Attempt copy(const TokenAccess& token, CK_OBJECT_HANDLE key,
             const std::vector<const Protection*>& weakened, const IsValue& is_value) {
  Attempt attempt{"C_CopyObject", std::nullopt, Outcome::kNeedless};
  for (const Protection* const protection : weakened)
    attempt.call.append(" ").append(protection->weakened);
  const auto is_so = [&](CK_OBJECT_HANDLE object) {
    return std::ranges::all_of(weakened,
                               [&](const Protection* one) { return is_weak(token, object, *one); });
  };
  if (is_so(key)) return attempt;
  const Copy made(token, key, weakened);
  require_alive(made.rv, "C_CopyObject", token.place);
  attempt.answer = made.rv;
  attempt.outcome = outcome_of(made.rv);
  if (made.rv != CKR_OK) return attempt;
  attempt.outcome = Outcome::kRefused;
  if (made.object == CK_INVALID_HANDLE)
    attempt.remark = "the token says so, and made nothing";
  else if (!is_so(made.object))
    attempt.remark = "the copy is as protected as the key";
  else
    probe(token, made.object, *weakened.front(), is_value, attempt);
  return attempt;
}

bool was_done(const Attempt& attempt) {
  return attempt.outcome == Outcome::kAllowed || attempt.outcome == Outcome::kHollow;
}

}  // namespace

std::vector<Attempt> try_to_weaken(const TokenAccess& token, CK_OBJECT_HANDLE key,
                                   const IsValue& is_value) {
  std::vector<Attempt> attempts;
  attempts.reserve(2 * kProtections.size() + 1);
  for (const Protection& protection : kProtections)
    attempts.push_back(copy(token, key, {&protection}, is_value));
  if (std::ranges::all_of(attempts, was_done))
    attempts.push_back(copy(token, key, {&kProtections[0], &kProtections[1]}, is_value));
  Weakened weakened(token, key);
  for (const Protection& protection : kProtections)
    attempts.push_back(weakened.attempt(protection, is_value));
  weakened.restore_all(attempts);
  return attempts;
}

}  // namespace hwid::prove
