// Keys, contexts and the provider itself come and go.
#include <malloc.h>
#include <openssl/provider.h>
#include <openssl/store.h>

#include <cstdlib>
#include <filesystem>

#include "tests/fixture/paths.h"
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

std::size_t entries(const char* directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory),
                                                std::filesystem::directory_iterator{}));
}

std::size_t open_sessions() {
  return world().module.count("C_OpenSession") - world().module.count("C_CloseSession");
}

// What a process has too many of when something leaks.
struct Belongings {
  std::size_t descriptors = entries("/proc/self/fd");
  std::size_t threads = entries("/proc/self/task");
  std::size_t sessions = open_sessions();
  std::size_t bytes = mallinfo2().uordblks;  // 0 under a sanitizer, which counts by itself
};

EvpPkey open_key(OSSL_LIB_CTX* context, const std::string& uri) {
  OSSL_STORE_CTX* const store = OSSL_STORE_open_ex(uri.c_str(), context, nullptr, nullptr, nullptr,
                                                   nullptr, nullptr, nullptr);
  OSSL_STORE_INFO* const info = store != nullptr ? OSSL_STORE_load(store) : nullptr;
  EvpPkey key(info != nullptr ? OSSL_STORE_INFO_get1_PKEY(info) : nullptr);
  OSSL_STORE_INFO_free(info);
  OSSL_STORE_close(store);
  if (!key) throw std::runtime_error("OSSL_STORE_load:\n" + openssl_errors());
  return key;
}

}  // namespace

TEST_CASE("life: sixteen threads each open the same URI, sign, free, again and again") {
  const LibraryContext context(world().conf({{"max-sessions", "3"}}));
  world().module("max-sessions 3\nreset-counts");
  std::atomic<int> good{0};
  on_threads(16, [&](int thread) {
    try {
      for (int round = 0; round < 10; ++round)
        good += Signer(context, kKinds[(thread + round) % 3]).signs() ? 1 : 0;
    } catch (const std::exception& error) {
      (void)Signer::none(error.what());
    }
  });
  CHECK(good == 160);
  CHECK(world().module.count("peak-sessions") <= 3);
  CHECK(world().module.count("C_Login") <= 1);
  CHECK(world().module.count("bad-handle") == 0);
  check_order();
  world().module.clear();
}

TEST_CASE("life: sixteen threads with a library context each") {
  std::atomic<int> good{0};
  const OpensslConf conf = world().conf({{"max-sessions", "3"}});
  const TemporaryDirectory directory;
  const std::string file = conf.write(directory.file("openssl.cnf"));
  on_threads(16, [&](int thread) {
    try {
      for (int round = 0; round < 3; ++round) {
        const LibraryContext own(file);
        const Signer signer(own, kKinds[(thread + round) % 3]);
        Signer::Stream begun = signer.stream();
        good += signer.signs(2) && Signer::none(begun.finish()) ? 1 : 0;
      }
    } catch (const std::exception& error) {
      (void)Signer::none(error.what());
    }
  });
  CHECK(good == 48);
  CHECK(world().module.count("peak-sessions") <= 3);
  check_order();
  world().module.clear();
}

TEST_CASE("life: the same key opened twice, and one freed") {
  const LibraryContext context(world().conf());
  for (const Kind& kind : kKinds) {
    Signer first(context, kind);
    const Signer second(context, kind);
    Signer::Stream of_first = first.stream();
    Signer::Stream of_second = second.stream();
    first.free_key();
    CHECK(second.failure(2) == "");
    CHECK(of_first.finish() == "");  // the operation holds the key
    CHECK(of_second.finish() == "");
    world().module("drop-sessions\nlog-out");
    CHECK(second.failure(2) == "");  // the PIN is still kept
  }
  check_order();
  world().module.clear();
}

TEST_CASE("life: sixteen streaming signatures open at once on a token with one session") {
  const LibraryContext context(world().conf({{"max-sessions", "1"}}));
  world().module("drop-sessions\nmax-sessions 1\nreset-counts");
  const Signer signers[] = {{context, kKinds[0]}, {context, kKinds[1]}, {context, kKinds[2]}};
  std::vector<Signer::Stream> begun;
  for (int i = 0; i < 32; ++i) begun.push_back(signers[i % 3].stream());
  for (int i = 0; i < 16; ++i) CHECK(begun[static_cast<std::size_t>(i)].finish() == "");
  std::atomic<int> good{0};
  on_threads(16, [&](int thread) {
    good += Signer::none(begun[16 + static_cast<std::size_t>(thread)].finish()) ? 1 : 0;
  });
  CHECK(good == 16);
  CHECK(world().module.count("peak-sessions") == 1);
  check_order();
  world().module.clear();
}

// Sessions are dropped no faster than a thread signs: two losses a signature are healed, not any
// number.
TEST_CASE("life: one library context comes and goes while another's threads sign") {
  const OpensslConf conf = world().conf({{"max-sessions", "4"}});
  const LibraryContext context(conf);
  const Signer rsa(context, kKinds[1]);
  const Signer ec(context, kKinds[2]);
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::atomic<int> made[4] = {};
  std::thread work([&] {
    on_threads(4, [&](int thread) {
      while (!stop) {
        bad += (thread % 2 == 0 ? rsa : ec).signs() ? 0 : 1;
        ++made[thread];
      }
    });
  });
  for (int round = 0; round < 10; ++round) {
    const int before[4] = {made[0], made[1], made[2], made[3]};
    CHECK(wait_until([&] {
      return made[0] > before[0] && made[1] > before[1] && made[2] > before[2] &&
             made[3] > before[3];
    }));
    const LibraryContext other(conf);
    const Signer signer(other, kKinds[round % 3]);
    Signer::Stream begun = signer.stream();
    world().module("drop-sessions");
    CHECK(signer.failure(2) == "");
    CHECK(begun.finish() == "");
  }
  stop = true;
  work.join();
  CHECK(bad == 0);
  CHECK(world().module.count("peak-sessions") <= 4);
  check_order();
  world().module.clear();
}

TEST_CASE("life: the provider loaded and unloaded a hundred times leaves nothing behind") {
  const OpensslConf conf = world().conf({{"max-sessions", "2"}});
  const TemporaryDirectory directory;
  const std::string file = conf.write(directory.file("openssl.cnf"));
  const auto live_once = [&](int round) {
    const LibraryContext own(file);
    const Signer signer(own, kKinds[round % 3]);
    CHECK(signer.failure() == "");
  };
  for (int round = 0; round < 30; ++round) live_once(round);
  const Belongings before;
  for (int round = 0; round < 100; ++round) live_once(round);
  const Belongings after;
  CHECK(after.descriptors == before.descriptors);
  CHECK(after.threads == before.threads);
  CHECK(after.sessions == before.sessions);
  // OpenSSL 3.0 itself keeps some 150 bytes of each library context; a key takes 2000.
  CHECK(after.bytes < before.bytes + std::size_t{100} * 1000);
  CHECK(world().module.count("C_Initialize") <= 1);
  CHECK(world().module.count("C_Finalize") == 0);
  CHECK(world().module.count("bad-handle") == 0);
  check_order();
  world().module.clear();
}

TEST_CASE("life: a key outlives OSSL_PROVIDER_unload, a hundred times in one context") {
  setenv("PKCS11_PROVIDER_MODULE", world().module.path().c_str(), 1);
  OSSL_LIB_CTX* const plain = OSSL_LIB_CTX_new();
  REQUIRE(OSSL_PROVIDER_set_default_search_path(plain, module_dir().c_str()) == 1);
  OSSL_PROVIDER* const standard = OSSL_PROVIDER_load(plain, "default");
  REQUIRE(standard != nullptr);
  for (int round = 0; round < 100; ++round) {
    OSSL_PROVIDER* const hwid = OSSL_PROVIDER_load(plain, "hwid");
    REQUIRE_MESSAGE(hwid != nullptr, openssl_errors());
    const auto signed_after_unload = [&] {
      const Kind& kind = kKinds[round % 3];
      const Signer signer(plain, open_key(plain, world().token.uri(kind.label, true)), kind.pss);
      Signer::Stream begun = signer.stream();
      const std::string with = signer.failure();
      CHECK(OSSL_PROVIDER_unload(hwid) == 1);
      CHECK(begun.finish() == "");
      // What is not begun yet needs the provider's algorithms: an error, or a signature.
      const std::string without = signer.failure();
      CHECK((without.empty() || without.find("EVP_DigestSign") != std::string::npos));
      return with;
    };
    CHECK(signed_after_unload() == "");
  }
  CHECK(OSSL_PROVIDER_unload(standard) == 1);
  OSSL_LIB_CTX_free(plain);
  unsetenv("PKCS11_PROVIDER_MODULE");
  CHECK(open_sessions() <= 1);
  check_order();
  world().module.clear();
}
