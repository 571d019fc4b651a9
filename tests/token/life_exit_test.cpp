// Programs that end, at whatever moment and however, with everything open; that change their user,
// or run another program.
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "tests/fixture/paths.h"
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

// hwid-test-signer with a token behind the counting module.
class Program {
 public:
  explicit Program(const Settings& backend = {})
      : conf_(OpensslConf()
                  .backend("dev", world().token.backend(module.path(), backend))
                  .write(directory_.file("openssl.cnf"))) {
    options.environment = module.environment();
    options.environment["SOFTHSM2_CONF"] = world().token.conf();
    options.timeout = std::chrono::seconds(30);
    if (const char* const tests = std::getenv("HWID_TESTS_DIR"))
      options.environment["TSAN_OPTIONS"] =
          std::string("suppressions=") + tests + "/fixture/tsan_exit.supp";
  }

  RunResult run(const std::string& label, std::vector<std::string> words) const {
    words.insert(words.begin(), {bin_dir() + "/hwid-test-signer", conf_, world().token.uri(label)});
    return hwid::test::run(words, options);
  }

  const TemporaryDirectory& directory() const { return directory_; }

  RemoteModule module;
  RunOptions options;

 private:
  TemporaryDirectory directory_;
  std::string conf_;
};

}  // namespace

TEST_CASE("life: eight threads sign, and the process ends at any moment") {
  const Program program;
  const std::pair<const char*, int> ways[] = {
      {"exit", 7}, {"_exit", 7}, {"return", 7}, {"quick", 7}, {"term", 128 + SIGTERM}};
  for (int round = 0; round < 10; ++round) {
    for (const auto& [how, code] : ways) {
      CAPTURE(round);
      const auto& which = how;
      CAPTURE(std::string(which));
      const RunResult ended = program.run(round % 2 == 0 ? "ec" : "rsa", {"threads", how});
      CHECK_MESSAGE(ended.exit_code == code, ended.err);
      CHECK(!ended.timed_out);
      CHECK_MESSAGE(ended.err.empty(), ended.err);
    }
  }
  CHECK(program.module.count("after-exit") == 0);
  CHECK(program.module.count("shared-session") == 0);
  CHECK(program.module.count("C_Sign") > 50);
}

TEST_CASE("life: children leave by exit and by _exit, with exit handlers that sign") {
  for (const char* const strict : {"strict-fork off", "strict-fork on"}) {
    const Program program;
    program.module.plan(strict);
    for (const Kind& kind : kKinds) {
      const RunResult ended = program.run(kind.label, {"fork-exit"});
      CHECK_MESSAGE(ended.exit_code == 0, ended.err);
    }
    CHECK(program.module.count("after-exit") == 0);
  }
}

TEST_CASE("life: an exit handler that signs gets a signature or an error") {
  const Program program;
  const RunResult ended = program.run("rsa", {"handler"});
  CHECK_MESSAGE(ended.exit_code == 0, ended.err);
  if (ended.out == "refused\n")
    CHECK_MESSAGE(ended.err.find("the process is exiting") != std::string::npos, ended.err);
  else
    CHECK(ended.out == "signed\n");
  CHECK(program.module.count("after-exit") == 0);
}

TEST_CASE("life: a key may go after libcrypto, as one in a static object does") {
  const Program program;
  for (const Kind& kind : kKinds) {
    const RunResult ended = program.run(kind.label, {"static"});
    CHECK_MESSAGE(ended.exit_code == 0, ended.err);
  }
  CHECK(program.module.count("after-exit") == 0);
}

TEST_CASE("life: a program that gives up its rights after the first login signs on") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  const std::string directory = world().token.directory().path().string();
  const auto allow = [&](const std::string& mode) {
    run_checked({"chmod", "-R", mode, directory});
    REQUIRE(chmod(world().token.pin_file().c_str(), 0600) == 0);
  };
  for (const char* const label : {"rsa", "ec"}) {
    CAPTURE(std::string(label));
    {  // The PIN's file is root's. A child logs in by itself, with the PIN in use.
      allow("a+rwX");
      const Program program;
      program.module.plan("strict-fork on");
      const RunResult ended = program.run(label, {"setuid", "65534"});
      CHECK_MESSAGE(ended.exit_code == 0, ended.err);
      CHECK(program.module.count("C_Login") == 2);
    }
    {  // The token's files too: its objects are in the module's memory, and the child's
       // error says which files it wants.
      allow("go-rwx");
      const Program program;
      program.module.plan("strict-fork on");
      const RunResult ended = program.run(label, {"setuid", "65534"});
      CHECK_MESSAGE(ended.exit_code == 3, ended.err);
      CHECK_MESSAGE(ended.err.find("C_Initialize: CKR_GENERAL_ERROR (0x5)") != std::string::npos,
                    ended.err);
      CHECK_MESSAGE(
          ended.err.find("its configuration (SoftHSM: SOFTHSM2_CONF") != std::string::npos,
          ended.err);
      CHECK_MESSAGE(ended.err.find("engine routines") == std::string::npos, ended.err);
    }
  }
}

TEST_CASE("life: an error in a chroot says that the process is in one") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  const Program program;
  const TemporaryDirectory empty;
  const RunResult ended = program.run("ec", {"chroot", empty.path().string()});
  CHECK_MESSAGE(ended.exit_code == 1, ended.err);
  CHECK_MESSAGE(ended.err.find("another root directory, by chroot") != std::string::npos,
                ended.err);
  const RunResult outside = program.run("none", {"sign", "1"});
  CHECK_MESSAGE(outside.exit_code == 1, outside.err);
  CHECK_MESSAGE(outside.err.find("chroot") == std::string::npos, outside.err);
}

TEST_CASE("life: no session and no descriptor survives exec") {
  const Program program;
  const std::string inherited = program.run("ec", {"descriptors"}).out;  // from whoever runs us
  for (const char* const label : {"rsa", "ec"}) {
    const RunResult ended = program.run(label, {"exec"});
    CHECK_MESSAGE(ended.exit_code == 0, ended.err);
    CHECK(std::ranges::count(ended.out, '\n') == std::ranges::count(inherited, '\n'));
  }
}
