// What a token holds, sorted for people: keys with their certificates, then the rest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/facts.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

struct HeldCertificate {
  core::Object object;
  std::optional<CertificateFacts> facts;  // unset: it cannot be parsed
};

// A private key, or a public one without a private one.
struct HeldKey {
  core::Object object;
  std::optional<core::PublicKey> public_key;
  std::optional<core::Protection> protection;  // of a private key whose device answered
  std::vector<std::size_t> certificates;       // of Holdings::certificates
  bool is_private() const noexcept { return object.object_class == core::ObjectClass::kPrivateKey; }
};

struct Holdings {
  std::vector<HeldKey> keys;
  std::vector<HeldCertificate> certificates;
  std::vector<core::Object> others;
};

// Asks each private key for its protection.
Holdings sorted(const core::Libcrypto& crypto, std::vector<core::Object> objects);

void print(Output& out, const Holdings& holdings);
Json to_json(const Holdings& holdings);

}  // namespace hwid::tool
