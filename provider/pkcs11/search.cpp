#include "provider/pkcs11/search.h"

#include <array>
#include <shared_mutex>

#include "provider/pkcs11/session_copies.h"

namespace hwid::pkcs11 {
namespace {

constexpr std::size_t kMostObjects = std::size_t{1} << 20;  // a module may give the same for ever

// C_FindObjectsFinal on every way out: a session with an active search is good for nothing.
class FindOperation {
 public:
  explicit FindOperation(Lease& lease) : lease_(lease) {}
  ~FindOperation() {
    if (lease_->C_FindObjectsFinal(lease_.session()) == CKR_OK) lease_.operation_ends();
  }
  FindOperation(const FindOperation&) = delete;
  FindOperation& operator=(const FindOperation&) = delete;

 private:
  Lease& lease_;
};

// PKCS#11 templates point to non-const and are not written to.
CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, const void* value, std::size_t size) {
  return {type, const_cast<void*>(value), static_cast<CK_ULONG>(size)};
}

}  // namespace

std::vector<CK_OBJECT_HANDLE> find_handles(Lease& lease, const SearchFor& wanted,
                                           const Place& place) {
  std::vector<CK_ATTRIBUTE> attributes;
  if (wanted.object_class)
    attributes.push_back(attribute(CKA_CLASS, &*wanted.object_class, sizeof(CK_OBJECT_CLASS)));
  if (wanted.label)
    attributes.push_back(attribute(CKA_LABEL, wanted.label->data(), wanted.label->size()));
  if (wanted.id) attributes.push_back(attribute(CKA_ID, wanted.id->data(), wanted.id->size()));

  const std::shared_lock no_copy_begins(lease.searches());
  const CK_RV init = lease->C_FindObjectsInit(
      lease.session(), attributes.empty() ? nullptr : attributes.data(), attributes.size());
  if (init == CKR_OPERATION_ACTIVE) lease.operation_begins();  // whoever began it
  check(init, "C_FindObjectsInit", place);
  lease.operation_begins();
  const FindOperation operation(lease);
  std::vector<CK_OBJECT_HANDLE> handles;
  while (handles.size() < kMostObjects) {
    std::array<CK_OBJECT_HANDLE, 64> batch{};
    CK_ULONG count = 0;
    check(lease->C_FindObjects(lease.session(), batch.data(), batch.size(), &count),
          "C_FindObjects", place);
    if (count > batch.size()) count = batch.size();
    handles.insert(handles.end(), batch.begin(), batch.begin() + count);
    if (count < batch.size()) return handles;
  }
  throw core::Error(
      core::Reason::kDeviceError,
      "C_FindObjects:" + place_text(place) + ": the search does not end; see the module's own log");
}

std::vector<ObjectAttributes> find_objects(Lease& lease, const SearchFor& wanted,
                                           const Place& place) {
  std::vector<ObjectAttributes> objects;
  for (const CK_OBJECT_HANDLE handle : find_handles(lease, wanted, place))
    objects.push_back(read_object(lease, handle, place));
  std::erase_if(objects, [](const ObjectAttributes& object) { return object.label == kCopyLabel; });
  return objects;
}

bool belong_together(const ObjectAttributes& key, const ObjectAttributes& other) {
  if (!key.id.empty()) return key.id == other.id;
  return other.id.empty() && key.label == other.label;
}

const char* type_name(CK_OBJECT_CLASS object_class) noexcept {
  switch (object_class) {
    case CKO_PRIVATE_KEY:
      return "private";
    case CKO_PUBLIC_KEY:
      return "public";
    case CKO_CERTIFICATE:
      return "cert";
    case CKO_SECRET_KEY:
      return "secret-key";
    case CKO_DATA:
      return "data";
    default:
      return "";
  }
}

namespace {

std::string name_of(const ObjectAttributes& object) {
  const std::string none = "(none)";
  return "object=" + (object.label.empty() ? none : core::name_text(object.label)) +
         " id=" + (object.id.empty() ? none : core::name_text(core::uri_escape_id(object.id)));
}

}  // namespace

void require_one(const std::vector<const ObjectAttributes*>& matches, const core::KeyUri& uri,
                 const Place& place) {
  if (matches.size() < 2 || !uri.names_object()) return;
  std::vector<std::string> names;
  names.reserve(matches.size());
  for (const ObjectAttributes* object : matches) names.push_back(name_of(*object));
  throw core::Error(core::Reason::kSeveralObjects,
                    uri.text() + ":" + place_text(place) + ": " + std::to_string(matches.size()) +
                        " keys match: " + core::list_text(names) + "; add id=... to the URI" +
                        (uri.id() ? ", or object=..." : ""));
}

}  // namespace hwid::pkcs11
