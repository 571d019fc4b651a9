// What core::Key promises, of keys in a TPM: a right signature or an error, whatever sits at a
// handle.
#include "provider/tpm2/key.h"

#include <openssl/pem.h>

#include <algorithm>

#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Bytes;
using core::Digest;
using core::Reason;
using core::SignScheme;
using tpm2::Device;
using Codes = std::vector<TPM2_CC>;

namespace {

constexpr SignScheme kEcdsa{SignScheme::Kind::kEcdsa, Digest::kSha256};
// Of an answer: a byte of what it is about, behind header, sizes and algorithms.
constexpr std::size_t kInResult = 30;
constexpr SignScheme kPss{SignScheme::Kind::kRsaPss, Digest::kSha256, Digest::kSha256, 32};

std::shared_ptr<Device> device(bool verify_all = false,
                               Device::Protect protect = Device::Protect::kSecrets) {
  return std::make_shared<Device>(world().tpm(), "tpm-token", protect, verify_all);
}

tpm2::Key open(const std::shared_ptr<Device>& device, tpm2::KeyRef ref) {
  const TPMT_PUBLIC area = world().areas.at(ref.name);
  return {device, world().caller, std::move(ref), area, {"tpm2", "tpm-token", "a-key", {}, {}}, {}};
}

// OpenSSL's verdict on a signature of "text".
bool signs(const tpm2::Key& key, const SignScheme& scheme) {
  const TPM2B_DIGEST digest = sha256("text");
  const core::ByteView bytes(digest.buffer, digest.size);
  return core::verifies(world().crypto, key.public_key(), scheme, bytes, key.sign(scheme, bytes));
}

// A TPM that makes PSS salts as long as possible, as some chips do: swtpm does not, so the answer
// is made in software with the private half that the TPM was given.
class LongSalts {
 public:
  explicit LongSalts(const std::string& pem) {
    const core::Bio file(BIO_new_file(pem.c_str(), "r"));
    key_.reset(PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr));
    REQUIRE(key_);
    world().spy.after = [this](TPM2_CC code, Bytes& answer) {
      if (code == TPM2_CC_Sign) replace(answer);
      return TSS2_RC_SUCCESS;
    };
  }
  LongSalts(const LongSalts&) = delete;
  LongSalts& operator=(const LongSalts&) = delete;
  ~LongSalts() { world().spy.reset(); }

 private:
  // TPMT_SIGNATURE with RSAPSS: header 10, parameterSize 4, sigAlg 2, hash 2, size 2, 256 bytes.
  void replace(Bytes& answer) const {
    constexpr std::size_t kSignatureAt = 20;
    if (answer.size() < kSignatureAt + 256 || answer[14] != 0x00 || answer[15] != 0x16) return;
    const TPM2B_DIGEST digest = sha256("text");
    const core::EvpPkeyCtx context(EVP_PKEY_CTX_new(key_.get(), nullptr));
    EVP_PKEY_sign_init(context.get());
    EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256());
    EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), RSA_PSS_SALTLEN_MAX);
    std::size_t size = 256;
    EVP_PKEY_sign(context.get(), &answer[kSignatureAt], &size, digest.buffer, digest.size);
  }
  core::EvpPkey key_;
};

int sessions_in(const Codes& commands) {
  return static_cast<int>(std::count(commands.begin(), commands.end(), TPM2_CC_StartAuthSession));
}

// A key that was made in software, in `pem`, and imported.
tpm2::KeyRef import_rsa(const std::string& pem, const char* attributes) {
  World& w = world();
  run_checked({"openssl", "genrsa", "-traditional", "-out", pem, "2048"}, {});
  const std::string stem = w.swtpm.directory().file("imported");
  w.swtpm.tool({"tpm2_import", "-Q", "-C", "0x81000001", "-G", "rsa", "-i", pem, "-u",
                stem + ".pub", "-r", stem + ".priv", "-a", attributes});
  return w.blob({stem + ".pub", stem + ".priv"});
}

}  // namespace

TEST_CASE("key: another key at the handle makes an error that says so, never a signature") {
  World& w = world();
  w.swtpm.make_key({}, "0x81000020");
  const auto tpm = device();
  const tpm2::KeyRef ref = w.key(0x81000020);
  const tpm2::Key used = open(tpm, ref);
  const tpm2::Key fresh = open(tpm, ref);
  CHECK(tpm->public_object(w.caller, 0x81000020).name == ref.name);
  CHECK(signs(used, kEcdsa));
  w.swtpm.remove("0x81000020");
  w.swtpm.make_key({}, "0x81000020");
  const std::string what = message_of([&] { signs(fresh, kEcdsa); }, Reason::kKeyChanged);
  CHECK_MESSAGE(contains(what, "another key sits at 0x81000020 now; open the key again"), what);
  // The connection was given up with it, so that who had signed before finds out as well.
  message_of([&] { signs(used, kEcdsa); }, Reason::kKeyChanged);
  // What was known of the handle is forgotten.
  const tpm2::PublicObject now = tpm->public_object(w.caller, 0x81000020);
  CHECK(now.name != ref.name);
  CHECK(signs(open(tpm, w.key(0x81000020)), kEcdsa));
  w.swtpm.remove("0x81000020");
  tpm->tpm().quiesce();
}

// In a session the TPM's answer is refused as it is, without one since it does not verify.
TEST_CASE("key: what is found to be another key's leaves nothing of ours behind") {
  World& w = world();
  w.swtpm.make_key({}, "0x81000023");
  for (const Device::Protect protect : {Device::Protect::kAll, Device::Protect::kSecrets}) {
    const auto tpm = device(false, protect);
    const tpm2::Key persistent = open(tpm, w.key(0x81000023));
    const tpm2::Key loaded = open(tpm, w.blob(w.swtpm.make_key({})));
    CHECK(signs(loaded, kEcdsa));
    CHECK(w.handles(TPM2_TRANSIENT_FIRST).size() == 1);
    w.spy.after = [](TPM2_CC code, Bytes& answer) {
      if (code == TPM2_CC_Sign) answer.at(kInResult) ^= 1;
      return TSS2_RC_SUCCESS;
    };
    CHECK_THROWS_AS(signs(persistent, kEcdsa), core::Error);
    w.spy.reset();
    tpm->tpm().quiesce();
    CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
    CHECK(w.handles(TPM2_LOADED_SESSION_FIRST).empty());
  }
  w.swtpm.remove("0x81000023");
}

TEST_CASE("key: without a session a loaded key of somebody else's opens nothing") {
  World& w = world();
  Swtpm::KeyOptions options;
  options.algorithm = "rsa2048";
  options.attributes += "|decrypt";
  const tpm2::KeyRef ours = w.blob(w.swtpm.make_key(options));
  const tpm2::KeyRef theirs = w.blob(w.swtpm.make_key(options));
  const auto tpm = device(false, Device::Protect::kNothing);
  const tpm2::Key key = open(tpm, ours);
  core::DecryptScheme raw{};
  raw.kind = core::DecryptScheme::Kind::kRsaRaw;
  const Bytes block(256, 0x11);
  const core::Secret right = key.decrypt(raw, block);
  tpm->tpm().quiesce();
  OtherProgram other;
  const auto again = device(false, Device::Protect::kNothing);
  const tpm2::Key fresh = open(again, ours);
  bool swapped = false;
  w.spy.before = [&](TPM2_CC code) -> TSS2_RC {
    if (code == TPM2_CC_RSA_Decrypt && !std::exchange(swapped, true)) {
      other.flush_all();
      other.load(theirs);
    }
    return TSS2_RC_SUCCESS;
  };
  const core::Secret opened = fresh.decrypt(raw, block);
  w.spy.reset();
  CHECK(swapped);
  CHECK(std::ranges::equal(opened.reveal(), right.reveal()));
  again->tpm().quiesce();
  other.flush_all();
}

TEST_CASE("key: of a damaged padding nothing shows in the next commands") {
  World& w = world();
  Swtpm::KeyOptions options;
  options.algorithm = "rsa2048:rsaes";
  options.attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|decrypt";
  w.swtpm.make_key(options, "0x81000024");
  const auto tpm = device();
  const tpm2::Key key = open(tpm, w.key(0x81000024));
  core::DecryptScheme pkcs1{};
  pkcs1.kind = core::DecryptScheme::Kind::kRsaPkcs1;
  const core::EvpPkeyCtx context(
      EVP_PKEY_CTX_new_from_pkey(w.crypto.get(), key.public_key().pkey(), nullptr));
  EVP_PKEY_encrypt_init(context.get());
  EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING);
  Bytes good(256);
  std::size_t size = good.size();
  const Bytes message = {1, 2, 3};
  REQUIRE(EVP_PKEY_encrypt(context.get(), good.data(), &size, message.data(), 3) == 1);
  Bytes bad(256, 0x11);
  CHECK(key.decrypt(pkcs1, good).size() == 3);
  for (int time = 0; time < 2; ++time) {
    w.spy.take_commands();
    try {  // a newer libtpms answers with another message, as OpenSSL does (implicit rejection)
      const core::Secret other = key.decrypt(pkcs1, bad);
      CHECK_FALSE(std::ranges::equal(other.reveal(), message));
    } catch (const core::Error& error) {
      CHECK_MESSAGE(error.reason == Reason::kDecryptionFailed, error.what());
    }
    CHECK(w.spy.take_commands() == Codes{TPM2_CC_RSA_Decrypt});
    CHECK(key.decrypt(pkcs1, good).size() == 3);
    CHECK(w.spy.take_commands() == Codes{TPM2_CC_RSA_Decrypt});
  }
  w.swtpm.remove("0x81000024");
  tpm->tpm().quiesce();
}

TEST_CASE("key: with every signature verified, a key that is replaced between two is found") {
  World& w = world();
  w.swtpm.make_key({}, "0x81000021");
  const auto tpm = device(true);
  const tpm2::Key key = open(tpm, w.key(0x81000021));
  CHECK(signs(key, kEcdsa));
  w.swtpm.remove("0x81000021");
  w.swtpm.make_key({}, "0x81000021");
  message_of([&] { signs(key, kEcdsa); }, Reason::kKeyChanged);
  w.swtpm.remove("0x81000021");
  tpm->tpm().quiesce();
}

TEST_CASE("key: another key loaded at the handle of ours is found, and ours loaded anew") {
  World& w = world();
  const tpm2::KeyRef ours = w.blob(w.swtpm.make_key({}));
  const tpm2::KeyRef theirs = w.blob(w.swtpm.make_key({}));
  const auto tpm = device(true);
  const tpm2::Key key = open(tpm, ours);
  CHECK(signs(key, kEcdsa));
  OtherProgram other;
  other.flush_all();
  other.load(theirs);
  w.spy.take_commands();
  CHECK(signs(key, kEcdsa));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_Sign, TPM2_CC_Load, TPM2_CC_Sign});
  tpm->tpm().quiesce();
  other.flush_all();
}

// In a session the TPM compares the name, without one we do.
TEST_CASE("key: an ECDH secret of a replaced key is not given out") {
  World& w = world();
  Swtpm::KeyOptions options;
  options.attributes += "|decrypt";
  for (const Device::Protect protect : {Device::Protect::kSecrets, Device::Protect::kNothing}) {
    w.swtpm.make_key(options, "0x81000022");
    const auto tpm = device(false, protect);
    const tpm2::KeyRef ref = w.key(0x81000022);
    const tpm2::Key key = open(tpm, ref);
    const TPMS_ECC_POINT& own = w.areas.at(ref.name).unique.ecc;
    Bytes peer = {4};
    peer.insert(peer.end(), own.x.buffer, own.x.buffer + own.x.size);
    peer.insert(peer.end(), own.y.buffer, own.y.buffer + own.y.size);
    CHECK(key.derive(peer).size() == 32);
    w.spy.take_commands();
    key.derive(peer);
    CHECK(w.spy.take_commands() == Codes{TPM2_CC_ECDH_ZGen});
    w.swtpm.remove("0x81000022");
    w.swtpm.make_key(options, "0x81000022");
    tpm->tpm().quiesce();  // a new connection
    message_of([&] { key.derive(peer); }, Reason::kKeyChanged);
    w.swtpm.remove("0x81000022");
    tpm->tpm().quiesce();
  }
}

TEST_CASE("key: a TPM that makes the longest PSS salts is learned, and its salt not passed on") {
  World& w = world();
  const std::string pem = w.swtpm.directory().file("rsa.pem");
  const auto tpm = device();
  {
    const tpm2::Key key = open(tpm, import_rsa(pem, "userwithauth|noda|sign|decrypt"));
    const LongSalts salts(pem);
    w.spy.take_commands();
    CHECK(signs(key, kPss));  // the padding made in software
    CHECK(w.spy.take_commands() == Codes{TPM2_CC_Load, TPM2_CC_Sign, TPM2_CC_RSA_Decrypt});
    CHECK(signs(key, kPss));
    CHECK(w.spy.take_commands() == Codes{TPM2_CC_RSA_Decrypt});
    SignScheme longest = kPss;
    longest.salt_size = 222;
    CHECK(signs(key, longest));
    CHECK(w.spy.take_commands() == Codes{TPM2_CC_Sign});
  }
  {
    const tpm2::Key key = open(tpm, import_rsa(pem, "userwithauth|noda|sign|decrypt"));
    w.spy.after = [](TPM2_CC code, Bytes& answer) {  // whatever sits there now
      if (code == TPM2_CC_RSA_Decrypt) answer.at(kInResult) ^= 1;
      return TSS2_RC_SUCCESS;
    };
    w.spy.take_commands();
    message_of([&] { signs(key, kPss); }, Reason::kDeviceError);
    const Codes tries = w.spy.take_commands();
    CHECK(std::count(tries.begin(), tries.end(), TPM2_CC_RSA_Decrypt) == 2);
    w.spy.reset();
  }
  {
    const tpm2::Key key = open(tpm, import_rsa(pem, "userwithauth|noda|sign"));
    const LongSalts salts(pem);
    const std::string what = message_of([&] { signs(key, kPss); }, Reason::kMechanismMissing);
    CHECK_MESSAGE(contains(what, "the TPM's salt has 222 bytes"), what);
  }
  tpm->tpm().quiesce();
}

TEST_CASE("key: what is decrypted, agreed or random goes through a session; a signature does not") {
  World& w = world();
  Swtpm::KeyOptions options;
  options.algorithm = "rsa2048";
  options.attributes += "|decrypt";
  const tpm2::KeyRef ref = w.blob(w.swtpm.make_key(options));
  const Bytes block(256, 0x11);
  core::DecryptScheme raw{};
  raw.kind = core::DecryptScheme::Kind::kRsaRaw;
  for (const auto& [protect, sessions] :
       {std::pair{Device::Protect::kSecrets, 1}, {Device::Protect::kNothing, 0}}) {
    const auto tpm = device(false, protect);
    const tpm2::Key key = open(tpm, ref);
    w.spy.take_commands();
    CHECK(signs(key, {SignScheme::Kind::kRsaPkcs1, Digest::kSha256}));
    CHECK(signs(key, {SignScheme::Kind::kRsaPss, Digest::kSha256, Digest::kSha256, 20}));
    const Codes signing = w.spy.take_commands();
    CHECK(sessions_in(signing) == 0);
    const core::Secret opened = key.decrypt(raw, block);
    const Codes decrypting = w.spy.take_commands();
    CHECK(sessions_in(decrypting) == sessions);
    CHECK(w.spy.saw(opened.reveal()) == (sessions == 0));
    tpm->tpm().quiesce();
  }
}
