// Finding objects.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/core/uri.h"
#include "provider/pkcs11/attributes.h"

namespace hwid::pkcs11 {

// What is searched for. Without a class the halves of a pair and their certificate come by one
// search.
struct SearchFor {
  std::optional<std::string> label;
  std::optional<core::Bytes> id;
  std::optional<CK_OBJECT_CLASS> object_class;
};

// Three calls for up to 64 objects, one more for each 64 more. Private objects are only found by
// who is logged in.
std::vector<CK_OBJECT_HANDLE> find_handles(Lease& lease, const SearchFor& wanted,
                                           const Place& place);

// And one call for each of them: its attributes. Without the copies that we made in sessions.
std::vector<ObjectAttributes> find_objects(Lease& lease, const SearchFor& wanted,
                                           const Place& place);

// A private key and what has the same CKA_ID (the same label, where the key has no id).
bool belong_together(const ObjectAttributes& key, const ObjectAttributes& other);

// The URI's word for a class, RFC 7512, section 2.3; empty if it has none.
const char* type_name(CK_OBJECT_CLASS object_class) noexcept;

// What an object is that is no use as a key: "data", "secret key AES".
std::string kind_text(const ObjectAttributes& object);

// A URI that names an object must mean one of its class: throws kSeveralObjects.
void require_one(const std::vector<const ObjectAttributes*>& matches, const core::KeyUri& uri,
                 const Place& place);

}  // namespace hwid::pkcs11
