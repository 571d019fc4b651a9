// A software TPM with keys, a counting TCTI before it, and the software that judges signatures.
#pragma once

#include <doctest/doctest.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <tss2/tss2_mu.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "provider/tpm2/public_area.h"
#include "provider/tpm2/tpm.h"
#include "tests/fixture/swtpm.h"
#include "tests/tpm/spy.h"

namespace hwid::test {

inline constexpr TPM2_HANDLE kParent = 0x81000001;
inline constexpr TPM2_HANDLE kEcKey = 0x81000002;      // P-256, no auth value
inline constexpr TPM2_HANDLE kSecretKey = 0x81000003;  // P-256, auth value kAuth
inline constexpr std::string_view kAuth = "a-secret-auth-value";

inline core::Secret secret(std::string_view text) { return core::Secret(core::as_bytes(text)); }

inline TPM2B_DIGEST sha256(std::string_view text) {
  TPM2B_DIGEST digest{};
  digest.size = 32;
  EVP_Digest(text.data(), text.size(), digest.buffer, nullptr, EVP_sha256(), nullptr);
  return digest;
}

inline TPMT_SIG_SCHEME scheme(TPM2_ALG_ID algorithm) {
  TPMT_SIG_SCHEME made{};
  made.scheme = algorithm;
  made.details.any.hashAlg = TPM2_ALG_SHA256;
  return made;
}

// A signature as OpenSSL has it.
inline core::Bytes signature_bytes(const TPMT_SIGNATURE& signature) {
  if (signature.sigAlg != TPM2_ALG_ECDSA) {
    const TPM2B_PUBLIC_KEY_RSA& rsa = signature.signature.rsassa.sig;
    return {rsa.buffer, rsa.buffer + rsa.size};
  }
  const TPMS_SIGNATURE_ECC& ec = signature.signature.ecdsa;
  ECDSA_SIG* const made = ECDSA_SIG_new();
  ECDSA_SIG_set0(made, BN_bin2bn(ec.signatureR.buffer, ec.signatureR.size, nullptr),
                 BN_bin2bn(ec.signatureS.buffer, ec.signatureS.size, nullptr));
  core::Bytes der(256);
  unsigned char* at = der.data();
  der.resize(static_cast<std::size_t>(i2d_ECDSA_SIG(made, &at)));
  ECDSA_SIG_free(made);
  return der;
}

// OpenSSL's verdict.
inline bool verifies(const core::Libcrypto& crypto, const TPMT_PUBLIC& area,
                     const TPM2B_DIGEST& digest, const TPMT_SIGNATURE& signature) {
  const core::PublicKey key = tpm2::public_key(crypto, area);
  const core::EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(crypto.get(), key.pkey(), nullptr));
  const core::Bytes bytes = signature_bytes(signature);
  EVP_PKEY_verify_init(context.get());
  if (area.type == TPM2_ALG_RSA) {
    EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING);
    EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256());
  }
  return EVP_PKEY_verify(context.get(), bytes.data(), bytes.size(), digest.buffer, digest.size) ==
         1;
}

// One a process: it outlives the exit hooks of the TPMs that use it.
struct World {
  World() {
    swtpm.make_parent("0x81000001");
    swtpm.make_key({}, "0x81000002");
    Swtpm::KeyOptions with_auth;
    with_auth.auth = kAuth;
    swtpm.make_key(with_auth, "0x81000003");
  }

  // A TPM of this test alone, not the one of the process.
  std::shared_ptr<tpm2::Tpm> tpm(bool exclusive = false, tpm2::SaltKey salt = {}) {
    return std::make_shared<tpm2::Tpm>(
        tpm2::TpmSetup{swtpm.tcti(), exclusive, std::move(salt), spy.opener()});
  }

  // A persistent key, its name read by another connection.
  tpm2::KeyRef key(TPM2_HANDLE handle) {
    const tpm2::Place place;
    tpm2::Connection connection(tpm2::open_tcti(swtpm.tcti()));
    const tpm2::PublicObject object = tpm2::Commands(connection, crypto, place).read_public(handle);
    areas[object.name] = object.public_area;
    return {handle, nullptr, object.name, {}};
  }

  tpm2::KeyRef blob(const Swtpm::KeyFiles& files, const tpm2::Parent& parent = {kParent, nullptr}) {
    auto blob = std::make_shared<tpm2::KeyBlob>();
    const std::string area = read_file(files.public_file);
    const std::string wrapped = read_file(files.private_file);
    blob->public_area = tpm2::unmarshal_public(core::as_bytes(area)).value();
    REQUIRE(Tss2_MU_TPM2B_PRIVATE_Unmarshal(core::as_bytes(wrapped).data(), wrapped.size(), nullptr,
                                            &blob->private_area) == TSS2_RC_SUCCESS);
    blob->parent = parent;
    return ref(std::move(blob));
  }
  tpm2::KeyRef ref(std::shared_ptr<tpm2::KeyBlob> blob) {
    core::Bytes name = tpm2::object_name(crypto, blob->public_area.publicArea);
    areas[name] = blob->public_area.publicArea;
    return {0, std::move(blob), std::move(name), {}};
  }

  // A key file of a key that signs only what the TPM has hashed.
  tpm2::KeyRef restricted_key(const std::string& auth = {}) {
    Swtpm::KeyOptions options;
    options.auth = auth;
    options.algorithm = "ecc256:ecdsa-sha256:null";
    options.attributes =
        "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|restricted";
    return blob(swtpm.make_key(options));
  }

  // One signature, and OpenSSL's verdict.
  bool signs(tpm2::Tpm& tpm, const tpm2::KeyRef& key, const tpm2::KeyAuth& auth = {},
             std::string_view text = "text") {
    const TPM2B_DIGEST digest = sha256(text);
    const TPMT_PUBLIC& area = areas.at(key.name);
    const TPM2_ALG_ID algorithm = area.type == TPM2_ALG_RSA ? TPM2_ALG_RSASSA : TPM2_ALG_ECDSA;
    const auto made = tpm.sign(caller, key, auth, digest, scheme(algorithm));
    return verifies(crypto, area, digest, made.value);
  }

  // Handles of one kind that are in the TPM, seen by another connection.
  std::vector<TPM2_HANDLE> handles(TPM2_HANDLE first) {
    const tpm2::Place place;
    tpm2::Connection connection(tpm2::open_tcti(swtpm.tcti()));
    return tpm2::Commands(connection, crypto, place).handles(first);
  }

  Swtpm swtpm;
  Spy spy;
  core::Libcrypto crypto;
  core::Log log;
  tpm2::Caller caller{crypto, log};
  std::map<core::Bytes, TPMT_PUBLIC> areas;  // by name
};

inline World& world() {
  static World made;
  return made;
}

struct OtherProgram {  // on the same TPM
  World& w = world();
  tpm2::Place place;
  tpm2::Connection connection{tpm2::open_tcti(w.swtpm.tcti())};
  tpm2::Commands commands{connection, w.crypto, place};

  void flush_all() {
    for (const TPM2_HANDLE handle : commands.handles(TPM2_TRANSIENT_FIRST)) commands.flush(handle);
  }
  tpm2::Entity load(const tpm2::KeyRef& key) {
    return commands.load({kParent, {}}, {}, key.blob->public_area, key.blob->private_area,
                         key.name);
  }
};

template <typename Body>
std::string message_of(Body&& body, core::Reason reason) {
  try {
    body();
  } catch (const core::Error& error) {
    CHECK_MESSAGE(error.reason == reason, error.what());
    return error.what();
  }
  FAIL("no error");
  return {};
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace hwid::test
