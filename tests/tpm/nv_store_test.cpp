// NV memory: what is replaced is there, or its successor is, whatever happens meanwhile.
#include "provider/tpm2/nv_store.h"

#include <algorithm>

#include "provider/tpm2/nv.h"
#include "tests/fixture/command.h"
#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Bytes;
using core::Reason;

namespace {

constexpr TPM2_HANDLE kIndex = 0x01a00000;
constexpr TPMA_NV kClosed = TPMA_NV_OWNERWRITE | TPMA_NV_AUTHREAD;
constexpr TPMA_NV kOpen = TPMA_NV_OWNERWRITE | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD | TPMA_NV_NO_DA;

// One index with content, and what is to take its place.
struct Replacing {
  World& w = world();
  std::shared_ptr<tpm2::Tpm> tpm = w.tpm();
  Bytes before = Bytes(700, 1), after = Bytes(900, 2);
  ~Replacing() {
    w.spy.reset();
    for (const TPM2_HANDLE index : there())
      w.swtpm.tool({"tpm2_nvundefine", "-Q", "-C", "o", tpm2::hex(index)});
    tpm->quiesce();
  }

  static TPMS_NV_PUBLIC area(std::size_t size, TPMA_NV attributes = kOpen) {
    TPMS_NV_PUBLIC made{};
    made.nvIndex = kIndex;
    made.nameAlg = TPM2_ALG_SHA256;
    made.attributes = attributes;
    made.dataSize = static_cast<UINT16>(size);
    return made;
  }
  tpm2::NvOld store(TPMA_NV attributes = kOpen, const core::Secret* auth = nullptr,
                    const core::Secret* offered = nullptr) {
    const auto made =
        tpm->nv_store(w.caller, area(before.size(), attributes), before, auth, nullptr);
    return tpm2::read_replaceable(*tpm, w.caller, made, offered, nullptr);
  }
  void replace(const tpm2::NvOld& old) {
    tpm2::replace_nv(*tpm, w.caller, old, area(after.size()), {after}, {});
  }
  // In the owner's range.
  std::vector<TPM2_HANDLE> there() {
    std::vector<TPM2_HANDLE> all = w.handles(TPM2_NV_INDEX_FIRST);
    std::erase_if(all, [](TPM2_HANDLE index) { return !tpm2::is_in_owners_range(index); });
    return all;
  }
  // By a program that comes later.
  Bytes read(TPM2_HANDLE index) {
    const auto later = w.tpm();
    Bytes data = tpm2::read_nv(*later, w.caller, later->nv_public(w.caller, index), {});
    later->quiesce();
    return data;
  }
  // From the command of that code on, counted from its `nth`, the TPM is not reached any more.
  void break_off(TPM2_CC command, int nth, bool is_done) {
    auto seen = std::make_shared<int>(0);
    const auto cut = [=](TPM2_CC code) { return code == command && ++*seen == nth; };
    w.spy.before = [=](TPM2_CC code) -> TSS2_RC {
      if (*seen >= nth) return TSS2_TCTI_RC_IO_ERROR;
      return !is_done && cut(code) ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
    };
    w.spy.after = [=](TPM2_CC code, Bytes&) -> TSS2_RC {
      return is_done && cut(code) ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
    };
  }
};

using Indexes = std::vector<TPM2_HANDLE>;

// TPM_RC_..., without a TPM.
Bytes refusal(std::uint16_t rc) {
  return {0x80,
          0x01,
          0,
          0,
          0,
          10,
          0,
          0,
          static_cast<std::uint8_t>(rc >> 8),
          static_cast<std::uint8_t>(rc)};
}

}  // namespace

TEST_CASE("nv store: the new content has the old one's place, and no copy stays") {
  Replacing r;
  r.replace(r.store());
  CHECK(r.there() == Indexes{kIndex});
  CHECK(r.read(kIndex) == r.after);
}

TEST_CASE("nv store: whenever the TPM is gone, the old content is in it or the new one") {
  for (const TPM2_CC command :
       {TPM2_CC_NV_DefineSpace, TPM2_CC_NV_Write, TPM2_CC_NV_UndefineSpace}) {
    for (int nth = 1; nth <= 4; ++nth) {
      for (const bool is_done : {false, true}) {
        CAPTURE(tpm2::hex(command));
        CAPTURE(nth);
        CAPTURE(is_done);
        Replacing r;
        const tpm2::NvOld old = r.store();
        r.break_off(command, nth, is_done);
        try {
          r.replace(old);
        } catch (const core::Error&) {
        }
        r.w.spy.reset();
        bool is_kept = false;
        for (const TPM2_HANDLE index : r.there()) {
          try {
            const Bytes content = r.read(index);
            is_kept = is_kept || content == r.before || content == r.after;
          } catch (const core::Error&) {  // half-made
          }
        }
        CHECK(is_kept);
      }
    }
  }
}

TEST_CASE("nv store: what fails leaves the old content where it was") {
  Replacing r;
  SUBCASE("before anything goes") {
    const tpm2::NvOld old = r.store();
    r.w.spy.instead = [](TPM2_CC code) -> std::optional<Bytes> {
      if (code != TPM2_CC_NV_Write) return std::nullopt;
      return refusal(TPM2_RC_NV_LOCKED);
    };
    message_of([&] { r.replace(old); }, Reason::kReadOnly);
  }
  SUBCASE("after it is gone") {
    const tpm2::NvOld old = r.store();
    bool is_gone = false, is_refused = false;
    r.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
      if (code == TPM2_CC_NV_UndefineSpace) is_gone = true;
      if (code != TPM2_CC_NV_Write || !is_gone || std::exchange(is_refused, true))
        return std::nullopt;
      return refusal(TPM2_RC_NV_LOCKED);
    };
    message_of([&] { r.replace(old); }, Reason::kReadOnly);
    CHECK(is_refused);
  }
  SUBCASE("with its auth value, where that is known") {
    const auto auth = secret("of-the-old-one");
    const tpm2::NvOld old = r.store(kOpen, &auth, &auth);
    int defined = 0;
    r.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
      if (code != TPM2_CC_NV_DefineSpace || ++defined != 2) return std::nullopt;
      return refusal(TPM2_RC_NV_SPACE);
    };
    CHECK_THROWS_AS(r.replace(old), core::Error);
    CHECK(defined == 3);
    const auto is = r.tpm->nv_public(r.w.caller, kIndex);
    CHECK(r.tpm->nv_read(r.w.caller, is, {tpm2::NvAuth::By::kIndex, &auth}) == r.before);
  }
  SUBCASE("and opens for nobody who could not read it before") {
    const auto auth = secret("nobody-gave-it");
    const tpm2::NvOld old = r.store(kOpen, &auth);
    int defined = 0;
    r.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
      if (code != TPM2_CC_NV_DefineSpace || ++defined != 2) return std::nullopt;
      return refusal(TPM2_RC_NV_SPACE);
    };
    CHECK_THROWS_AS(r.replace(old), core::Error);
    CHECK((r.tpm->nv_public(r.w.caller, kIndex).area.attributes & TPMA_NV_AUTHREAD) == 0);
  }
  r.w.spy.reset();
  CHECK(r.there() == Indexes{kIndex});
  CHECK(r.read(kIndex) == r.before);
}

TEST_CASE("nv store: what its own auth value opens is put back with it") {
  Replacing r;
  const auto auth = secret("of-the-old-one");
  TPMA_NV attributes = 0;
  SUBCASE("where the owner writes") { attributes = kClosed; }
  SUBCASE("where only who has it writes") { attributes = TPMA_NV_AUTHWRITE | TPMA_NV_AUTHREAD; }
  SUBCASE("where the owner reads, too") {
    attributes = TPMA_NV_AUTHWRITE | TPMA_NV_AUTHREAD | TPMA_NV_OWNERREAD;
  }
  SUBCASE("where a wrong one does not count") {
    attributes = TPMA_NV_AUTHWRITE | TPMA_NV_AUTHREAD | TPMA_NV_NO_DA;
  }
  const tpm2::NvOld old = r.store(attributes, &auth, &auth);
  CHECK(old.content == r.before);
  int defined = 0;
  r.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
    if (code != TPM2_CC_NV_DefineSpace || ++defined != 2) return std::nullopt;
    return refusal(TPM2_RC_NV_SPACE);
  };
  CHECK_THROWS_AS(r.replace(old), core::Error);
  CHECK(defined == 3);
  r.w.spy.reset();
  CHECK(r.there() == Indexes{kIndex});
  const auto is = r.tpm->nv_public(r.w.caller, kIndex);
  CHECK(is.name == old.nv.name);
  CHECK(r.tpm->nv_read(r.w.caller, is, {tpm2::NvAuth::By::kIndex, &auth}) == r.before);
  r.replace(old);
  CHECK(r.there() == Indexes{kIndex});
  CHECK(r.read(kIndex) == r.after);
  CHECK(r.w.swtpm.lockout_counter() == 0);
}

TEST_CASE("nv store: an answer that is lost does not lose what is put back") {
  const auto auth = secret("of-the-old-one");
  for (int nth = 1; nth <= 2; ++nth) {
    for (const bool is_done : {false, true}) {
      CAPTURE(nth);
      CAPTURE(is_done);
      Replacing r;
      int written = 0;
      const auto lose = [&](TPM2_CC code) -> TSS2_RC {
        return code == TPM2_CC_NV_Write && ++written == nth ? TSS2_TCTI_RC_IO_ERROR
                                                            : TSS2_RC_SUCCESS;
      };
      if (is_done)
        r.w.spy.after = [&](TPM2_CC code, Bytes&) { return lose(code); };
      else
        r.w.spy.before = lose;
      r.before.resize(1500, 3);  // of two parts
      r.store(TPMA_NV_AUTHWRITE | TPMA_NV_AUTHREAD, &auth, &auth);
      r.w.spy.reset();
      CHECK(written > nth);
      const auto is = r.tpm->nv_public(r.w.caller, kIndex);
      CHECK(r.tpm->nv_read(r.w.caller, is, {tpm2::NvAuth::By::kIndex, &auth}) == r.before);
      CHECK(r.w.swtpm.lockout_counter() == 0);
      r.tpm->quiesce();
      r.w.swtpm.tool({"tpm2_flushcontext", "-Q", "-l"});  // of the connection that was lost
    }
  }
}

TEST_CASE("nv store: what is lost is said, and where the new content is") {
  Replacing r;
  const tpm2::NvOld old = r.store();
  bool is_gone = false;
  r.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
    if (code == TPM2_CC_NV_UndefineSpace) is_gone = true;
    if (code != TPM2_CC_NV_DefineSpace || !is_gone) return std::nullopt;
    return refusal(TPM2_RC_NV_SPACE);
  };
  std::string message;
  try {
    r.replace(old);
  } catch (const core::Error& error) {
    message = error.what();
  }
  r.w.spy.reset();
  CHECK(contains(message, "may be lost"));
  CHECK(contains(message, "the new content is at 0x1800001"));
  CHECK(r.there() == Indexes{0x1800001});
  CHECK(r.read(0x1800001) == r.after);
}

TEST_CASE("nv store: where there is no room for both, the old content goes first") {
  Replacing r;
  const tpm2::NvOld old = r.store();
  bool is_gone = false;
  r.w.spy.instead = [&](TPM2_CC code) -> std::optional<Bytes> {
    if (code == TPM2_CC_NV_UndefineSpace) is_gone = true;
    if (code != TPM2_CC_NV_DefineSpace || is_gone) return std::nullopt;
    return refusal(TPM2_RC_NV_SPACE);
  };
  r.replace(old);
  r.w.spy.reset();
  CHECK(r.there() == Indexes{kIndex});
  CHECK(r.read(kIndex) == r.after);
}

TEST_CASE("nv store: what could not be put back is not replaced") {
  Replacing r;
  SUBCASE("the owner may not write it") {
    r.w.swtpm.tool({"tpm2_nvdefine", "-Q", tpm2::hex(kIndex), "-C", "o", "-a",
                    "authwrite|ownerread", "-s", "3"});
    const std::string file = r.w.swtpm.directory().file("three");
    write_file(file, "abc");
    r.w.swtpm.tool({"tpm2_nvwrite", "-Q", "-i", file, tpm2::hex(kIndex)});
    const tpm2::NvOld old = tpm2::read_replaceable(
        *r.tpm, r.w.caller, r.tpm->nv_public(r.w.caller, kIndex), nullptr, nullptr);
    CHECK(contains(message_of([&] { r.replace(old); }, Reason::kNotPermitted), "hwid delete"));
    CHECK(r.read(kIndex) == Bytes{'a', 'b', 'c'});
  }
  SUBCASE("it is a counter") {
    r.w.swtpm.tool({"tpm2_nvdefine", "-Q", tpm2::hex(kIndex), "-C", "o", "-a",
                    "ownerwrite|ownerread|nt=counter"});
    message_of(
        [&] {
          tpm2::read_replaceable(*r.tpm, r.w.caller, r.tpm->nv_public(r.w.caller, kIndex), nullptr,
                                 nullptr);
        },
        Reason::kUnsupported);
  }
  SUBCASE("it has a value, which nobody named") {
    const auto auth = secret("of-the-old-one");
    message_of([&] { r.store(kClosed, &auth); }, Reason::kPinMissing);
    CHECK(r.w.swtpm.lockout_counter() == 0);
  }
  SUBCASE("it has another value than the one that was named, which is tried once") {
    const auto auth = secret("of-the-old-one");
    const auto wrong = secret("of-the-new-one");
    const std::string message =
        message_of([&] { r.store(kClosed, &auth, &wrong); }, Reason::kPinWrong);
    CHECK(contains(message, "TPM_RC_AUTH_FAIL"));
    CHECK(contains(message, "hwid delete 'tpm2:nv=0x1a00000'"));
    CHECK(r.w.swtpm.lockout_counter() == 1);
    r.w.swtpm.tool({"tpm2_dictionarylockout", "-c"});
  }
}

TEST_CASE("nv store: an index that somebody else took meanwhile is not used") {
  Replacing r;
  bool is_taken = false;
  r.w.spy.before = [&](TPM2_CC code) -> TSS2_RC {
    if (code == TPM2_CC_NV_DefineSpace && !std::exchange(is_taken, true))
      r.w.swtpm.tool({"tpm2_nvdefine", "-Q", "0x1800001", "-C", "o", "-s", "3"});
    return TSS2_RC_SUCCESS;
  };
  const auto made = tpm2::store_at_free_index(*r.tpm, r.w.caller, Replacing::area(r.after.size()),
                                              {r.after}, {0x1800002});
  r.w.spy.reset();
  CHECK(made.area.nvIndex == 0x1800003);
  CHECK(r.read(0x1800003) == r.after);
}
