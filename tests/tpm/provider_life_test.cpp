// The life of open keys in a TPM with three slots: many of them, threads, children, and ends.
#include <atomic>

#include "tests/fixture/life.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;
using namespace hwid::test::life;

namespace {

constexpr const char* kValue = "an-auth-value";

// Makes keys in files without a child program each.
EvpPkey new_wrapped_key() {
  static const LibraryContext maker(world().conf({{"parent", kParent}}).setting("keygen", "tpm"));
  return generate(maker, "EC", {{{"group", "P-256"}}, {}});
}
std::string new_file() {
  static int files = 0;
  const std::string file = world().file("wrapped-" + std::to_string(++files) + ".pem");
  write_file(file, write_pem(new_wrapped_key().get()));
  return file;
}

// A key that stays in the TPM, one in a file, and one with an auth value.
const std::vector<std::string>& uris() {
  static const std::vector<std::string> made = {
      by_handle(world().add_key("ecc256")), "tpm2:file=" + new_file(),
      by_handle(world().add_key({"ecc256", kSignDecrypt, kValue, kParent, {}})) +
          "?pin-value=" + kValue,
      by_handle(world().add_key("rsa2048"))};
  return made;
}

KeySigner open(const std::string& uri, bool pss = false) { return {context(), key(uri), pss}; }

// At exit libcrypto frees what it has for threads that still run, of which ThreadSanitizer tells.
bool is_libcryptos_race(const RunResult& ended) {
  constexpr int kRaceFound = 66;
  const std::string stacks = ended.err.substr(0, ended.err.find("As if synchronized"));
  return ended.exit_code == kRaceFound && contains(stacks, "libcrypto.so") &&
         !contains(stacks, "hwid.so");
}

// What this process has loaded itself, whatever that is.
std::string loaded() { return world().swtpm.loaded(); }

}  // namespace

TEST_CASE("tpm life: fifty key files open at once, signing in turn") {
  std::vector<KeySigner> signers;
  signers.reserve(50);
  for (int i = 0; i < 50; ++i) signers.push_back(open(new_file()));
  for (int round = 0; round < 2; ++round) {
    for (const KeySigner& signer : signers) CHECK(signer.failure().empty());
  }
}

TEST_CASE("tpm life: eight threads on one key") {
  for (const std::string& uri : uris()) {
    CAPTURE(uri);
    const KeySigner signer = open(uri);
    std::atomic<int> good{0};
    on_threads(8, [&](int) { good += signer.signs(10) ? 1 : 0; });
    CHECK(good == 8);
  }
}

TEST_CASE("tpm life: eight threads with a key each, that open, sign and free") {
  std::vector<std::string> all = uris();
  for (int i = 0; i < 4; ++i) all.push_back(new_file());
  std::atomic<int> good{0};
  on_threads(8, [&](int thread) {
    for (int round = 0; round < 5; ++round)
      good += open(all[static_cast<std::size_t>(thread + round) % all.size()]).signs(2) ? 1 : 0;
  });
  CHECK(good == 40);
}

TEST_CASE("tpm life: contexts come and go beside each other") {
  std::atomic<int> good{0};
  on_threads(4, [&](int thread) {
    for (int round = 0; round < 3; ++round) {
      const LibraryContext own(world().conf());
      const std::string& uri = uris()[static_cast<std::size_t>(thread + round) % uris().size()];
      good += KeySigner(own, own.private_key(uri), false).signs(2) ? 1 : 0;
    }
  });
  CHECK(good == 12);
}

TEST_CASE("tpm life: of two openings of one key one goes, and the other stays") {
  for (const std::string& uri : uris()) {
    CAPTURE(uri);
    KeySigner first = open(uri);
    const KeySigner second = open(uri);
    CHECK(first.signs());
    first.free_key();
    CHECK(second.signs(2));
  }
}

TEST_CASE("tpm life: a signature that was begun survives another key's") {
  const KeySigner one = open(uris()[1]);
  const KeySigner other = open(new_file());
  KeySigner::Stream stream = one.stream();
  CHECK(other.signs());
  CHECK(stream.finish().empty());
}

TEST_CASE("tpm life: parent and child sign at once with a key that was open before") {
  for (const std::string& uri : uris()) {
    CAPTURE(uri);
    const KeySigner signer = open(uri);
    CHECK(signer.signs());
    const std::string before = loaded();
    const pid_t child = start_child([&] { return signer.signs(10); });
    CHECK(signer.signs(10));
    CHECK(status_of(child) == 0);
    CHECK(signer.signs());
    world().swtpm.flush_since(before);  // it left by _exit
    CHECK(signer.signs());
  }
}

TEST_CASE("tpm life: four children sign at once with a key that is in the TPM") {
  const KeySigner signer = open(uris()[0]);
  std::vector<pid_t> children;
  for (int child = 0; child < 4; ++child)
    children.push_back(start_child([&] { return signer.signs(10); }));
  CHECK(signer.signs(10));
  for (const pid_t child : children) CHECK(status_of(child) == 0);
}

TEST_CASE("tpm life: a child opens what its parent has not, and has a child of its own") {
  const std::string file = new_file();
  const std::string before = loaded();
  CHECK(in_child([&] {
    const KeySigner signer = open(file);
    return signer.signs(2) && in_child([&] { return signer.signs(2); });
  }));
  world().swtpm.flush_since(before);
}

TEST_CASE("tpm life: children end by exit and by _exit, and their parent goes on") {
  for (const std::string& uri : uris()) {
    CAPTURE(uri);
    const std::string before = loaded();
    const Counted ended = run_signer(world().conf(), uri, "fork-exit");
    CHECK_MESSAGE(ended.result.exit_code == 0, ended.result.err);
    world().swtpm.flush_since(before);
  }
}

TEST_CASE("tpm life: nothing stays loaded after a process, though its key was never freed") {
  for (const std::string& uri : uris()) {
    CAPTURE(uri);
    const std::string before = loaded();
    const Counted ended = run_signer(world().conf(), uri, "sign", "2");
    CHECK_MESSAGE(ended.result.ok(), ended.result.err);
    CHECK(loaded() == before);
    for (const char* const how : {"exit", "return"}) {
      const Counted threads = run_signer(world().conf(), uri, "threads", how);
      CHECK_MESSAGE((threads.result.exit_code == 7 || is_libcryptos_race(threads.result)),
                    threads.result.err);
      CHECK(loaded() == before);
    }
  }
}

TEST_CASE("tpm life: exit handlers of the program get a signature or an error") {
  for (const std::string& uri : uris()) {
    CAPTURE(uri);
    const std::string before = loaded();
    const Counted ended = run_signer(world().conf(), uri, "handler");
    CHECK_MESSAGE(ended.result.exit_code == 0, ended.result.err);
    CHECK(loaded() == before);
  }
}

TEST_CASE("tpm life: a context that is freed takes nothing of another one's") {
  const KeySigner mine = open(uris()[1]);
  {
    const LibraryContext other(world().conf());
    CHECK(KeySigner(other, other.private_key(uris()[1]), false).signs());
  }
  CHECK(mine.signs(2));
}
