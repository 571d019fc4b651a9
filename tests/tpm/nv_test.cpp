// NV memory: what is read, by whom, and what the TPM is asked for it.
#include "provider/tpm2/nv.h"

#include <algorithm>
#include <utility>

#include "provider/tpm2/policy_conf.h"
#include "tests/fixture/command.h"
#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Bytes;
using core::Reason;

namespace {

using Codes = std::vector<TPM2_CC>;

constexpr const char* kOwnerAuth = "the-owner";

// Indexes that tpm2-tools made and wrote.
struct Indexes {
  World& w = world();
  std::shared_ptr<tpm2::Tpm> tpm = w.tpm();
  ~Indexes() { tpm->quiesce(); }  // its session makes room for others

  // `attributes` as tpm2_nvdefine takes them.
  TPM2_HANDLE define(const std::string& attributes, std::size_t size,
                     const std::vector<std::string>& more = {}) {
    const TPM2_HANDLE index = next();
    std::vector<std::string> words = {
        "tpm2_nvdefine",     tpm2::hex(index), "-Q", "-C", "o", "-a", attributes, "-s",
        std::to_string(size)};
    words.insert(words.end(), more.begin(), more.end());
    w.swtpm.tool(words);
    return index;
  }
  Bytes write(TPM2_HANDLE index, std::size_t size) {
    Bytes data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i * 7 + index);
    const std::string file = w.swtpm.directory().file("nv-data");
    write_file(file, {reinterpret_cast<const char*>(data.data()), data.size()});
    w.swtpm.tool({"tpm2_nvwrite", "-Q", "-C", "o", "-i", file, tpm2::hex(index)});
    return data;
  }
  Bytes read(TPM2_HANDLE index, const tpm2::NvSecrets& secrets = {}) {
    return tpm2::read_nv(*tpm, w.caller, tpm->nv_public(w.caller, index), secrets);
  }
  static tpm2::NvSecrets with(std::string_view value) {
    tpm2::NvSecrets secrets;
    secrets.value = secret(value);
    return secrets;
  }
  TPM2_HANDLE next() {
    static TPM2_HANDLE last = 0x01500000;
    return ++last;
  }
};

}  // namespace

TEST_CASE("nv: in chunks of what the TPM takes at once, as few as there can be") {
  Indexes nv;
  const TPM2_HANDLE index = nv.define("ownerwrite|authread|no_da", 2048);
  const Bytes data = nv.write(index, 2048);
  nv.w.spy.take_commands();
  CHECK(nv.read(index) == data);
  CHECK(nv.w.spy.take_commands() ==
        Codes{TPM2_CC_NV_ReadPublic, TPM2_CC_GetCapability, TPM2_CC_NV_Read, TPM2_CC_NV_Read});
  const TPM2_HANDLE small = nv.define("ownerwrite|authread|no_da", 1024);
  const Bytes other = nv.write(small, 1024);
  CHECK(nv.read(small) == other);
  CHECK(nv.w.spy.take_commands() == Codes{TPM2_CC_NV_ReadPublic, TPM2_CC_NV_Read});
}

TEST_CASE("nv: as the index says that it may be read") {
  Indexes nv;
  const auto auth = std::vector<std::string>{"-p", "index-auth"};
  SUBCASE("by its own value, which does not show on the bus") {
    const TPM2_HANDLE index = nv.define("ownerwrite|authread", 1500, auth);
    const Bytes data = nv.write(index, 1500);
    CHECK(nv.read(index, Indexes::with("index-auth")) == data);
    CHECK_FALSE(nv.w.spy.saw(core::as_bytes("index-auth")));
  }
  SUBCASE("by the owner, who has no value") {
    const TPM2_HANDLE index = nv.define("ownerwrite|ownerread", 100);
    const Bytes data = nv.write(index, 100);
    CHECK(nv.read(index) == data);
  }
  SUBCASE("by the owner, where the index has a value that nobody gave") {
    const TPM2_HANDLE index = nv.define("ownerwrite|ownerread|authread|no_da", 100, auth);
    const Bytes data = nv.write(index, 100);
    CHECK(nv.read(index) == data);
    CHECK(nv.w.swtpm.lockout_counter() == 0);
  }
  SUBCASE("by the value of the configuration") {
    const TPM2_HANDLE index = nv.define("ownerwrite|authread|no_da", 100, auth);
    const Bytes data = nv.write(index, 100);
    tpm2::NvSecrets secrets;
    secrets.configured = [] { return secret("index-auth"); };
    CHECK(nv.read(index, secrets) == data);
    // ... which spoils no index that has none
    secrets.configured = [] { return secret("another"); };
    const TPM2_HANDLE open = nv.define("ownerwrite|authread|no_da", 100);
    const Bytes others = nv.write(open, 100);
    CHECK(nv.read(open, secrets) == others);
  }
}

TEST_CASE("nv: the owner's value") {
  Indexes nv;
  const TPM2_HANDLE index = nv.define("ownerwrite|ownerread", 100);
  const Bytes data = nv.write(index, 100);
  nv.w.swtpm.tool({"tpm2_changeauth", "-Q", "-c", "o", kOwnerAuth});
  const std::string none = message_of([&] { nv.read(index); }, Reason::kPinMissing);
  CHECK(contains(none, "TPM2OPENSSL_PARENT_AUTH"));
  CHECK(contains(none, tpm2::hex(index)));
  tpm2::NvSecrets secrets;
  secrets.owner = secret("wrong");
  message_of([&] { nv.read(index, secrets); }, Reason::kPinWrong);
  nv.w.spy.take_commands();
  message_of([&] { nv.read(index, secrets); }, Reason::kPinWrong);
  CHECK(nv.w.spy.take_commands() == Codes{TPM2_CC_NV_ReadPublic});
  secrets.owner = secret(kOwnerAuth);
  CHECK(nv.read(index, secrets) == data);
  CHECK_FALSE(nv.w.spy.saw(core::as_bytes(kOwnerAuth)));
  nv.w.swtpm.tool({"tpm2_changeauth", "-Q", "-c", "o", "-p", kOwnerAuth, ""});
}

TEST_CASE("nv: a wrong value is tried once") {
  Indexes nv;
  const TPM2_HANDLE index = nv.define("ownerwrite|authread", 1500, {"-p", "index-auth"});
  nv.write(index, 1500);
  const int before = nv.w.swtpm.lockout_counter();
  for (int round = 0; round < 3; ++round) {
    const std::string message =
        message_of([&] { nv.read(index, Indexes::with("wrong")); }, Reason::kPinWrong);
    CHECK(contains(message, tpm2::hex(index)));
  }
  CHECK(nv.w.swtpm.lockout_counter() == before + 1);
  for (int round = 0; round < 3; ++round) {
    const std::string message = message_of([&] { nv.read(index); }, Reason::kPinMissing);
    CHECK(contains(message, "the NV index needs an auth value"));
  }
  CHECK(nv.w.swtpm.lockout_counter() == before + 2);
  // A listing does not even try.
  const TPM2_HANDLE other = nv.define("ownerwrite|authread", 10, {"-p", "index-auth"});
  nv.write(other, 10);
  tpm2::NvSecrets listing;
  listing.only_harmless = true;
  listing.configured = [] { return secret("wrong"); };
  message_of([&] { nv.read(other, listing); }, Reason::kPinMissing);
  CHECK(nv.w.swtpm.lockout_counter() == before + 2);
  // Nor is what the section has for its keys tried on an index that counts.
  listing.only_harmless = false;
  CHECK(contains(message_of([&] { nv.read(other, listing); }, Reason::kPinMissing),
                 "the NV index needs an auth value"));
  nv.w.swtpm.reset_lockout();
}

TEST_CASE("nv: what cannot be read, and why") {
  Indexes nv;
  const auto refused = [&](TPM2_HANDLE index, Reason reason) {
    return message_of([&] { nv.read(index); }, reason);
  };
  CHECK(contains(refused(0x01500fff, Reason::kNoObject), "no such NV index"));
  const std::string unwritten =
      refused(nv.define("ownerwrite|authread|no_da", 10), Reason::kNoObject);
  CHECK(contains(unwritten, "nothing was written"));
  CHECK(contains(refused(nv.define("ownerwrite|authread|nt=counter", 8), Reason::kUnsupported),
                 "counter"));
  const TPM2_HANDLE locked = nv.define("ownerwrite|authread|no_da|read_stclear", 10);
  nv.write(locked, 10);
  nv.w.swtpm.tool({"tpm2_nvreadlock", "-Q", tpm2::hex(locked)});
  CHECK(contains(refused(locked, Reason::kNotPermitted), "locked"));
}

TEST_CASE("nv: by a policy") {
  Indexes nv;
  const std::string file = nv.w.swtpm.directory().file("nv.policy");
  const std::string session = nv.w.swtpm.directory().file("nv.session");
  nv.w.swtpm.tool({"tpm2_startauthsession", "-S", session});
  nv.w.swtpm.tool({"tpm2_policypcr", "-Q", "-S", session, "-l", "sha256:16", "-L", file});
  nv.w.swtpm.tool({"tpm2_flushcontext", session});
  const TPM2_HANDLE index = nv.define("ownerwrite|policyread", 1500, {"-L", file});
  const Bytes data = nv.write(index, 1500);
  CHECK(contains(message_of([&] { nv.read(index); }, Reason::kNotPermitted), "?policy=NAME"));
  const tpm2::NvPublic is = nv.tpm->nv_public(nv.w.caller, index);
  auto policy = std::make_shared<tpm2::KeyPolicy>();
  policy->origin = "policy test";
  const auto pcrs = tpm2::parse_pcrs("sha256:16").value();
  policy->alternatives.push_back(
      {{tpm2::PcrStatement{pcrs.selection, {}, nv.tpm->pcr_read(nv.w.caller, pcrs.selection)}}});
  tpm2::NvSecrets secrets;
  secrets.policy = policy;
  CHECK(nv.read(index, secrets) == data);
  nv.w.swtpm.tool({"tpm2_pcrevent", "-Q", "16", file});
  const std::string changed = message_of([&] { nv.read(index, secrets); }, Reason::kNotPermitted);
  CHECK(contains(changed, "PCR 16"));
  nv.w.swtpm.tool({"tpm2_pcrreset", "-Q", "16"});
  const TPM2_HANDLE open = nv.define("ownerwrite|authread|no_da", 10);
  nv.write(open, 10);
  CHECK(contains(message_of([&] { nv.read(open, secrets); }, Reason::kNotPermitted),
                 "leave ?policy= out"));
}

TEST_CASE("nv: an index that was written anew is no wrong auth value") {
  Indexes nv;
  const TPM2_HANDLE index = nv.define("ownerwrite|authread|authwrite", 100, {"-p", "index-auth"});
  const tpm2::NvPublic before = nv.tpm->nv_public(nv.w.caller, index);
  const Bytes data = nv.write(index, 100);
  const auto value = secret("index-auth");
  const auto stale = [&](tpm2::NvAuth::By by) {
    return message_of(
        [&] {
          nv.tpm->nv_read(nv.w.caller, before, {by, &value});
        },
        Reason::kKeyChanged);
  };
  CHECK(contains(stale(tpm2::NvAuth::By::kIndex), "written or defined anew"));
  CHECK(nv.read(index, Indexes::with("index-auth")) == data);
  nv.w.swtpm.reset_lockout();
}

TEST_CASE("nv: a TPM that was restarted, or whose session is gone, is asked again") {
  Indexes nv;
  const TPM2_HANDLE index = nv.define("ownerwrite|authread|no_da", 1500, {"-p", "index-auth"});
  const Bytes data = nv.write(index, 1500);
  CHECK(nv.read(index, Indexes::with("index-auth")) == data);
  nv.w.swtpm.shut_down();
  nv.w.swtpm.restart();
  CHECK(nv.read(index, Indexes::with("index-auth")) == data);
  OtherProgram other;
  for (const TPM2_HANDLE session : other.commands.handles(TPM2_LOADED_SESSION_FIRST))
    other.commands.flush(session);
  CHECK(nv.read(index, Indexes::with("index-auth")) == data);
}

namespace {

TPMS_NV_PUBLIC wanted_index(TPM2_HANDLE index, std::size_t size) {
  TPMS_NV_PUBLIC area{};
  area.nvIndex = index;
  area.nameAlg = TPM2_ALG_SHA256;
  area.attributes = TPMA_NV_OWNERWRITE | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD | TPMA_NV_NO_DA;
  area.dataSize = static_cast<UINT16>(size);
  return area;
}

bool is_there(World& w, TPM2_HANDLE index) {
  const auto all = w.handles(TPM2_NV_INDEX_FIRST);
  return std::ranges::find(all, index) != all.end();
}

}  // namespace

TEST_CASE("nv: written in chunks, as tpm2-tools read it") {
  Indexes nv;
  const TPM2_HANDLE index = nv.next();
  const Bytes data(2048, 0x5a);
  const auto auth = secret("of-the-index");
  nv.tpm->nv_store(nv.w.caller, wanted_index(index, data.size()), data, &auth, nullptr);
  CHECK_FALSE(nv.w.spy.saw(core::as_bytes("of-the-index")));
  const std::string file = nv.w.swtpm.directory().file("read");
  nv.w.swtpm.tool({"tpm2_nvread", "-P", "of-the-index", "-o", file, tpm2::hex(index)});
  CHECK(read_file(file) == std::string(2048, 'Z'));
  message_of(
      [&] { nv.tpm->nv_store(nv.w.caller, wanted_index(index, 1), Bytes(1), nullptr, nullptr); },
      Reason::kExists);
  nv.tpm->nv_remove(nv.w.caller, nv.tpm->nv_public(nv.w.caller, index), nullptr);
  CHECK_FALSE(is_there(nv.w, index));
}

TEST_CASE("nv: what cannot be written leaves no index behind") {
  Indexes nv;
  const TPM2_HANDLE index = nv.next();
  int writes = 0;
  nv.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
    if (code != TPM2_CC_NV_Write || ++writes < 2) return std::nullopt;
    return Bytes{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x48};  // TPM_RC_NV_LOCKED
  };
  const std::string message = message_of(
      [&] {
        nv.tpm->nv_store(nv.w.caller, wanted_index(index, 2000), Bytes(2000), nullptr, nullptr);
      },
      Reason::kReadOnly);
  nv.w.spy.reset();
  CHECK(writes == 2);
  CHECK(contains(message, "TPM_RC_NV_LOCKED"));
  CHECK_FALSE(is_there(nv.w, index));
  CHECK(contains(message_of(
                     [&] {
                       nv.tpm->nv_store(nv.w.caller, wanted_index(index, 3000), Bytes(3000),
                                        nullptr, nullptr);
                     },
                     Reason::kBadParameter),
                 "3000 bytes"));
}

namespace {

// The answer to the first command of that code does not come; the TPM has done it all the same.
void lose_answer(World& w, TPM2_CC command) {
  auto lost = std::make_shared<bool>(false);
  w.spy.after = [command, lost](TPM2_CC code, Bytes&) -> TSS2_RC {
    if (code != command || std::exchange(*lost, true)) return TSS2_RC_SUCCESS;
    return TSS2_TCTI_RC_IO_ERROR;
  };
}

// Ends it, and flushes the session that stayed with the lost connection.
void find_answers(World& w) {
  w.spy.reset();
  OtherProgram other;
  for (const TPM2_HANDLE session : other.commands.handles(TPM2_LOADED_SESSION_FIRST))
    other.commands.flush(session);
}

}  // namespace

TEST_CASE("nv: an answer that was lost on the way is not the TPM's refusal") {
  Indexes nv;
  const Bytes data(1500, 1);
  const auto auth = secret("of-the-index");
  const auto owner = secret(kOwnerAuth);
  const tpm2::NvSecrets opens = Indexes::with("of-the-index");
  for (const bool has_owner : {false, true}) {
    if (has_owner) nv.w.swtpm.tool({"tpm2_changeauth", "-Q", "-c", "o", kOwnerAuth});
    const core::Secret* const by = has_owner ? &owner : nullptr;
    for (const TPM2_CC command : {TPM2_CC_NV_DefineSpace, TPM2_CC_NV_Write}) {
      CAPTURE(tpm2::hex(command));
      const TPM2_HANDLE index = nv.next();
      lose_answer(nv.w, command);
      nv.tpm->nv_store(nv.w.caller, wanted_index(index, data.size()), data, &auth, by);
      find_answers(nv.w);
      CHECK(nv.read(index, opens) == data);
      lose_answer(nv.w, TPM2_CC_NV_UndefineSpace);
      nv.tpm->nv_remove(nv.w.caller, nv.tpm->nv_public(nv.w.caller, index), by);
      find_answers(nv.w);
      CHECK_FALSE(is_there(nv.w, index));
    }
  }
  nv.w.swtpm.tool({"tpm2_changeauth", "-Q", "-c", "o", "-p", kOwnerAuth, ""});
}

TEST_CASE("nv: what came to an index since is not removed") {
  Indexes nv;
  const TPM2_HANDLE index = nv.define("ownerwrite|authread|no_da", 10);
  const tpm2::NvPublic before = nv.tpm->nv_public(nv.w.caller, index);
  const Bytes data = nv.write(index, 10);
  const std::string message =
      message_of([&] { nv.tpm->nv_remove(nv.w.caller, before, nullptr); }, Reason::kKeyChanged);
  CHECK(contains(message, "is not removed"));
  CHECK(nv.read(index) == data);
  // ... and not cleaned up after a write that failed.
  const TPM2_HANDLE other = nv.next();
  bool is_other = false;
  nv.w.spy.before = [&](TPM2_CC code) -> TSS2_RC {
    if (code != TPM2_CC_NV_Write || std::exchange(is_other, true)) return TSS2_RC_SUCCESS;
    nv.w.swtpm.tool({"tpm2_nvundefine", "-Q", "-C", "o", tpm2::hex(other)});
    nv.w.swtpm.tool({"tpm2_nvdefine", tpm2::hex(other), "-Q", "-C", "o", "-a",
                     "ownerwrite|ownerread", "-s", "7"});
    return TSS2_RC_SUCCESS;
  };
  CHECK_THROWS_AS(
      nv.tpm->nv_store(nv.w.caller, wanted_index(other, 100), Bytes(100), nullptr, nullptr),
      core::Error);
  nv.w.spy.reset();
  CHECK(nv.tpm->nv_public(nv.w.caller, other).area.dataSize == 7);
}

TEST_CASE("nv: an auth value that no index takes is not sent") {
  Indexes nv;
  const auto longest = secret(std::string(32, 'x'));
  const auto too_long = secret(std::string(33, 'x'));
  const TPM2_HANDLE index = nv.next();
  nv.w.spy.take_commands();
  const std::string message = message_of(
      [&] {
        nv.tpm->nv_store(nv.w.caller, wanted_index(index, 10), Bytes(10), &too_long, nullptr);
      },
      Reason::kBadParameter);
  CHECK(contains(message, "32 bytes"));
  CHECK(nv.w.spy.take_commands().empty());
  nv.tpm->nv_store(nv.w.caller, wanted_index(index, 10), Bytes(10), &longest, nullptr);
}
