// What an NV index may hold, which anybody may have written who may write to the TPM.
#include <openssl/err.h>

#include "fuzz/property.h"
#include "provider/tpm2/endorsement.h"
#include "provider/tpm2/nv_certificates.h"

namespace {

using namespace hwid;
using core::Bytes;
using core::ByteView;
using fuzz::require;

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

void check_certificates(ByteView content) {
  const tpm2::NvCertificates found = tpm2::certificates_in(crypto(), content);
  require(found.all.empty() != found.problem.empty(), "certificates, or a problem");
  require(found.problem.empty() || found.rest.empty(), "a problem is told once");
  Bytes together;
  for (const Bytes& der : found.all) {
    require(core::parse_certificate(crypto(), der) != nullptr, "what is found is a certificate");
    together.insert(together.end(), der.begin(), der.end());
  }
  require(found.all.empty() || found.public_key.empty(), "certificates, or a public key");
  if (!found.public_key.empty())
    require(tpm2::certificates_in(crypto(), found.public_key).public_key == found.public_key,
            "written by itself it is the same public key");
  if (found.all.empty()) return;
  const tpm2::NvCertificates again = tpm2::certificates_in(crypto(), together);
  require(again.all == found.all && again.rest.empty(),
          "written one after the other it is the same");
  together.insert(together.end(), 100, 0xff);
  require(tpm2::certificates_in(crypto(), together).all == found.all, "what fills up is nothing");
}

void check_template(ByteView content) {
  for (const tpm2::EkType& type : tpm2::ek_types()) {
    fuzz::succeeds([&] { (void)tpm2::ek_template(type, content); }, {});
    fuzz::succeeds([&] { (void)tpm2::ek_template(type, {}, content); },
                   {core::Reason::kBadReference});
  }
}

}  // namespace

int LLVMFuzzerInitialize(int*, char***) {
  (void)crypto();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check_certificates({data, size});
  check_template({data, size});
  require(ERR_peek_error() == 0, "nothing is left on OpenSSL's queue");
  return 0;
}
