// What devices send to a verifier: evidence, requests for a challenge, answers, and certificate
// requests with evidence in them. Nothing that anybody writes without the AK is believed.
#include <openssl/err.h>

#include <string>

#include "fuzz/property.h"
#include "tools/attest/challenge.h"
#include "tools/attest/checks.h"
#include "tools/attest/request_evidence.h"

namespace {

using namespace hwid;
using core::Reason;
using fuzz::require;
using fuzz::succeeds;

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

// P-256's base point: everybody has its private key, 1, but no input signs by it.
TPM2B_PUBLIC trusted_ak() {
  static constexpr std::uint8_t kX[] = {0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47,
                                        0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
                                        0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0,
                                        0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96};
  static constexpr std::uint8_t kY[] = {0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b,
                                        0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
                                        0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce,
                                        0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
  TPM2B_PUBLIC ak{};
  TPMT_PUBLIC& area = ak.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                          TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_RESTRICTED |
                          TPMA_OBJECT_SIGN_ENCRYPT;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_NULL;
  ecc.scheme.scheme = TPM2_ALG_ECDSA;
  ecc.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  area.unique.ecc.x.size = area.unique.ecc.y.size = sizeof kX;
  std::copy(std::begin(kX), std::end(kX), area.unique.ecc.x.buffer);
  std::copy(std::begin(kY), std::end(kY), area.unique.ecc.y.buffer);
  return ak;
}

void check(const attest::Evidence& evidence) {
  attest::Expectation expected;
  expected.ak = trusted_ak();
  const attest::Verification found = attest::verify(crypto(), evidence, expected);
  require(!found.good(), "nobody signs without the AK");
  require(!found.fault().empty(), "what is not good is named");
  if (!evidence.key) return;
  const std::string text = attest::to_text(evidence);
  require(attest::to_text(attest::parse_evidence(text, "again")) == text, "evidence goes round");
}

}  // namespace

int LLVMFuzzerInitialize(int*, char***) {
  (void)crypto();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  attest::Evidence evidence;
  if (succeeds([&] { evidence = attest::parse_evidence(text, "fuzz"); }, {Reason::kBadParameter}))
    check(evidence);
  succeeds([&] { attest::parse_request(text, "fuzz"); }, {Reason::kBadParameter});
  succeeds([&] { attest::parse_challenge(text, "fuzz"); }, {Reason::kBadParameter});
  succeeds([&] { attest::parse_answer(text, "fuzz"); }, {Reason::kBadParameter});
  succeeds([&] { attest::parse_pending(text, "fuzz"); }, {Reason::kBadParameter});
  succeeds([&] { attest::parse_trusted(text, "fuzz"); }, {Reason::kBadParameter});
  const std::uint8_t* at = data;
  const std::unique_ptr<X509_REQ, core::FreeWith<X509_REQ_free>> request(
      d2i_X509_REQ(nullptr, &at, static_cast<long>(size)));
  std::optional<attest::Evidence> carried;
  if (request &&
      succeeds([&] { carried = attest::evidence_in(request.get(), "fuzz"); },
               {Reason::kBadParameter}) &&
      carried)
    check(*carried);
  ERR_clear_error();
  return 0;
}
