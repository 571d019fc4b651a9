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
  hwid::core::RefusedPins& refused = Process::get().refused_pins();
  refused.remember("token-a", as_bytes("1234"));
  CHECK(refused.knows("token-a", as_bytes("1234")));
  CHECK_FALSE(refused.knows("token-a", as_bytes("1235")));
  CHECK_FALSE(refused.knows("token-b", as_bytes("1234")));
  CHECK(in_child([&] { return refused.knows("token-a", as_bytes("1234")); }));
  refused.forget("token-a");
  CHECK_FALSE(refused.knows("token-a", as_bytes("1234")));
  // What a child learns its parent knows, and one that dies in the middle is in nobody's way.
  const auto dies_in_a_try = [&] {
    refused.remember("token-a", as_bytes("5678"));
#ifndef __SANITIZE_THREAD__  // takes a lock whose holder died for one that is not held
    new hwid::core::RefusedPins::Try(refused, "token-a");
#endif
    return true;
  };
  CHECK(in_child(dies_in_a_try));
  CHECK(refused.knows("token-a", as_bytes("5678")));
  for (int i = 0; i < 100; ++i) refused.remember("token-c", as_bytes(std::to_string(i)));
  CHECK(refused.knows("token-c", as_bytes("99")));
  CHECK_FALSE(refused.knows("token-c", as_bytes("0")));
  refused.forget("token-c");
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
                                             {"dev.cache-keys", "no"},
                                             {"other.type", "pkcs11"},
                                             {"key-names", "a b"},
                                             {"keys.a", "pkcs11:token=t;object=a"}}));
  REQUIRE(config.backends.size() == 2);
  CHECK(config.backends[0].module == "/m.so");
  CHECK(config.backends[0].max_sessions == 4);
  CHECK_FALSE(config.backends[0].cache_pin);
  CHECK_FALSE(config.backends[0].cache_keys);
  CHECK(config.backends[1].cache_keys);
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
  CHECK(says(rejection({{"audit", "on"}}), "audit = on: not an audit trail"));
  CHECK(Config::read(lookup({{"audit", "file:/var/log/hwid/audit"}})).backends.size() == 2);
  for (const char* const setting : {"pin", "pkcs11-module-token-pin", "dev.pin"}) {
    const std::string text = rejection({{"backends", setting}, {setting, "s3cret"}});
    CHECK(says(text, "a setting has that name"));
    CHECK_FALSE(says(text, "s3cret"));
  }
}

TEST_CASE("config: pkcs11-provider's and libp11's names keep their meaning") {
  const Config latchset = Config::read(lookup({{"pkcs11-module-path", "/m.so"},
                                               {"pkcs11-module-token-pin", "file:/pin"},
                                               {"pkcs11-module-login-behavior", "always"},
                                               {"pkcs11-module-init-args", "configDir=/d"}}));
  REQUIRE(latchset.backends.size() == 2);  // and the TPM that nobody configured
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

TEST_CASE("config: pkcs11-provider's default slot, as strtoul reads it") {
  const auto slot = [](const char* text) {
    return Config::read(
               lookup({{"pkcs11-module-path", "/m.so"}, {"pkcs11-module-default-slot-id", text}}))
        .backends[0]
        .default_slot;
  };
  CHECK(slot("52") == 52);
  CHECK(slot("0") == 0);
  CHECK(slot("0x1E4b6f2") == 0x1e4b6f2);
  CHECK(slot("010") == 8);
  const std::string largest = std::to_string(~0UL);  // of a CK_SLOT_ID, on each architecture
  CHECK(slot(largest.c_str()) == ~0UL);
  CHECK_FALSE(slot("").has_value());
  for (const char* const text : {"first", "-1", "0x", "1 2", "08", "0x10000000000000000"})
    CHECK(rejection({{"pkcs11-module-default-slot-id", text}}).find("number of a slot") !=
          std::string::npos);
  // p11-kit has several modules, each with numbers of its own.
  CHECK(rejection({{"pkcs11-module-default-slot-id", "0"}}).find("with pkcs11-module-path") !=
        std::string::npos);
}

TEST_CASE("config: pkcs11-provider's \"never\" is said of public objects only") {
  using Login = BackendConfig::Login;
  const auto login = [](std::map<std::string, std::string> values) {
    return Config::read(lookup(std::move(values))).backends[0].login;
  };
  CHECK(login({{"pkcs11-module-login-behavior", "never"}}) == Login::kPrivate);
  CHECK(login({{"pkcs11-module-login-behavior", "never"}, {"force_login", "1"}}) == Login::kAlways);
  CHECK(login({{"pkcs11-module-login-behavior", "auto"}}) == Login::kAuto);
  setenv("PKCS11_FORCE_LOGIN", "0", 1);
  CHECK(login({{"force_login", "1"}}) == Login::kAuto);
  setenv("PKCS11_FORCE_LOGIN", "1", 1);
  CHECK(login({}) == Login::kAlways);
  unsetenv("PKCS11_FORCE_LOGIN");
  CHECK(login({{"backends", "dev"}, {"dev.type", "pkcs11"}, {"dev.login-behavior", "never"}}) ==
        Login::kNever);
}

TEST_CASE("config: a TPM, its objects and its mistakes") {
  const std::string name = "000b" + std::string(64, '7');
  const Config config = Config::read(lookup({{"backends", "dev tpm"},
                                             {"tcti", "device:/dev/tpm0"},
                                             {"dev.type", "pkcs11"},
                                             {"tpm.type", "tpm2"},
                                             {"tpm.tcti", "device:/dev/tpmrm0"},
                                             {"tpm.token", "tpm-token"},
                                             {"tpm.objects", "key=0x81000002 cert=0x1500000 f=/k"},
                                             {"tpm.session", "hmac"},
                                             {"tpm.parent", "0x81000001"},
                                             {"tpm.parent-name", name},
                                             {"tpm.exclusive", "yes"},
                                             {"keygen", "tpm"}}));
  REQUIRE(config.backends.size() == 2);
  CHECK(config.keygen == "tpm");
  const BackendConfig& tpm = config.backends[1];
  CHECK(tpm.type == "tpm2");
  CHECK_FALSE(tpm.implicit);
  CHECK(tpm.tcti == "device:/dev/tpmrm0");
  CHECK(tpm.token == "tpm-token");
  REQUIRE(tpm.objects.size() == 3);
  CHECK(tpm.objects[0].name == "key");
  CHECK(tpm.objects[0].handle == 0x81000002);
  CHECK(tpm.objects[1].handle == 0x1500000);
  CHECK(tpm.objects[2].file == "/k");
  CHECK_FALSE(tpm.objects[2].handle.has_value());
  CHECK(tpm.session == BackendConfig::Session::kHmac);
  CHECK(tpm.parent == 0x81000001);
  CHECK(to_hex(tpm.parent_name) == name);
  CHECK(tpm.exclusive);
  CHECK_FALSE(tpm.parent_auth.has_value());

  const auto wrong = [](const char* key, const std::string& value) {
    std::map<std::string, std::string> values{{"backends", "tpm"}, {"tpm.type", "tpm2"}};
    values.insert_or_assign(key, value);
    return rejection(values);
  };
  const auto says = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(says(wrong("tpm.objects", "key=81000002"), "tpm.objects = key=81000002: write NAME="));
  CHECK(says(wrong("tpm.objects", "key=0x40000001"), "write NAME="));
  CHECK(says(wrong("tpm.objects", "=0x81000002"), "write NAME="));
  CHECK(says(wrong("tpm.objects", "key"), "write NAME="));
  CHECK(says(wrong("tpm.objects", "a=/k a=/l"), "twice"));
  CHECK(says(wrong("tpm.session", "never"), "auto, none, hmac"));
  CHECK(says(wrong("tpm.parent", "srk"), "0x81000001, or owner"));
  CHECK(says(wrong("tpm.parent", "0x80000001"), "0x81000001, or owner"));
  CHECK(says(wrong("tpm.parent-name", "000b77"), "tpm2_readpublic"));
  CHECK(says(wrong("tpm.parent-name", name + "7"), "tpm2_readpublic"));
  CHECK(says(wrong("tpm.parent-name", "0x" + std::string(66, '7')), "tpm2_readpublic"));
  CHECK(says(wrong("tpm.exclusive", "maybe"), "yes or no"));
  CHECK(says(wrong("keygen", "dev"), "keygen = dev"));
  CHECK(wrong("tpm.parent", "0x4000000B") == "accepted");
  CHECK(says(rejection({{"backends", "d"}, {"d.type", "pkcs11"}, {"keygen", "e"}}), "keygen = e"));
}

TEST_CASE("config: tpm2-openssl's settings keep their meaning, without a section for a TPM") {
  const auto tpm_of = [](std::map<std::string, std::string> values) {
    Config config = Config::read(lookup(std::move(values)));
    return std::move(config.backends.back());
  };
  unsetenv("TPM2OPENSSL_TCTI");
  unsetenv("TPM2OPENSSL_PARENT_AUTH");
  const BackendConfig bare = tpm_of({});
  CHECK(bare.type == "tpm2");
  CHECK(bare.implicit);
  CHECK(bare.tcti.empty());
  CHECK(tpm_of({{"pkcs11-module-path", "/m.so"}}).implicit);
  CHECK(tpm_of({{"tcti", "swtpm:port=2321"}}).tcti == "swtpm:port=2321");
  CHECK(tpm_of({{"backends", "dev"}, {"dev.type", "pkcs11"}}).type == "pkcs11");
  setenv("TPM2OPENSSL_TCTI", "cmd:from-environment", 1);
  setenv("TPM2OPENSSL_PARENT_AUTH", "s3cret", 1);
  CHECK(tpm_of({{"tcti", "swtpm"}}).tcti == "cmd:from-environment");
  CHECK(tpm_of({{"backends", "tpm"}, {"tpm.type", "tpm2"}, {"tpm.tcti", "device"}}).tcti ==
        "device");
  const BackendConfig with_auth = tpm_of({});
  unsetenv("TPM2OPENSSL_TCTI");
  unsetenv("TPM2OPENSSL_PARENT_AUTH");
  REQUIRE(with_auth.parent_auth.has_value());
  CHECK(with_auth.parent_auth->size() == 6);

  const auto keygen_of = [](std::map<std::string, std::string> values) {
    return Config::read(lookup(std::move(values))).keygen;
  };
  CHECK(keygen_of({{"provider-name", "hwid"}}) == "software");
  CHECK(keygen_of({{"provider-name", "tpm2"}}) == "tpm2");
  CHECK(keygen_of({{"provider-name", "tpm2"}, {"keygen", "software"}}) == "software");
  CHECK(keygen_of({{"provider-name", "tpm2"}, {"backends", "t"}, {"t.type", "tpm2"}}) == "t");
  CHECK(keygen_of({{"provider-name", "tpm2"}, {"backends", "d"}, {"d.type", "pkcs11"}}) ==
        "software");
  CHECK(
      keygen_of(
          {{"provider-name", "hwid"}, {"keygen", "d"}, {"backends", "d"}, {"d.type", "pkcs11"}}) ==
      "d");
  CHECK(keygen_of({{"provider-name", "pkcs11"}, {"pkcs11-module-path", "/nowhere.so"}}) ==
        "software");
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

TEST_CASE("error: long names and many of them are cut, between two characters") {
  CHECK(list_text({}).empty());
  CHECK(list_text({"a", "b"}) == "a, b");
  CHECK(list_text(std::vector<std::string>(12, "a")) == "a, a, a, a, a, a, a, a, a, a, and 2 more");
  CHECK(name_text(std::string(120, 'a')) == std::string(120, 'a'));
  CHECK(name_text(std::string(121, 'a')) == std::string(120, 'a') + "[...]");
  CHECK(name_text(std::string(119, 'a') + "\u20ac!") == std::string(119, 'a') + "[...]");
  CHECK(name_text(std::string(118, 'a') + "\u20ac!") == std::string(118, 'a') + "[...]");
  CHECK(name_text(std::string(117, 'a') + "\u20ac!") == std::string(117, 'a') + "\u20ac[...]");
  CHECK(name_text(std::string(200, '\x80')) == std::string(117, '\x80') + "[...]");
  // A sentence is not cut, and what is behind the list is seen.
  CHECK(list_text({std::string(800, 'a'), "b"}) == std::string(800, 'a') + ", and 1 more");
  const std::string names = list_text(std::vector<std::string>(10, std::string(125, 'a')));
  CHECK(names.size() < 520);
  CHECK(names.substr(names.size() - 10) == "and 7 more");
}
