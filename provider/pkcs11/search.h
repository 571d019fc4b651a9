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

}  // namespace hwid::pkcs11
