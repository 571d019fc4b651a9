#include "provider/pkcs11/session_copies.h"

#include <sys/stat.h>
#include <unistd.h>

#include <iterator>
#include <shared_mutex>
#include <string>

namespace hwid::pkcs11 {

namespace {

constexpr std::size_t kMostForgotten = 16;

// All other attributes are the object's: a sensitive key stays one. (SoftHSM refuses to be told.)
CK_OBJECT_HANDLE copy_into_session(const Lease& lease, CK_OBJECT_HANDLE object, const Place& place,
                                   const core::Log& log) {
  CK_BBOOL no = CK_FALSE;
  std::string label(kCopyLabel);
  CK_ATTRIBUTE changed[] = {
      {CKA_TOKEN, &no, sizeof no}, {CKA_LABEL, label.data(), label.size()}, {CKA_ID, nullptr, 0}};
  CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
  const CK_RV rv =
      lease->C_CopyObject == nullptr
          ? CKR_FUNCTION_NOT_SUPPORTED
          : lease->C_CopyObject(lease.session(), object, changed, std::size(changed), &copy);
  if (rv == CKR_OK) return copy;
  HWID_LOG(log, kInfo,
           call_text("C_CopyObject", rv, place) +
               ": no copy in a session; signing with the token's own object");
  return CK_INVALID_HANDLE;
}

}  // namespace

SessionCopies::SessionCopies(const SessionCopies* inherited)
    : first_viewer_(inherited != nullptr ? inherited->first_viewer_ : viewer()) {}

SessionCopies::Viewer SessionCopies::viewer() noexcept {
  struct stat root {};
  (void)stat("/", &root);
  return {geteuid(), root.st_dev, root.st_ino};
}

std::optional<CK_OBJECT_HANDLE> SessionCopies::get(Lease& lease, CK_OBJECT_HANDLE object,
                                                   const Place& place, const core::Log& log) {
  const std::uint64_t generation = lease.handle_generation();
  // SoftHSM gives the copy the key's own label and CKA_ID first: a search would find the key twice.
  std::unique_lock no_search(lease.searches(), std::try_to_lock);
  if (!no_search) return std::nullopt;
  {
    const std::lock_guard lock(mutex_);
    if (handles_ != generation) {
      copies_.clear();
      forgotten_ = 0;
      handles_ = generation;
    }
    if (forgotten_ > kMostForgotten) return CK_INVALID_HANDLE;
    const auto [entry, is_new] = copies_.try_emplace(object);
    if (!is_new) return entry->second;
  }
  const CK_OBJECT_HANDLE copy =
      viewer() == first_viewer_ ? copy_into_session(lease, object, place, log) : CK_INVALID_HANDLE;
  no_search.unlock();
  if (copy != CK_INVALID_HANDLE) lease.has_objects();
  const std::lock_guard lock(mutex_);
  if (handles_ == generation) copies_[object] = copy;
  return copy;
}

void SessionCopies::forget(CK_OBJECT_HANDLE object, CK_OBJECT_HANDLE copy) {
  const std::lock_guard lock(mutex_);
  const auto known = copies_.find(object);
  if (known == copies_.end() || known->second != copy) return;
  copies_.erase(known);
  ++forgotten_;
}

}  // namespace hwid::pkcs11
