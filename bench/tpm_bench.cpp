// hwid-bench-tpm: signatures and full handshakes a second with keys in a software TPM, beside
// tpm2-tss's own Esys_Sign.
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "bench/handshake.h"
#include "bench/method_key.h"
#include "bench/rounds.h"
#include "bench/signers.h"
#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/pki.h"
#include "tests/fixture/swtpm.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

constexpr char kParent[] = "0x81000001";
constexpr std::pair<const char*, TPM2_HANDLE> kKeys[] = {{"rsa", 0x81000002}, {"ec", 0x81000003}};

void check(TSS2_RC rc, const char* call) {
  if (rc != TSS2_RC_SUCCESS) throw std::runtime_error(call + (": " + std::to_string(rc)));
}

// One connection, used by one thread at a time, as ESAPI wants it.
class Esys {
 public:
  explicit Esys(const std::string& tcti) {
    check(Tss2_TctiLdr_Initialize(tcti.c_str(), &tcti_), "Tss2_TctiLdr_Initialize");
    check(Esys_Initialize(&context_, tcti_, nullptr), "Esys_Initialize");
  }
  Esys(const Esys&) = delete;
  Esys& operator=(const Esys&) = delete;
  ~Esys() {
    Esys_Finalize(&context_);
    Tss2_TctiLdr_Finalize(&tcti_);
  }

  ESYS_TR find(TPM2_HANDLE handle) {
    ESYS_TR found = ESYS_TR_NONE;
    check(Esys_TR_FromTPMPublic(context_, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &found),
          "Esys_TR_FromTPMPublic");
    return found;
  }

  std::string sign(ESYS_TR key, TPM2_ALG_ID algorithm, std::span<const unsigned char> digest) {
    constexpr TPMT_TK_HASHCHECK kNoTicket = {TPM2_ST_HASHCHECK, TPM2_RH_NULL, {}};
    TPM2B_DIGEST in{};
    in.size = static_cast<UINT16>(digest.size());
    std::memcpy(in.buffer, digest.data(), digest.size());
    TPMT_SIG_SCHEME scheme{};
    scheme.scheme = algorithm;
    scheme.details.any.hashAlg = TPM2_ALG_SHA256;
    TPMT_SIGNATURE* out = nullptr;
    const std::lock_guard lock(mutex_);
    check(Esys_Sign(context_, key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &in, &scheme,
                    &kNoTicket, &out),
          "Esys_Sign");
    std::string signature;
    if (algorithm == TPM2_ALG_ECDSA) {
      for (const TPM2B_ECC_PARAMETER* const part :
           {&out->signature.ecdsa.signatureR, &out->signature.ecdsa.signatureS})
        signature.append(32U - part->size, '\0')
            .append(reinterpret_cast<const char*>(part->buffer), part->size);
    } else {
      const TPM2B_PUBLIC_KEY_RSA& rsa = out->signature.rsassa.sig;
      signature.assign(reinterpret_cast<const char*>(rsa.buffer), rsa.size);
    }
    Esys_Free(out);
    return signature;
  }

  std::string raw_rsa(ESYS_TR key, std::span<const unsigned char> block) {
    TPM2B_PUBLIC_KEY_RSA in{};
    in.size = static_cast<UINT16>(block.size());
    std::memcpy(in.buffer, block.data(), block.size());
    constexpr TPMT_RSA_DECRYPT kNoScheme = {TPM2_ALG_NULL, {}};
    constexpr TPM2B_DATA kNoLabel = {};
    TPM2B_PUBLIC_KEY_RSA* out = nullptr;
    const std::lock_guard lock(mutex_);
    check(Esys_RSA_Decrypt(context_, key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &in,
                           &kNoScheme, &kNoLabel, &out),
          "Esys_RSA_Decrypt");
    std::string block_out(reinterpret_cast<const char*>(out->buffer), out->size);
    Esys_Free(out);
    return block_out;
  }

 private:
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* context_ = nullptr;
  std::mutex mutex_;
};

// The TPM and its keys; what the benchmarks share.
class World {
 public:
  World() {
    tpm.make_parent(kParent);
    for (const auto& [label, handle] : kKeys) {
      test::Swtpm::KeyOptions options;
      options.algorithm = label[0] == 'e' ? "ecc256" : "rsa2048";
      options.attributes += "|decrypt";
      tpm.make_key(options, hex(handle));
    }
    // Read by the TCTI that captures, when it is opened.
    setenv("TCTI_PCAP_FILE", capture.c_str(), 1);
  }

  static std::string hex(TPM2_HANDLE handle) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%x", handle);
    return text;
  }
  static std::string uri(TPM2_HANDLE handle) { return "tpm2:handle=" + hex(handle); }

  static test::OpensslConf conf(const std::string& tcti, const std::string& verified = "first") {
    return test::OpensslConf().backend(
        "tpm", {{"type", "tpm2"}, {"tcti", tcti}, {"verify-signatures", verified}});
  }

  // Commands of all kinds that one operation costs, once the first ones are over.
  double commands_of(const Operation& operation) const {
    constexpr int kTimes = 10;
    operation();
    const int before = commands();
    for (int i = 0; i < kTimes; ++i) operation();
    return static_cast<double>(commands() - before) / kTimes;
  }

  test::Swtpm tpm;
  test::Pki pki;
  const std::string capture = tpm.directory().file("capture");

 private:
  int commands() const {
    int all = 0;
    for (const auto& [code, count] : test::count_commands(capture)) all += count;
    return all;
  }
};

TPM2_ALG_ID tpm_scheme(Scheme scheme) {
  if (scheme == Scheme::kEcdsa) return TPM2_ALG_ECDSA;
  return scheme == Scheme::kRsaPkcs1 ? TPM2_ALG_RSASSA : TPM2_ALG_RSAPSS;
}

Contender esys_signer(Esys& esys, TPM2_HANDLE handle, EVP_PKEY* public_key, Scheme scheme) {
  const ESYS_TR key = esys.find(handle);
  const auto sign = [&esys, key, scheme, digest = digest_to_sign()] {
    return esys.sign(key, tpm_scheme(scheme),
                     {reinterpret_cast<const unsigned char*>(digest.data()), digest.size()});
  };
  require_good(public_key, scheme, sign(), scheme == Scheme::kEcdsa);
  Contender made;
  made.name = "raw";
  made.calls = 1;
  made.worker = [sign](int) { return [sign] { sign(); }; };
  return made;
}

class EsysKey final : public PrivateOperation {
 public:
  EsysKey(Esys& esys, TPM2_HANDLE handle) : esys_(esys), key_(esys.find(handle)) {}
  std::size_t sign(Way way, std::span<const unsigned char> input,
                   std::span<unsigned char> signature) noexcept override {
    constexpr std::size_t kDigest = 32;  // at the end of a DigestInfo of SHA-256
    try {
      const std::string made =
          way == Way::kRsaRaw
              ? esys_.raw_rsa(key_, input)
              : esys_.sign(key_, way == Way::kEcdsa ? TPM2_ALG_ECDSA : TPM2_ALG_RSASSA,
                           input.last(std::min(input.size(), kDigest)));
      if (made.size() > signature.size()) return 0;
      std::memcpy(signature.data(), made.data(), made.size());
      return made.size();
    } catch (const std::exception&) {
      return 0;
    }
  }

 private:
  Esys& esys_;
  const ESYS_TR key_;
};

void measure_signatures(Rounds& rounds, const World& world, Esys& esys) {
  const test::LibraryContext context(World::conf(world.tpm.tcti()));
  const test::LibraryContext wary_context(World::conf(world.tpm.tcti(), "all"));
  const test::LibraryContext counted_context(World::conf(world.tpm.capture_tcti()));
  for (const Scheme scheme : {Scheme::kRsaPkcs1, Scheme::kRsaPss, Scheme::kEcdsa}) {
    const TPM2_HANDLE handle = kKeys[scheme == Scheme::kEcdsa ? 1 : 0].second;
    const test::EvpPkey key = context.private_key(World::uri(handle));
    const test::EvpPkey wary = wary_context.private_key(World::uri(handle));
    const test::EvpPkey counted = counted_context.private_key(World::uri(handle));
    Comparison comparison{"tpm sign", scheme_name(scheme), 1, true, {}};
    comparison.contenders = {esys_signer(esys, handle, key.get(), scheme),
                             evp_signer("hwid_all", wary_context.get(), wary.get(), scheme),
                             evp_signer("hwid", context.get(), key.get(), scheme)};
    comparison.contenders.back().calls = world.commands_of(
        evp_signer("counted", counted_context.get(), counted.get(), scheme).worker(0));
    for (const int threads : {1, 2, kMostThreads}) {
      comparison.threads = threads;
      rounds.compare(comparison);
    }
  }
}

void measure_handshakes(Rounds& rounds, const World& world, Esys& esys) {
  const test::LibraryContext context(World::conf(world.tpm.tcti()));
  const test::LibraryContext counted_context(World::conf(world.tpm.capture_tcti()));
  const test::LibraryContext server_context(
      test::OpensslConf().order(test::ProviderOrder::kDefaultOnly));
  world.pki.issue("server", {});
  const test::EvpPkey server_key = server_context.private_key(world.pki.file("server.key"));
  for (const auto& [label, handle] : kKeys) {
    const test::EvpPkey key = context.private_key(World::uri(handle));
    const test::EvpPkey counted = counted_context.private_key(World::uri(handle));
    const test::EvpPkey raw = method_key(std::make_unique<EsysKey>(esys, handle), key.get());
    test::CertificateRequest request;
    request.usage = test::Usage::kClient;
    request.common_name = "client";
    const std::string certificate =
        world.pki.issue_for(std::string("client-") + label, key.get(), request);
    for (const auto& [version, name] :
         {std::pair{TLS1_3_VERSION, "TLS 1.3"}, {TLS1_2_VERSION, "TLS 1.2"}}) {
      const auto handshake = [&](OSSL_LIB_CTX* library, EVP_PKEY* client) {
        return std::make_shared<const Handshake>(
            version, Side{library, certificate, client},
            Side{server_context.get(), world.pki.file("server.pem"), server_key.get()},
            world.pki.ca_file());
      };
      Comparison comparison{
          "tpm tls", std::string(name) + (label[0] == 'e' ? ", P-256" : ", RSA-2048"), 1, true, {}};
      comparison.contenders = {handshakes("raw", handshake(nullptr, raw.get())),
                               handshakes("hwid", handshake(context.get(), key.get()))};
      comparison.contenders.front().calls = 1;
      comparison.contenders.back().calls = world.commands_of(
          handshakes("counted", handshake(counted_context.get(), counted.get())).worker(0));
      for (const int threads : {1, 2, kMostThreads}) {
        comparison.threads = threads;
        rounds.compare(comparison);
      }
    }
  }
}

void measure(Rounds& rounds) {
  const World world;
  Esys esys(world.tpm.tcti());
  measure_signatures(rounds, world, esys);
  measure_handshakes(rounds, world, esys);
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
