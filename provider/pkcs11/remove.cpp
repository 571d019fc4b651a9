// Token::remove: core/backend.h.
#include <algorithm>
#include <array>

#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Access;
using core::Error;
using core::KeyUri;
using core::Object;
using core::ObjectClass;
using core::Reason;
using core::Removal;

namespace {

constexpr const char* kCall = "C_DestroyObject";

ObjectClass class_of(const ObjectAttributes& object) {
  switch (object.object_class) {
    case CKO_PRIVATE_KEY:
      return ObjectClass::kPrivateKey;
    case CKO_PUBLIC_KEY:
      return ObjectClass::kPublicKey;
    case CKO_CERTIFICATE:
      return ObjectClass::kCertificate;
    default:
      return ObjectClass::kOther;
  }
}

using Objects = std::vector<ObjectAttributes>;

std::string name_of(const ObjectAttributes& object) {
  return class_of(object) == ObjectClass::kPrivateKey    ? "private key"
         : class_of(object) == ObjectClass::kPublicKey   ? "public key"
         : class_of(object) == ObjectClass::kCertificate ? "certificate"
                                                         : kind_text(object);
}

// What is there, each kind once: "certificate, secret key AES".
std::string kinds_text(const Objects& objects) {
  std::string text;
  std::vector<std::string> said;
  for (const ObjectAttributes& object : objects) {
    const std::string name = name_of(object);
    if (std::ranges::find(said, name) != said.end()) continue;
    said.push_back(name);
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

// How the URI and the command say that these are meant.
std::string how_to_mean(const Objects& objects) {
  std::string types;
  bool has_other = false;
  for (const ObjectAttributes& object : objects) {
    const std::string type = std::string("type=") + type_name(object.object_class);
    if (class_of(object) == ObjectClass::kOther)
      has_other = true;
    else if (types.find(type) == std::string::npos)
      types += (types.empty() ? "" : " or ") + type;
  }
  std::string text = types.empty() ? "" : "name it with " + types + " in the URI";
  if (has_other)
    text +=
        (text.empty() ? "" : ", or ") + std::string("take the other object: hwid delete --other");
  return text;
}

// One key pair or object of those that match: the URI must not mean more. An object of another
// class is never part of a pair, whatever it is called.
void require_one_thing(const Objects& named, const KeyUri& uri, const Place& place) {
  const bool has_other = class_of(named.back()) == ObjectClass::kOther;  // they stand last
  if (has_other && class_of(named.front()) != ObjectClass::kOther)
    throw Error(Reason::kSeveralObjects,
                std::string(kCall) + ": " + uri.text() + place_text(place) +
                    ": several things match: " + kinds_text(named) + "; " + how_to_mean(named));
  std::vector<const ObjectAttributes*> several;
  for (const ObjectAttributes& object : named) {
    const bool is_of_first = !has_other && class_of(object) != class_of(named.front()) &&
                             belong_together(named.front(), object);
    if (&object == &named.front() || !is_of_first) several.push_back(&object);
  }
  require_one(several, uri, place);
}

bool by_class(const ObjectAttributes& a, const ObjectAttributes& b) {
  return class_of(a) < class_of(b);
}

// What the URI names, and what of its pair is stored under another label. The private key first:
// should the rest fail, nobody can use what is left.
class Condemned {
 public:
  Condemned(const KeyUri& uri, const Removal& what, const Place& place)
      : uri_(uri), what_(what), place_(place) {}

  // `again`: the token was lost, maybe before anything was found.
  void destroy_all(Lease& lease, bool again) {
    if (again && !objects_.empty())
      find_again(lease);
    else
      find(lease);
    while (gone_ < objects_.size()) {
      const ObjectAttributes& object = objects_[gone_];
      const Place place{place_.token, object.label, {}};
      if (object.handle != CK_INVALID_HANDLE)
        check(lease->C_DestroyObject(lease.session(), object.handle), kCall, place);
      ++gone_;
    }
  }

  Objects gone() const {
    return {objects_.begin(), objects_.begin() + static_cast<std::ptrdiff_t>(gone_)};
  }

 private:
  bool names(const ObjectAttributes& object) const {
    const ObjectClass object_class = class_of(object);
    return what_.takes(object_class) && (!uri_.type() || *uri_.type() == object_class);
  }

  void find(Lease& lease) {
    Objects all = find_objects(lease, {uri_.object(), uri_.id(), std::nullopt}, place_);
    std::ranges::stable_sort(all, by_class);
    Objects named;
    std::ranges::copy_if(all, std::back_inserter(named),
                         [&](const ObjectAttributes& object) { return names(object); });
    if (named.empty() && !all.empty())
      throw Error(Reason::kNoObject, "C_FindObjects: " + uri_.text() + place_text(place_) +
                                         ": nothing matches that is to be removed, but there is: " +
                                         kinds_text(all) + "; " + how_to_mean(all));
    if (named.empty())
      throw Error(Reason::kNoObject, "C_FindObjects: " + uri_.text() + place_text(place_) +
                                         ": nothing matches that is to be removed; list the "
                                         "token, and correct object=, id= or type= in the URI");
    require_one_thing(named, uri_, place_);
    if (named.front().object_class == CKO_PRIVATE_KEY) add_rest_of_pair(lease, named);
    objects_ = std::move(named);
  }

  // Two private keys of one CKA_ID share what else has it: that stays.
  void add_rest_of_pair(Lease& lease, Objects& named) const {
    const ObjectAttributes key = named.front();
    if (key.id.empty() && uri_.type() != ObjectClass::kPrivateKey) return;  // found by its label
    SearchFor rest;
    if (key.id.empty())
      rest.label = key.label;
    else
      rest.id = key.id;
    const Objects all = find_objects(lease, rest, place_);
    const auto is_private = [&](const ObjectAttributes& object) {
      return object.object_class == CKO_PRIVATE_KEY && belong_together(key, object);
    };
    if (std::ranges::count_if(all, is_private) > 1) return;
    for (const ObjectAttributes& object : all) {
      const ObjectClass object_class = class_of(object);
      const bool is_half =
          object_class == ObjectClass::kPublicKey || object_class == ObjectClass::kCertificate;
      const bool is_known = std::ranges::any_of(
          named, [&](const ObjectAttributes& known) { return known.handle == object.handle; });
      if (is_half && !is_known && what_.takes(object_class) && belong_together(key, object))
        named.push_back(object);
    }
    std::ranges::stable_sort(named, by_class);
  }

  // Handles mean nothing any more; what is not there was destroyed by a call that failed.
  void find_again(Lease& lease) {
    for (std::size_t i = gone_; i < objects_.size(); ++i) {
      ObjectAttributes& object = objects_[i];
      SearchFor same{std::nullopt, std::nullopt, object.object_class};
      if (!object.label.empty()) same.label = object.label;
      if (!object.id.empty()) same.id = object.id;
      const std::vector<CK_OBJECT_HANDLE> found = find_handles(lease, same, place_);
      if (found.size() > 1)
        throw Error(Reason::kSeveralObjects,
                    std::string(kCall) + place_text({place_.token, object.label, {}}) +
                        ": the token was lost meanwhile, and several objects look like the one "
                        "that is to go; remove it by its id=");
      object.handle = found.empty() ? CK_INVALID_HANDLE : found.front();
    }
  }

  const KeyUri& uri_;
  const Removal& what_;
  const Place& place_;
  Objects objects_;
  std::size_t gone_ = 0;
};

// An empty label or id would match what has none.
void require_name(const KeyUri& uri) {
  const bool has_label = uri.object() && !uri.object()->empty();
  const bool has_id = uri.id() && !uri.id()->empty();
  if (!has_label && !has_id)
    throw Error(Reason::kBadUri, std::string(kCall) + ": " + uri.text() +
                                     ": no object is named; add object= or id= to the URI");
}

}  // namespace

std::vector<Object> Token::remove(const KeyUri& uri, const Removal& what, const Access& access) {
  require_name(uri);
  const SharedToken::Hold hold(token_, KeptPin::For::kCall);
  const Credentials with = credentials(access, access.pins);
  const SessionRequest request{token_->needs_login(policy_), true, with};
  Condemned condemned(uri, what, token_->place());
  try {
    token_->with_session(request,
                         [&](Lease& lease, bool again) { condemned.destroy_all(lease, again); });
  } catch (const Error& error) {
    info_is_fresh_ = false;
    std::string gone;
    for (const ObjectAttributes& object : condemned.gone())
      gone += (gone.empty() ? "" : ", ") + describe(object, nullptr).uri;
    if (gone.empty()) throw;
    throw Error(error.reason, error.code,
                std::string(error.what()) + " (already removed: " + gone + ")", error.where);
  }
  info_is_fresh_ = false;
  std::vector<Object> removed;
  for (const ObjectAttributes& object : condemned.gone()) {
    Object& gone = removed.emplace_back();
    gone.object_class = class_of(object);
    gone.description = describe(object, nullptr);
    if (gone.object_class == ObjectClass::kOther) gone.description.traits = kind_text(object);
  }
  return removed;
}

}  // namespace hwid::pkcs11
