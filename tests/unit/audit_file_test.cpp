#include "provider/core/audit_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/fixture/audit.h"
#include "tests/fixture/files.h"
#include "tests/fixture/life.h"

using namespace hwid::core;
using namespace hwid::test;
using life::in_child;
using life::on_threads;
using life::start_child;
using life::status_of;

namespace {

namespace fs = std::filesystem;

// A trail, its file, and a log.
class Trail {
 public:
  Trail() { open(); }
  void open() {
    sink_ = nullptr;
    log_ = std::make_unique<Log>("error:file:" + directory_.file("log"));
    sink_ = std::make_unique<AuditFile>(path(), *log_);
  }
  void close() { sink_ = nullptr; }
  std::string path() const { return directory_.file("audit"); }
  std::string file(const std::string& name) const { return directory_.file(name); }
  void record(const std::string& object) const {
    sink_->record({.operation = "sign", .token = "t", .object = object, .result = "ok"});
  }
  // "a b+2": the objects, with how many lines were dropped before each.
  static std::string objects(const std::string& path) {
    std::string text;
    for (const AuditRecord& record : read_audit(path)) {
      text += (text.empty() ? "" : " ") + record.at("object");
      if (record.at("dropped") != "0") text += "+" + record.at("dropped");
    }
    return text;
  }
  std::string objects() const { return objects(path()); }
  std::string log() const { return read_file(file("log")); }
  std::size_t log_lines() const {
    const std::string text = log();
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<AuditFile> sink_;
};

void limit_file_size(rlim_t size) {
  const rlimit limit{size, RLIM_INFINITY};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) throw std::runtime_error("setrlimit");
}

// Of this process, for that file; -1: none.
int descriptor_of(const std::string& path) {
  struct stat named {};
  struct stat status {};
  if (stat(path.c_str(), &named) != 0) return -1;
  for (int descriptor = 0; descriptor < 256; ++descriptor) {
    if (fstat(descriptor, &status) == 0 && status.st_ino == named.st_ino) return descriptor;
  }
  return -1;
}

// The child's own view of the file system, which it may change. False: not permitted here.
bool own_mounts() {
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, nullptr) == 0;
}
bool may_mount() { return in_child(own_mounts); }

}  // namespace

TEST_CASE("audit file: made at once, for its owner and group") {
  const mode_t before = umask(0);
  const Trail trail;
  umask(before);
  CHECK((fs::status(trail.path()).permissions() & fs::perms::mask) ==
        (fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read));
  CHECK(trail.objects() == "");
  trail.record("a");
  trail.record("b");
  CHECK(trail.objects() == "a b");
}

TEST_CASE("audit file: another instance goes on where the first one ended") {
  Trail trail;
  trail.record("a");
  trail.open();
  trail.record("b");
  CHECK(trail.objects() == "a b");
  std::ofstream(trail.path(), std::ios::app) << "half a li";  // of a program that was cut short
  trail.open();
  trail.record("c");
  const std::string text = read_file(trail.path());
  CHECK(text.find("half a li\n{\"time\"") != std::string::npos);
  CHECK(text.find("\n\n") == std::string::npos);
}

TEST_CASE("audit file: threads and children, no line mixed or lost") {
  const Trail trail;
  constexpr int kThreads = 8;
  constexpr int kChildren = 6;
  constexpr int kLines = 50;
  const std::string name(900, 'n');
  std::vector<pid_t> children(kChildren);
  std::atomic<int> made{0};
  on_threads(kThreads, [&](int thread) {
    for (int i = 0; i < kLines; ++i) {
      trail.record(name);
      const int child = thread == 0 && i % 8 == 0 ? made.load() : kChildren;
      if (child == kChildren) continue;
      children[static_cast<std::size_t>(child)] = start_child([&] {
        for (int j = 0; j < kLines; ++j) trail.record(name);
        return true;
      });
      made = child + 1;
    }
  });
  REQUIRE(made == kChildren);
  for (const pid_t child : children) CHECK(status_of(child) == 0);
  const std::vector<AuditRecord> records = read_audit(trail.path());
  CHECK(records.size() == (kThreads + kChildren) * kLines);
  std::map<std::string, int> by_pid;
  for (const AuditRecord& record : records) ++by_pid[record.at("pid")];
  CHECK(by_pid.size() == 1 + kChildren);
  CHECK(by_pid[std::to_string(getpid())] == kThreads * kLines);
}

TEST_CASE("audit file: rotation") {
  const Trail trail;
  trail.record("a");
  fs::rename(trail.path(), trail.file("audit.1"));
  trail.record("b");
  CHECK(Trail::objects(trail.file("audit.1")) == "a");
  CHECK(trail.objects() == "b");
  SUBCASE("in a child and its parent") {
    fs::rename(trail.path(), trail.file("audit.2"));
    CHECK(in_child([&] {
      trail.record("c");
      return trail.objects() == "c";
    }));
    trail.record("d");
    CHECK(trail.objects() == "c d");
    CHECK(Trail::objects(trail.file("audit.2")) == "b");
  }
  SUBCASE("another file put in its place") {
    std::ofstream(trail.file("new")).flush();
    fs::rename(trail.file("new"), trail.path());
    trail.record("c");
    CHECK(trail.objects() == "c");
  }
  SUBCASE("the file emptied") {
    fs::resize_file(trail.path(), 0);
    trail.record("c");
    CHECK(trail.objects() == "c");
  }
  SUBCASE("the file removed") {
    fs::remove(trail.path());
    trail.record("c");
    CHECK(trail.objects() == "c");
  }
  CHECK(trail.log() == "");
}

TEST_CASE("audit file: where the new file cannot be opened, the old one is written on") {
  const Trail trail;
  trail.record("a");
  fs::rename(trail.path(), trail.file("audit.1"));
  SUBCASE("a symbolic link") {
    fs::create_symlink(trail.file("target"), trail.path());
    trail.record("b");
    trail.record("c");
    CHECK_FALSE(fs::exists(trail.file("target")));
    CHECK(trail.log().find("it is a symbolic link: lines go on") != std::string::npos);
  }
  SUBCASE("a directory") {
    fs::create_directory(trail.path());
    trail.record("b");
    trail.record("c");
    CHECK(trail.log().find("it is not a regular file: lines go on") != std::string::npos);
  }
  CHECK(Trail::objects(trail.file("audit.1")) == "a b c");
  CHECK(trail.log_lines() == 1);
  fs::remove_all(trail.path());
  trail.record("d");
  CHECK(trail.objects() == "d");
  CHECK(Trail::objects(trail.file("audit.1")) == "a b c");
}

TEST_CASE("audit file: what is no regular file is refused, and tried again at each line") {
  Trail trail;
  trail.close();
  fs::remove(trail.path());
  SUBCASE("a symbolic link") {
    std::ofstream(trail.file("target")).flush();
    fs::create_symlink(trail.file("target"), trail.path());
  }
  SUBCASE("a FIFO that nobody reads") { REQUIRE(mkfifo(trail.path().c_str(), 0600) == 0); }
  SUBCASE("a directory") { fs::create_directory(trail.path()); }
  trail.open();
  trail.record("a");
  trail.record("b");
  trail.record("c");
  fs::remove(trail.path());
  trail.record("d");
  trail.record("e");
  CHECK(trail.objects() == "d+3 e");
  CHECK(trail.log_lines() == 1);
  CHECK(trail.log().find("lines are lost") != std::string::npos);
  if (fs::exists(trail.file("target"))) CHECK(fs::file_size(trail.file("target")) == 0);
}

TEST_CASE("audit file: what is written to a file that was removed is lost") {
  const Trail trail;
  trail.record("a");
  fs::remove(trail.path());
  fs::create_directory(trail.path());
  trail.record("b");
  fs::remove(trail.path());
  trail.record("c");
  CHECK(trail.objects() == "c+1");
}

TEST_CASE("audit file: a child counts its own losses") {
  Trail trail;
  trail.close();
  fs::remove(trail.path());
  fs::create_directory(trail.path());
  trail.open();
  trail.record("a");
  trail.record("b");
  const auto child = start_child([&] {
    trail.record("c");
    fs::remove(trail.path());
    trail.record("d");
    return true;
  });
  CHECK(status_of(child) == 0);
  trail.record("e");
  CHECK(trail.objects() == "d+1 e+2");
}

TEST_CASE("audit file: a program that closes what it did not open") {
  Trail trail;
  trail.record("a");
  const int descriptor = descriptor_of(trail.path());
  CHECK((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
  REQUIRE(close(descriptor) == 0);
  // What takes the number is not ours to write to, nor to close.
  REQUIRE(open(trail.file("other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600) == descriptor);
  trail.record("b");
  trail.record("c");
  trail.close();
  CHECK(trail.objects() == "a b c");
  CHECK(fs::file_size(trail.file("other")) == 0);
  CHECK(close(descriptor) == 0);
}

TEST_CASE("audit file: never a standard stream, and closed by exec and in the end") {
  CHECK(in_child([] {
    for (const int descriptor : {0, 1, 2}) close(descriptor);
    Trail trail;
    trail.record("a");
    const int descriptor = descriptor_of(trail.path());
    const bool above = descriptor > 2 && (fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0;
    trail.close();
    return above && fcntl(descriptor, F_GETFD) < 0 && trail.objects() == "a";
  }));
}

TEST_CASE("audit file: the limit of a file's size ends no program, and leaves no half line") {
  for (const bool ignored : {false, true}) {
    CHECK(in_child([&] {
      if (ignored) std::signal(SIGXFSZ, SIG_IGN);
      const Trail trail;
      trail.record("a");
      const auto size = fs::file_size(trail.path());
      for (const std::size_t more : {0, 1, 50}) {
        limit_file_size(size + more);
        trail.record("lost");
        if (fs::file_size(trail.path()) != size) return false;
      }
      limit_file_size(RLIM_INFINITY);
      sigset_t pending;
      sigpending(&pending);
      sigset_t blocked;
      sigprocmask(SIG_BLOCK, nullptr, &blocked);
      trail.record("b");
      return trail.objects() == "a b+3" && trail.log_lines() <= 1 &&
             sigismember(&pending, SIGXFSZ) == 0 && sigismember(&blocked, SIGXFSZ) == 0;
    }));
  }
}

// A full disk: a file system of few pages.
TEST_CASE("audit file: a full disk costs lines, and leaves no half line") {
  if (!may_mount()) {
    MESSAGE("skipped: no file system can be mounted here");
    return;
  }
  CHECK(in_child([] {
    const TemporaryDirectory directory;
    if (!own_mounts() ||
        mount("none", directory.path().c_str(), "tmpfs", 0, "size=24k,mode=0777") != 0)
      return false;
    const Log log;
    std::uint64_t written = 0;
    {
      AuditFile sink(directory.file("audit"), log);
      const AuditEvent event{.operation = "sign", .object = "key", .result = "ok"};
      write_file(directory.file("ballast"), std::string(4096, 'b'));
      constexpr int kChildren = 3;
      constexpr int kLines = 150;  // of one process alone are more than there is room for
      pid_t children[kChildren];
      const auto fill = [&] {
        for (int i = 0; i < kLines; ++i) sink.record(event);
        return true;
      };
      for (pid_t& child : children) child = start_child(fill);
      fill();
      for (const pid_t child : children)
        if (status_of(child) != 0) return false;
      written = read_audit(directory.file("audit")).size();
      fs::remove(directory.file("ballast"));  // room again
      sink.record(event);
    }
    const std::vector<AuditRecord> records = read_audit(directory.file("audit"));
    const int lost = std::stoi(records.back().at("dropped"));
    umount2(directory.path().c_str(), MNT_DETACH);
    return written > 10 && records.size() == written + 1 && lost > 0;
  }));
}

TEST_CASE("audit file: kept where privileges are given up") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  Trail trail;
  trail.record("root");
  fs::permissions(fs::path(trail.path()).parent_path(), fs::perms::owner_all);
  CHECK(in_child([&] {
    if (setgid(65534) != 0 || setuid(65534) != 0) return false;
    trail.record("nobody");
    return in_child([&] {
      trail.record("child");
      return true;
    });
  }));
  const std::vector<AuditRecord> records = read_audit(trail.path());
  REQUIRE(records.size() == 3);
  CHECK(trail.log() == "");
  CHECK(records[0].at("uid") == "0");
  CHECK(records[1].at("uid") == "65534");
  CHECK(records[2].at("object") == "child");
}

TEST_CASE("audit file: write permission alone does") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  Trail trail;
  trail.record("a");
  fs::permissions(fs::path(trail.path()).parent_path(), fs::perms::all);
  fs::permissions(trail.path(), fs::perms::owner_all | fs::perms::others_write);
  CHECK(in_child([&] {
    if (setgid(65534) != 0 || setuid(65534) != 0) return false;
    const Log log;
    AuditFile sink(trail.path(), log);
    sink.record({.operation = "sign", .object = "b", .result = "ok"});
    return true;
  }));
  CHECK(trail.objects() == "a b");
}
