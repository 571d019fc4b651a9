// Every way that PKCS#11 knows to get a private key out of a token, tried for real.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/secret.h"
#include "provider/pkcs11/errors.h"

namespace hwid::prove {

// A logged-in session on a token, for one thread. Borrowed. Read/write where the token can be
// written: in a read-only one a refusal may mean just that.
struct TokenAccess {
  const CK_FUNCTION_LIST* functions;
  CK_SESSION_HANDLE session;
  CK_SLOT_ID slot;
  pkcs11::Place place;  // of the key

  const CK_FUNCTION_LIST* operator->() const noexcept { return functions; }
};

// A call that the module may not have at all: null in its list.
template <typename Function, typename... Arguments>
CK_RV ask(Function function, Arguments... arguments) {
  return function != nullptr ? function(arguments...) : CKR_FUNCTION_NOT_SUPPORTED;
}

enum class Outcome {
  kAllowed,   // it came out, or is no longer protected
  kHollow,    // the token says that it is no longer protected, and nothing comes out all the same
  kRefused,   // the token keeps it
  kUnable,    // the token cannot do that with such a key at all, protected or not
  kUnclear,   // nothing came out, and the answer is no refusal
  kNeedless,  // there is nothing to change: it is unprotected already
  kNotTried,
};

struct Attempt {
  std::string call;             // "C_WrapKey CKM_AES_KEY_WRAP"
  std::optional<CK_RV> answer;  // of the call that decided; nothing: none was made
  Outcome outcome = Outcome::kNotTried;
  std::size_t bytes = 0;    // that came out; they are cleansed
  std::string remark = {};  // what else there is to say: "taken back"
};

// Reading the key's private attributes, making it or a copy of it extractable, and wrapping it by
// a fresh session key under each mechanism that the token offers for wrapping. Leaves the token as
// it was: a copy that succeeds is a session object, and destroyed again, as are the session keys;
// an attribute that could be changed is changed back (what the token has for its past,
// CKA_NEVER_EXTRACTABLE, may be lost by that). Throws pkcs11::TokenError where the token or its
// session went away: what that would answer is no refusal.
// `is_value`: tells whether bytes are a private value of the key, for what stands in the buffer of
// a refusal.
using IsValue = std::function<bool(CK_ATTRIBUTE_TYPE attribute, core::ByteView bytes)>;
std::vector<Attempt> try_to_extract(const TokenAccess& token, CK_OBJECT_HANDLE key,
                                    const IsValue& is_value);
std::vector<Attempt> try_to_read(const TokenAccess& token, CK_OBJECT_HANDLE key,
                                 const IsValue& is_value);  // its private attributes alone

// Attributes that would give the key away.
struct PrivateAttribute {
  CK_ATTRIBUTE_TYPE type;
  const char* name;
};
std::vector<PrivateAttribute> private_attributes(CK_KEY_TYPE type);

CK_KEY_TYPE key_type(const TokenAccess& token, CK_OBJECT_HANDLE key);  // throws TokenError

// The value of an attribute and the answer that came with it. What stands in the buffer came out,
// whatever the answer says; empty: nothing did.
struct ReadValue {
  CK_RV rv;
  core::Secret value;
};
ReadValue read_attribute(const TokenAccess& token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);

// Throws TokenError for an answer that is about the session or the token as a whole.
void require_alive(CK_RV rv, const char* call, const pkcs11::Place& place);

// What an answer to an attempt means where it is not CKR_OK.
Outcome outcome_of(CK_RV rv) noexcept;

}  // namespace hwid::prove
