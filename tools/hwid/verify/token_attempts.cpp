// What a PKCS#11 token does when it is asked for a key: device_checks.h.
#include "provider/pkcs11/errors.h"
#include "tools/hwid/verify/device_checks.h"
#include "tools/prove_key_stays/extraction.h"
#include "tools/prove_key_stays/private_value.h"

namespace hwid::tool::verify {
namespace {

using prove::Attempt;
using prove::Outcome;

Finding finding_of(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::kAllowed:
      return Finding::kBad;
    case Outcome::kRefused:
    case Outcome::kUnable:
      return Finding::kGood;
    case Outcome::kNeedless:
      return Finding::kNote;
    default:
      return Finding::kWarning;
  }
}

std::string allowed(const Attempt& attempt) {
  if (attempt.bytes == 0) return "the token allowed it, so it can be taken out";
  return std::to_string(attempt.bytes) + " bytes came out, and were wiped at once";
}

const char* why_unable(CK_RV answer) noexcept {
  switch (answer) {
    case CKR_ATTRIBUTE_TYPE_INVALID:
      return "the token has no such value";
    case CKR_FUNCTION_NOT_SUPPORTED:
      return "the token cannot do that at all";
    default:
      return "not possible with such a key";
  }
}

std::string meaning_of(const Attempt& attempt) {
  const auto with_remark = [&attempt](const std::string& text) {
    return attempt.remark.empty() ? text : text + ": " + attempt.remark;
  };
  switch (attempt.outcome) {
    case Outcome::kAllowed:
      return with_remark(allowed(attempt));
    case Outcome::kHollow:
      return with_remark("the token noted it down, and nothing came out all the same");
    case Outcome::kRefused:
      return with_remark("refused");
    case Outcome::kUnable:
      return with_remark(why_unable(attempt.answer.value_or(CKR_OK)));
    case Outcome::kUnclear:
      return with_remark("nothing came out, but this is no refusal");
    case Outcome::kNeedless:
      return "it is so already";
    case Outcome::kNotTried:
      break;
  }
  return with_remark("could not be tried");
}

std::string answer_of(const Attempt& attempt) {
  return attempt.answer ? pkcs11::code_name(*attempt.answer) : "not asked";
}

}  // namespace

void attempt_on_token(const core::Libcrypto& crypto, const pkcs11::Key& key, Report& report) {
  std::vector<Attempt> attempts;
  const core::KeyDescription& description = key.description();
  const auto is_value = [&](CK_ATTRIBUTE_TYPE attribute, core::ByteView bytes) {
    return prove::is_private_value(crypto, key.public_key(), attribute, bytes);
  };
  key.with_object([&](pkcs11::Lease& lease, CK_OBJECT_HANDLE object) {
    const pkcs11::Place place{description.token, core::name_of(description), {}};
    CK_SESSION_INFO session{};
    pkcs11::check(lease->C_GetSessionInfo(lease.session(), &session), "C_GetSessionInfo", place);
    attempts = prove::try_to_extract({lease.operator->(), lease.session(), session.slotID, place},
                                     object, is_value);
  });
  for (const Attempt& attempt : attempts)
    report.add(Group::kAttempts, attempt.call, answer_of(attempt), finding_of(attempt.outcome),
               meaning_of(attempt));
}

}  // namespace hwid::tool::verify
