#include "provider/backends.h"

#include <utility>

#include "provider/pkcs11/backend.h"
#include "provider/tpm2/backend.h"

namespace hwid {

std::vector<std::unique_ptr<core::Backend>> make_backends(const core::Config& config,
                                                          const core::Log& log) {
  std::vector<std::unique_ptr<core::Backend>> all;
  for (const core::BackendConfig& backend : config.backends) {
    if (backend.type == "tpm2") {
      all.push_back(tpm2::make_backend(backend));
      continue;
    }
    for (auto& made : pkcs11::make_backends(backend, config, log)) all.push_back(std::move(made));
  }
  return all;
}

}  // namespace hwid
