#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

#include "provider/core/config.h"
#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "provider/core/log.h"
#include "provider/core/process.h"
#include "provider/core/secret.h"
#include "tests/fixture/files.h"

using namespace hwid::core;

namespace {

// Runs `body` in a forked child; true if it returned true there.
template <typename Body>
bool in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct Counted {
  explicit Counted(const Counted* inherited)
      : generation(inherited ? inherited->generation + 1 : 1) {}
  int generation;
};

ConfigLookup lookup(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

std::string rejection(std::map<std::string, std::string> values) {
  try {
    (void)Config::read(lookup(std::move(values)));
  } catch (const Error& error) {
    CHECK(error.reason == Reason::kBadConfiguration);
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("process: a forked child has another epoch and fresh epoch-local state") {
  EpochLocal<Counted> local;
  const std::uint64_t epoch = Process::get().fork_epoch();
  CHECK(Process::get().fork_epoch() == epoch);
  CHECK(local.get().generation == 1);
  CHECK(in_child([&] {
    const bool child = Process::get().fork_epoch() != epoch && local.get().generation == 2;
    return child && in_child([&] { return local.get().generation == 3; });
  }));
  CHECK(local.get().generation == 1);
}

TEST_CASE("process: a refused PIN is known again, also in a child, until the token accepts one") {
  Process& process = Process::get();
  process.remember_refused_pin("token-a", as_bytes("1234"));
  CHECK(process.is_refused_pin("token-a", as_bytes("1234")));
  CHECK_FALSE(process.is_refused_pin("token-a", as_bytes("1235")));
  CHECK_FALSE(process.is_refused_pin("token-b", as_bytes("1234")));
  CHECK(in_child([&] { return process.is_refused_pin("token-a", as_bytes("1234")); }));
  process.forget_refused_pins("token-a");
  CHECK_FALSE(process.is_refused_pin("token-a", as_bytes("1234")));
}

TEST_CASE("secret: the arena serves threads and cleanses what comes back") {
  std::vector<std::thread> threads;
  std::atomic<bool> good{true};
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t round = 1; round < 400; ++round) {
        Secret secret(round * 7 % 5000);
        std::memset(secret.writable().data(), thread + 1, secret.size());
        const Secret copy = secret.clone();
        for (const std::uint8_t byte : copy.reveal()) good = good && byte == thread + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good);
  auto* const block = static_cast<std::uint8_t*>(secure_arena::allocate(64));
  std::memset(block, 0x5a, 64);
  secure_arena::deallocate(block, 64);
  auto* const again = static_cast<std::uint8_t*>(secure_arena::allocate(64));
  REQUIRE(again == block);
  CHECK(again[0] == 0);
  CHECK(again[63] == 0);
  secure_arena::deallocate(again, 64);
}

TEST_CASE("key reference: both forms go round, damaged ones are refused") {
  for (const char* const uri : {"pkcs11:token=t;object=k;type=private", "hwid://device"}) {
    const KeyReference reference = encode_reference(uri);
    CHECK(is_reference_label(reference.label));
    CHECK(decode_reference(reference.der) == uri);
    Bytes longer = reference.der;
    longer.push_back(0);
    CHECK_THROWS_AS(decode_reference(longer), Error);
    for (std::size_t size = 0; size < reference.der.size(); ++size)
      CHECK(decode_reference(ByteView(reference.der).first(size)) == std::nullopt);
  }
  CHECK(std::string(encode_reference("pkcs11:object=k").label) == "PKCS#11 PROVIDER URI");
  CHECK(std::string(encode_reference("hwid://device").label) == "HWID KEY REFERENCE");
  CHECK(decode_reference(Bytes{0x30, 0x03, 0x02, 0x01, 0x00}) == std::nullopt);
}

TEST_CASE("config: backends, names and their mistakes") {
  const Config config = Config::read(lookup({{"backends", "dev other"},
                                             {"dev.type", "pkcs11"},
                                             {"dev.module", "/m.so"},
                                             {"dev.token", "t"},
                                             {"dev.max-sessions", "4"},
                                             {"dev.cache-pin", "no"},
                                             {"other.type", "pkcs11"},
                                             {"key-names", "a b"},
                                             {"keys.a", "pkcs11:token=t;object=a"}}));
  REQUIRE(config.backends.size() == 2);
  CHECK(config.backends[0].module == "/m.so");
  CHECK(config.backends[0].max_sessions == 4);
  CHECK_FALSE(config.backends[0].cache_pin);
  CHECK(config.key_names == std::vector<std::string>{"a", "b"});
  CHECK(config.resolve("a") == "pkcs11:token=t;object=a");
  CHECK(config.resolve("b") == std::nullopt);

  const auto says = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(says(rejection({{"backends", "dev"}, {"dev", "no_section"}}), "[no_section]"));
  CHECK(says(rejection({{"backends", "dev"}}), "type = pkcs11"));
  CHECK(says(rejection({{"backends", "dev"}, {"dev.type", "pkcs12"}}), "dev.type = pkcs12"));
  CHECK(says(rejection({{"backends", "dev"}, {"dev.type", "pkcs11"}, {"dev.max-sessions", "0"}}),
             "number from 1"));
  CHECK(says(rejection({{"allow-uri-module-path", "maybe"}}), "yes or no"));
  CHECK(says(rejection({{"keys", "hwid_keys"}}), "[hwid_keys]"));
  CHECK(says(rejection({{"audit", "syslog"}}), "audit = syslog"));
}

TEST_CASE("config: pkcs11-provider's and libp11's names keep their meaning") {
  const Config latchset = Config::read(lookup({{"pkcs11-module-path", "/m.so"},
                                               {"pkcs11-module-token-pin", "file:/pin"},
                                               {"pkcs11-module-login-behavior", "always"},
                                               {"pkcs11-module-init-args", "configDir=/d"}}));
  REQUIRE(latchset.backends.size() == 1);
  CHECK(latchset.backends[0].module == "/m.so");
  CHECK(latchset.backends[0].pin_source == "file:/pin");
  CHECK(latchset.backends[0].login == BackendConfig::Login::kAlways);
  CHECK(latchset.backends[0].init_args == "configDir=/d");
  const Config libp11 = Config::read(lookup({{"pkcs11_module", "/l.so"}, {"pin", "42"}}));
  CHECK(libp11.backends[0].module == "/l.so");
  REQUIRE(libp11.backends[0].pin.has_value());
  CHECK(libp11.backends[0].pin->size() == 2);
  CHECK(Config::read(lookup({})).backends[0].module.empty());
  CHECK(Config::read(lookup({{"pkcs11-module-quirks", "no-deinit"}})).unneeded.size() == 1);
}

TEST_CASE("config: a logical name without an entry is looked for in the state directory") {
  const hwid::test::TemporaryDirectory directory;
  const Config config = Config::read(lookup({{"state-dir", directory.path().string()}}));
  CHECK(config.resolve("device") == std::nullopt);
  const std::string current = directory.file("device/current");
  REQUIRE(system(("mkdir -p '" + current + "' && touch '" + current + "/key.pem'").c_str()) == 0);
  CHECK(config.resolve("device") == current + "/key.pem");
}

TEST_CASE("log: levels, sinks, and settings that are none") {
  const hwid::test::TemporaryDirectory directory;
  const std::string path = directory.file("log");
  {
    const Log log("warn:file:" + path);
    CHECK(log.on(LogLevel::kError));
    CHECK_FALSE(log.on(LogLevel::kInfo));
    HWID_LOG(log, kWarn, "first\nline");
    HWID_LOG(log, kDebug, "not written");
  }
  const std::string text = hwid::test::read_file(path);
  CHECK(text.find("warn: first line\n") != std::string::npos);
  CHECK(text.find("not written") == std::string::npos);
  CHECK_FALSE(Log().on(LogLevel::kError));
  CHECK_THROWS_AS(Log("loud:stderr"), Error);
  CHECK_THROWS_AS(Log("warn:printer"), Error);
  CHECK_THROWS_AS(Log("warn:file:/nonexistent/log"), Error);
}
