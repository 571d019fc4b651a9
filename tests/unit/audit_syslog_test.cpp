#include "provider/core/audit_syslog.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <regex>
#include <stdexcept>

#include "tests/fixture/audit.h"
#include "tests/fixture/files.h"
#include "tests/fixture/life.h"

using namespace hwid::core;
using namespace hwid::test;
using life::in_child;

namespace {

// What a logger is for syslog(3).
class Logger {
 public:
  explicit Logger(const std::string& path)
      : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("bind " + path);
  }
  ~Logger() { close(socket_); }
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  // The oldest datagram; empty if there is none.
  std::string next() const {
    std::array<char, 8192> text;
    const ssize_t size = recv(socket_, text.data(), text.size(), MSG_DONTWAIT);
    return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }

 private:
  int socket_;
};

AuditEvent event(std::string_view object, std::string_view result = "ok") {
  return {.operation = "sign", .backend = "pkcs11", .object = object, .result = result};
}

// The JSON of a datagram whose header is as it should be.
AuditRecord checked(const std::string& datagram, int priority) {
  static const std::regex form(
      R"(<(\d+)>(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 1-3]\d \d\d:\d\d:\d\d )"
      R"(hwid-audit\[(\d+)\]: (\{.*\}))");
  std::smatch match;
  REQUIRE_MESSAGE(std::regex_match(datagram, match, form), datagram);
  CHECK(match[1] == std::to_string(priority));
  AuditRecord record = parse_audit(match[4].str());
  CHECK(match[3] == record.at("pid"));
  return record;
}

constexpr int kInfo = 10 * 8 + 6;  // authpriv
constexpr int kNotice = 10 * 8 + 5;

}  // namespace

TEST_CASE("audit syslog: a datagram a line, in syslog's form") {
  const TemporaryDirectory directory;
  const Logger logger(directory.file("log"));
  const Log log;
  AuditSyslog sink(directory.file("log"), log);
  sink.record(event("key"));
  CHECK(checked(logger.next(), kInfo).at("object") == "key");
  sink.record(event("key", "CKR_PIN_INCORRECT"));
  CHECK(checked(logger.next(), kNotice).at("result") == "CKR_PIN_INCORRECT");
  const std::string longest(5000, '"');
  sink.record({longest, longest, longest, longest, longest, longest, {}});
  const std::string datagram = logger.next();
  CHECK(datagram.size() < 4096);
  (void)checked(datagram, kNotice);
  CHECK(logger.next().empty());
}

TEST_CASE("audit syslog: a logger that is away, or does not keep up") {
  const TemporaryDirectory directory;
  const Log log("error:file:" + directory.file("messages"));
  AuditSyslog sink(directory.file("log"), log);
  sink.record(event("a"));
  sink.record(event("b"));
  const auto logger = std::make_unique<Logger>(directory.file("log"));
  constexpr int kSent = 10000;
  for (int i = 0; i < kSent; ++i) sink.record(event("c"));  // nobody waits for the logger
  CHECK(checked(logger->next(), kInfo).at("dropped") == "2");
  int received = 1;
  for (std::string datagram = logger->next(); !datagram.empty(); datagram = logger->next()) {
    CHECK(checked(datagram, kInfo).at("dropped") == "0");
    ++received;
  }
  CHECK(received < kSent);
  sink.record(event("d"));
  CHECK(checked(logger->next(), kInfo).at("dropped") == std::to_string(kSent - received));
  const std::string messages = read_file(directory.file("messages"));
  CHECK(messages.find("lines are lost") != std::string::npos);
  CHECK(std::count(messages.begin(), messages.end(), '\n') == 1);
}

TEST_CASE("audit syslog: a restarted logger, children, closed descriptors") {
  const TemporaryDirectory directory;
  const Log log;
  AuditSyslog sink(directory.file("log"), log);
  {
    const Logger logger(directory.file("log"));
    sink.record(event("a"));
    CHECK(checked(logger.next(), kInfo).at("object") == "a");
  }
  sink.record(event("lost"));
  std::filesystem::remove(directory.file("log"));
  const Logger logger(directory.file("log"));
  const auto child = life::start_child([&] {
    closefrom(3);
    sink.record(event("b"));
    return true;
  });
  CHECK(life::status_of(child) == 0);
  const AuditRecord of_child = checked(logger.next(), kInfo);
  CHECK(of_child.at("pid") == std::to_string(child));
  CHECK(of_child.at("dropped") == "0");  // it lost none itself
  sink.record(event("c"));
  CHECK(checked(logger.next(), kInfo).at("dropped") == "1");
}

TEST_CASE("audit syslog: /dev/log is where it goes") {
  const auto own_dev = [] {
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", "none", MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("none", "/dev", "tmpfs", 0, "size=64k") == 0;
  };
  if (!in_child(own_dev)) {
    MESSAGE("skipped: no file system can be mounted here");
    return;
  }
  CHECK(in_child([&] {
    if (!own_dev()) return false;
    const Logger logger("/dev/log");
    const Log log;
    const std::unique_ptr<AuditSink> sink = make_audit_sink(AuditSetting::parse("syslog"), log);
    sink->record(event("key"));
    const std::string datagram = logger.next();
    return datagram.starts_with("<86>") && datagram.find("\"object\":\"key\"") != std::string::npos;
  }));
}
