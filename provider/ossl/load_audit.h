// The audit events of keys that are opened.
#pragma once

#include <chrono>
#include <vector>

#include "provider/core/backend.h"
#include "provider/ossl/provider.h"

namespace hwid::ossl {

// One for each private key that OpenSSL takes, however often the search for it is made, and one for
// each search that fails.
class LoadAudit {
 public:
  explicit LoadAudit(const Provider& provider) noexcept : provider_(provider) {}

  // What `search`, which is for private keys among others, finds. `uri` is null for a key that came
  // by itself.
  template <typename Search>
  std::vector<core::Object> search(const core::KeyUri* uri, Search&& search) {
    if (provider_.audit() == nullptr) return search();
    const auto begin = std::chrono::steady_clock::now();
    std::vector<core::Object> found =
        core::audited<core::Audited::kFailures>(provider_.audit(), sought(uri), search);
    duration_ = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - begin);
    return found;
  }
  // OpenSSL has it.
  void taken(const core::Object& object) const;

 private:
  static core::AuditEvent sought(const core::KeyUri* uri);

  const Provider& provider_;
  std::chrono::microseconds duration_{};
};

}  // namespace hwid::ossl
