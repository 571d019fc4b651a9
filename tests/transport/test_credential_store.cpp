// Generations of credentials, and learned.conf: what is there after each step, and after a crash
// before each.
#include <doctest/doctest.h>
#include <hwid/device_config.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "pki.h"
#include "stopped_calls.h"
#include "transport/credential_store.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

void write(const fs::path& file, const std::string& text) { std::ofstream(file) << text; }

std::string reference(const std::string& content) {
  return "-----BEGIN HWID KEY REFERENCE-----\n" + content + "\n-----END HWID KEY REFERENCE-----\n";
}

struct Certificates {
  Certificates() {
    make_certificate(directory.path(), "one", "");
    make_certificate(directory.path(), "two", "");
  }
  std::string one() const { return text_of(directory / "one.pem"); }
  std::string two() const { return text_of(directory / "two.pem"); }
  TemporaryDirectory directory;
};

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

unsigned enrol(CredentialStore& store, const std::string& key, const std::string& cert,
               const Learned& learned = {}) {
  const unsigned number = store.begin(reference(key)).number;
  store.keep_certificate(number, cert);
  if (!learned.empty()) store.keep_learned(number, learned);
  store.make_current(number);
  return number;
}

}  // namespace

TEST_CASE("credential_store: a generation becomes current, and is what device.conf then says") {
  const Certificates certificates;
  const TemporaryDirectory directory;
  const fs::path state = directory / "deep/state";
  write(directory / "device.conf",
        "endpoint = mqtts://old\nkey = hwid://line\nstate-dir = " + state.string() + "\n");
  {
    CredentialStore store(state, "line");
    CHECK_FALSE(store.current());
    CHECK_FALSE(store.candidate());
    const auto begun = store.begin(reference("a"));
    CHECK(begun.number == 1);
    CHECK(begun.cert.empty());
    CHECK(store.candidate()->number == 1);
    CHECK(contains(error_of([&] { store.make_current(1); }), "has no certificate yet"));
    store.keep_certificate(1, certificates.one());
    store.keep_learned(1, {{"endpoint", "mqtts://new"}, {"client-id", "line-7"}});
    CHECK_FALSE(fs::exists(state / "learned.conf"));
    store.make_current(1);
    CHECK(store.current()->number == 1);
    CHECK_FALSE(store.candidate());
    CHECK(contains(error_of([&] { store.keep_certificate(1, certificates.two()); }), "in use"));
    CHECK(contains(error_of([&] { store.remove(1); }), "in use"));
  }
  const auto config = DeviceConfig::read(directory / "device.conf");
  CHECK(config.endpoint == "mqtts://new");
  CHECK(config.client_id == "line-7");
  CHECK(text_of(config.key) == reference("a"));
  CHECK(text_of(config.cert) == certificates.one());
  CHECK(credential_name(config) == "line");
  CHECK(fs::read_symlink(state / "line/current") == "gen-1");
}

TEST_CASE("credential_store: the old pair stays until it is removed") {
  const Certificates certificates;
  const TemporaryDirectory directory;
  CredentialStore store(directory.path(), "device");
  enrol(store, "a", certificates.one(), {{"endpoint", "mqtts://first"}});
  CHECK(enrol(store, "b", certificates.two()) == 2);
  CHECK(store.generations().size() == 2);
  CHECK(text_of(store.current_key()) == reference("b"));
  CHECK(text_of(store.generations().front().key) == reference("a"));
  CHECK(text_of(store.generations().front().cert) == certificates.one());
  CHECK(contains(text_of(directory / "learned.conf"), "endpoint = mqtts://first\n"));
  const auto view = CredentialStore::look_at(directory.path(), "device");
  CHECK(view.current->number == 2);
  CHECK_FALSE(view.candidate);
  CHECK_FALSE(CredentialStore::look_at(directory.path(), "none").current);
  // Learned once: what is learned later is not overwritten by what a generation said.
  update_learned(directory.path(), {{"endpoint", "mqtts://later"}});
  store.make_current(1);  // back
  CHECK(contains(text_of(directory / "learned.conf"), "endpoint = mqtts://later\n"));
  CHECK(text_of(store.current_key()) == reference("a"));
  CHECK(store.candidate()->number == 2);
  CHECK(CredentialStore::look_at(directory.path(), "device").candidate->number == 2);
  store.remove(2);
  CHECK(store.generations().size() == 1);
  CHECK(store.next_number() == 2);
  CHECK(contains(error_of([&] { store.keep_learned(2, {}); }), "no such generation"));
}

TEST_CASE("credential_store: a generation holds references and certificates, nothing else") {
  const Certificates certificates;
  const TemporaryDirectory directory;
  CredentialStore store(directory.path(), "device");
  const std::string key = text_of(certificates.directory / "one.key");
  CHECK(contains(error_of([&] { store.begin(key); }), "would hold the key itself"));
  CHECK(contains(error_of([&] { store.begin(""); }), "software key"));
  CHECK(store.generations().empty());
  store.begin(reference("a"));
  CHECK(contains(error_of([&] { store.keep_certificate(1, "garbage"); }), "no certificate"));
  CHECK(contains(error_of([&] { store.keep_certificate(1, certificates.one() + key); }),
                 "more than certificates"));
  store.keep_certificate(1, certificates.one() + certificates.two());
  struct stat status {};
  ::stat((directory / "device/gen-1/key.pem").c_str(), &status);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  CHECK((status.st_mode & 0777) == (0644 & ~mask));
  store.begin("-----BEGIN TSS2 PRIVATE KEY-----\nAA==\n-----END TSS2 PRIVATE KEY-----\n");
  ::stat((directory / "device/gen-2/key.pem").c_str(), &status);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("credential_store: names, and what is not its own") {
  const TemporaryDirectory directory;
  for (const char* name : {"", ".", "..", "a/b", "-a", ".new-x", "a b", "\xc3\xa4"})
    CHECK(contains(error_of([&] { CredentialStore store(directory.path(), name); }), "a name has"));
  CHECK(fs::is_empty(directory.path()));

  fs::create_directories(directory / "device/gen-01");
  fs::create_directories(directory / "device/gen-x");
  fs::create_directory_symlink("/tmp", directory / "device/current");
  const auto said = error_of([&] { CredentialStore store(directory.path(), "device"); });
  CHECK(contains(said, "no link to a generation"));
  CHECK(contains(said, "ln -sfn"));
  fs::remove(directory / "device/current");
  CHECK(CredentialStore(directory.path(), "device").generations().empty());
}

TEST_CASE("credential_store: one process at a time") {
  const TemporaryDirectory directory;
  {
    const CredentialStore store(directory.path(), "device");
    const CredentialStore other(directory.path(), "other");
    CHECK(contains(error_of([&] { CredentialStore second(directory.path(), "device"); }),
                   "another process is changing"));
  }
  const CredentialStore again(directory.path(), "device");
}

TEST_CASE("credential_store: what a device is called") {
  const TemporaryDirectory directory;
  DeviceConfig config;
  config.state_dir = directory.path().string();
  CHECK(credential_name(config) == "device");
  config.key = "hwid:line-7";
  CHECK(credential_name(config) == "line-7");
  config.key = "hwid://line-7?pin-source=file:/pin";
  CHECK(credential_name(config) == "line-7");
  config.key = "pkcs11:object=x";
  CHECK(credential_name(config) == "device");
  config.key = "/elsewhere/gate/current/key.pem";
  CHECK(credential_name(config) == "device");
  fs::create_directories(directory / "gate");
  config.key = (directory / "gate/current/key.pem").string();
  CHECK(credential_name(config) == "gate");
}

TEST_CASE("credential_store: learned.conf goes on with the name that it has") {
  const Certificates certificates;
  const TemporaryDirectory directory;
  {
    CredentialStore store(directory.path(), "device");
    enrol(store, "a", certificates.one(), {{"endpoint", "mqtts://first"}});
  }
  const std::string before = text_of(directory / "learned.conf");
  {
    CredentialStore other(directory.path(), "other");
    enrol(other, "b", certificates.two(), {{"endpoint", "mqtts://second"}});
    CHECK(text_of(other.current_key()) == reference("b"));
    CHECK(other.learned_with(1).at("endpoint") == "mqtts://second");
  }
  const CredentialStore opened(directory.path(), "other");
  CHECK(text_of(directory / "learned.conf") == before);
}

TEST_CASE("credential_store: root writes nothing that its owner cannot renew") {
  if (::geteuid() != 0) return;
  const TemporaryDirectory directory;
  const fs::path state = directory / "state";
  fs::create_directory(state);
  REQUIRE(::chown(state.c_str(), 12345, 0) == 0);
  const auto open = [&] { const CredentialStore store(state, "device"); };
  CHECK(contains(error_of(open), "sudo -u '#12345'"));
  CHECK_FALSE(fs::exists(state / "device"));
  REQUIRE(::chown(state.c_str(), 0, 0) == 0);
  CHECK_NOTHROW(open());
}

TEST_CASE("learned: keys of device.conf, in lines that can be read back") {
  const TemporaryDirectory directory;
  write(directory / "device.conf", "state-dir = " + directory.path().string() + "\n");
  write(directory / "learned.conf", "client-id = x\n[topics]\npublish = a/#\n");
  update_learned(directory.path(), {{"endpoint", "mqtts://hub:8883"}, {"client-id", ""}});
  auto config = DeviceConfig::read(directory / "device.conf");
  CHECK(config.endpoint == "mqtts://hub:8883");
  CHECK(config.client_id.empty());
  CHECK(config.topics_publish == "a/#");

  const std::string before = text_of(directory / "learned.conf");
  for (const char* bad : {"a\nkey = /evil", "a\rb", " a", "a ", "a #b", "#a", "\x1f"})
    CHECK(contains(error_of([&] {
                     update_learned(directory.path(), {{"endpoint", bad}});
                   }),
                   "cannot stand in a line"));
  CHECK(contains(error_of([&] {
                   update_learned(directory.path(), {{"endpoint", std::string(5000, 'a')}});
                 }),
                 "cannot stand"));
  CHECK(contains(error_of([&] {
                   update_learned(directory.path(), {{"evil", "a"}});
                 }),
                 "no such key"));
  CHECK(text_of(directory / "learned.conf") == before);

  struct stat first {};
  struct stat second {};
  ::stat((directory / "learned.conf").c_str(), &first);
  update_learned(directory.path(), {{"endpoint", "mqtts://hub:8883"}});
  ::stat((directory / "learned.conf").c_str(), &second);
  CHECK(first.st_ino == second.st_ino);  // nothing to say: not written
}

namespace {

// From one working pair to the next, as an enrolment does it.
void renew(const fs::path& state, const std::string& cert) {
  CredentialStore store(state, "device");
  const auto candidate = store.candidate();
  const unsigned number = candidate ? candidate->number : store.begin(reference("b")).number;
  store.keep_certificate(number, cert);
  store.keep_learned(number, {{"endpoint", "mqtts://second"}});
  store.make_current(number);
  for (const auto& generation : store.generations())
    if (generation.number != number) store.remove(generation.number);
}

// A pair that belongs together, whole, with an endpoint that is its own or, between the switch and
// the next start, still the one before.
void check_pair(const fs::path& directory, const Certificates& certificates) {
  const auto config = DeviceConfig::read(directory / "device.conf");
  const std::string key = text_of(config.key);
  const std::string cert = text_of(config.cert);
  const bool old_pair = key == reference("a") && cert == certificates.one();
  const bool new_pair = key == reference("b") && cert == certificates.two();
  CHECK((old_pair || new_pair));
  if (old_pair) CHECK(config.endpoint == "mqtts://first");
}

void check_renewed(const fs::path& directory, const Certificates& certificates) {
  const auto config = DeviceConfig::read(directory / "device.conf");
  CHECK(text_of(config.key) == reference("b"));
  CHECK(text_of(config.cert) == certificates.two());
  CHECK(config.endpoint == "mqtts://second");
  CHECK(std::distance(fs::directory_iterator(directory / "state/device"), {}) == 2);
}

}  // namespace

TEST_CASE("credential_store: killed before any step there is a pair, and the next run ends it") {
  const Certificates certificates;
  std::size_t stop = 0;
  for (bool ended = false; !ended; ++stop) {
    CAPTURE(stop);
    const TemporaryDirectory directory;
    const fs::path state = directory / "state";
    write(directory / "device.conf", "state-dir = " + state.string() + "\n");
    {
      CredentialStore store(state, "device");
      enrol(store, "a", certificates.one(), {{"endpoint", "mqtts://first"}});
    }
    const auto run = run_until_call(stop, [&] { renew(state, certificates.two()); });
    if (!run.traced) {
      MESSAGE("skipped: this kernel lets no process be traced");
      return;
    }
    ended = !run.killed;
    if (ended) CHECK(run.exit_code == 0);
    check_pair(directory.path(), certificates);
    renew(state, certificates.two());
    check_renewed(directory.path(), certificates);
  }
  CHECK(stop > 30);
}

TEST_CASE("credential_store: each rename is of what was synced, and is synced itself") {
  const Certificates certificates;
  const TemporaryDirectory directory;
  const auto run = run_until_call(1000, [&] {
    CredentialStore store(directory / "state", "device");
    enrol(store, "a", certificates.one(), {{"endpoint", "mqtts://first"}});
  });
  if (!run.traced) {
    MESSAGE("skipped: this kernel lets no process be traced");
    return;
  }
  CHECK(run.exit_code == 0);
  bool written = false;
  bool renamed = false;
  std::size_t renames = 0;
  for (const auto& call : run.calls) {
    if (call == "fsync") {
      written = renamed = false;
      continue;
    }
    CHECK_FALSE(renamed);  // the directory, before anything else
    if (call == "rename") {
      CHECK_FALSE(written);
      renamed = true;
      ++renames;
    }
    if (call == "write") written = true;
  }
  CHECK_FALSE(renamed);
  CHECK(renames == 6);  // key, generation, certificate, learned, current, learned.conf
}
