// Copies of token objects in a session, for tokens that are faster with them (quirks.h).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>

#include "provider/core/log.h"
#include "provider/pkcs11/errors.h"
#include "provider/pkcs11/session_pool.h"

namespace hwid::pkcs11 {

// CKA_LABEL of a copy, which has no CKA_ID: nobody who looks for the key finds it twice.
inline constexpr std::string_view kCopyLabel = "hwid: a key's copy in a session";

// One copy of an object serves all sessions of the process, whoever opened the key. It dies with
// the session that made it, or with the login; a call then answers CKR_OBJECT_HANDLE_INVALID, and
// the object itself serves. Thread-safe.
class SessionCopies {
 public:
  explicit SessionCopies(const SessionCopies* inherited);

  // The copy of `object`, made on `lease` if there is none. CK_INVALID_HANDLE: none is to be had
  // until handles change. Nullopt: another thread is making it, or searches. What the token refuses
  // is logged, not thrown.
  std::optional<CK_OBJECT_HANDLE> get(Lease& lease, CK_OBJECT_HANDLE object, const Place& place,
                                      const core::Log& log);

  // `copy` of `object` may be dead: another is made when it is asked for.
  void forget(CK_OBJECT_HANDLE object, CK_OBJECT_HANDLE copy);

 private:
  // Who looks at the module's files. SoftHSM reads a key's again to copy it, and where it no longer
  // can (after setuid or chroot) the key is lost that would else sign on from memory.
  struct Viewer {
    uid_t user;
    dev_t root_device;
    ino_t root;
    bool operator==(const Viewer&) const = default;
  };
  static Viewer viewer() noexcept;

  const Viewer first_viewer_;
  std::mutex mutex_;           // never held over a call
  std::uint64_t handles_ = 0;  // generation of what follows
  std::map<CK_OBJECT_HANDLE, std::optional<CK_OBJECT_HANDLE>> copies_;  // nullopt: being made
  std::size_t forgotten_ = 0;  // too often since: copies do not last
};

}  // namespace hwid::pkcs11
