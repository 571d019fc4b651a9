// The journal and the outbox on a disk with faults.
#include <doctest/doctest.h>
#include <hwid/transport_error.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>

#include "spool_tools.h"
#include "watched_calls.h"

using namespace hwid::test;                    // NOLINT(google-build-using-namespace)
using namespace hwid::transport;               // NOLINT(google-build-using-namespace)
using namespace hwid::transport::mqtt_client;  // NOLINT(google-build-using-namespace)

namespace {

Outbox::Id accept(Outbox& outbox, const std::string& payload, Qos qos, Outbox::Ended ended = {}) {
  return outbox.accept({"t", payload, qos}, Outbox::Keep::in_spool, std::move(ended));
}

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

bool watched(long number, const std::function<int(const CallArguments&)>& answer,
             const std::function<void()>& body) {
  const bool done = with_watched_calls(number, answer, body);
  if (!done) MESSAGE("skipped: this kernel lets no thread watch another one's system calls");
  return done;
}

int always_eio(const CallArguments& /*arguments*/) { return EIO; }

// No file of this process may grow beyond that.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{static_cast<rlim_t>(bytes), before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("journal: a read error is an error, and nothing is cut off") {
  const TemporaryDirectory directory;
  const auto spool = directory / "spool";
  {
    Journal journal(spool, [](std::string_view) {});
    for (char c = 'a'; c < 'k'; ++c) journal.sync(journal.append(std::string(100000, c), 0));
  }
  std::string text;
  const auto at_an_offset = [](const CallArguments& arguments) {
    return arguments[3] > 0 ? EIO : 0;
  };
  if (!watched(SYS_pread64, at_an_offset, [&] { text = error_of([&] { records_of(spool); }); }))
    return;
  CHECK_MESSAGE(contains(text, "read the spool"), text);
  CHECK_MESSAGE(contains(text, "Input/output error"), text);
  CHECK_MESSAGE(contains(text, "check the disk"), text);
  CHECK(records_of(spool).size() == 10);
}

TEST_CASE("journal: a copy is kept where good records follow damage") {
  const TemporaryDirectory directory;
  const auto spool = directory / "spool";
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  {
    Journal journal(spool, [](std::string_view) {});
    journal.append("first", 0);
    first = journal.size();
    journal.append("second", 0);
    second = journal.size();
    journal.append("third", 0);
  }
  const auto file = spool / "journal";
  const auto whole = read_file(file);
  for (auto at = first; at < second; ++at) {
    CAPTURE(at);
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    write_file(file, damaged);
    CHECK(records_of(spool) == Records{"first"});
    const auto copy = read_file(spool / "journal.damaged");
    CHECK(damaged.substr(0, copy.size()) == copy);
    CHECK(contains(copy, "third"));
    struct stat status {};
    REQUIRE(::stat((spool / "journal.damaged").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    std::filesystem::remove(spool / "journal.damaged");
    CHECK(records_of(spool) == Records{"first"});
    CHECK_FALSE(std::filesystem::exists(spool / "journal.damaged"));
  }
  // An end that was half written is no damage.
  write_file(file, whole.substr(0, second - 1));
  CHECK(records_of(spool) == Records{"first"});
  CHECK_FALSE(std::filesystem::exists(spool / "journal.damaged"));
}

TEST_CASE("outbox: after a restart there is room for what will be known about QoS 2") {
  const TemporaryDirectory directory;
  const auto config = config_in(directory);
  const auto file = directory / "device/journal";
  const std::string payload(300000, 'x');
  {
    Outbox outbox(config);
    accept(outbox, payload, Qos::exactly_once);
    accept(outbox, payload, Qos::at_least_once);
  }
  {
    Outbox outbox(config);
    const FileSizeLimit limit(std::filesystem::file_size(file));
    REQUIRE(outbox.hand_over().has_value());
    CHECK_NOTHROW(outbox.sent(1, "s-1", payload));
    CHECK_NOTHROW(outbox.released(1));
    CHECK(contains(error_of([&] { accept(outbox, payload, Qos::at_least_once); }), "too large"));
  }
  Outbox outbox(config);
  REQUIRE(outbox.in_flight().size() == 1);
  CHECK(outbox.in_flight()[0].released);
}

TEST_CASE("outbox: where that room is not there, QoS 2 is not begun") {
  const TemporaryDirectory directory;
  const auto config = config_in(directory);
  const auto file = directory / "device/journal";
  const std::string payload(300000, 'x');
  Qos qos = Qos::exactly_once;
  SUBCASE("QoS 2") {}
  SUBCASE("QoS 1") { qos = Qos::at_least_once; }
  {
    Outbox outbox(config);
    accept(outbox, payload, qos);
  }
  const auto bytes = read_file(file);  // without the room, as a copy may be
  write_file(file, bytes.substr(0, bytes.find_last_not_of('\0') + 1));
  const FileSizeLimit limit(std::filesystem::file_size(file));
  std::size_t size = 0;
  const auto text = error_of([&] { size = Outbox(config).size(); });
  CHECK(size == (qos == Qos::exactly_once ? 0 : 1));
  CHECK(contains(text, qos == Qos::exactly_once ? "make room on that file system" : "no error"));
}

TEST_CASE("journal: rewriting keeps the room") {
  const TemporaryDirectory directory;
  const auto spool = directory / "spool";
  Journal journal(spool, [](std::string_view) {});
  journal.append(std::string(1000, 'x'), 0);
  journal.rewrite({"one"}, 50000);
  const FileSizeLimit limit(std::filesystem::file_size(spool / "journal"));
  CHECK_NOTHROW(journal.append(std::string(49000, 'x'), 0));
  CHECK_THROWS_AS(journal.append(std::string(49000, 'x'), 0), Error);
}

TEST_CASE("outbox: after a sync that failed the next message is written to a new journal") {
  const TemporaryDirectory directory;
  {
    Outbox outbox(config_in(directory));
    accept(outbox, "before", Qos::at_least_once);
    std::string text;
    if (!watched(SYS_fdatasync, always_eio,
                 [&] { text = error_of([&] { accept(outbox, "refused", Qos::at_least_once); }); }))
      return;
    CHECK_MESSAGE(contains(text, "check the disk"), text);
    CHECK(error_of([&] { accept(outbox, "after", Qos::at_least_once); }) == "no error");
    CHECK(outbox.size() == 2);
  }
  Outbox outbox(config_in(directory));
  Records left;
  while (const auto next = outbox.hand_over()) left.push_back(next->second->payload);
  CHECK(left == Records{"before", "after"});
}

TEST_CASE("outbox: what is over with the session is told, though the spool cannot be written") {
  const TemporaryDirectory directory;
  Outbox outbox(config_in(directory));
  accept(outbox, "released", Qos::exactly_once);
  accept(outbox, "sent", Qos::exactly_once);
  while (outbox.hand_over()) continue;
  outbox.sent(1, "s-1", "packet");
  outbox.sent(2, "s-2", "packet");
  outbox.released(1);
  outbox.connection_lost(false);
  std::size_t finished = 0;
  if (!watched(SYS_fdatasync, always_eio, [&] {
        CHECK(error_of([&] { finished = outbox.session_lost().size(); }) == "no error");
      }))
    return;
  CHECK(finished == 1);
  CHECK(outbox.hand_over()->second->payload == "sent");
}

TEST_CASE("outbox: a message is told about once, whatever happens while its sync fails") {
  const TemporaryDirectory directory;
  auto config = config_in(directory);
  config.spool_max_messages = 1;
  config.spool_full = "drop-oldest";
  Outbox outbox(config);
  int ended = 0;
  const auto count = [&](const Delivery*, const Error*) { ++ended; };
  const auto tell = [](const Outbox::Finished& finished) {
    if (finished.ended) finished.ended(nullptr, nullptr);
  };
  std::function<void()> meanwhile;
  bool thrown = true;
  SUBCASE("nothing") {
    meanwhile = [] {};
  }
  SUBCASE("handed over") {
    meanwhile = [&] { outbox.hand_over(); };
  }
  SUBCASE("delivered") {
    thrown = false;
    meanwhile = [&] { tell(*outbox.finish(outbox.hand_over()->first)); };
  }
  SUBCASE("dropped for another one") {
    thrown = false;
    meanwhile = [&] { accept(outbox, "newer", Qos::at_most_once); };
  }
  bool failed = false;
  if (!watched(
          SYS_fdatasync,
          [&](const CallArguments&) {
            meanwhile();
            return EIO;
          },
          [&] {
            failed =
                error_of([&] { accept(outbox, "x", Qos::at_least_once, count); }) != "no error";
          }))
    return;
  CHECK(failed == thrown);
  for (const auto& dropped : outbox.take_dropped()) tell(dropped);
  for (const auto& left : outbox.abandon(true)) tell(left);
  CHECK(ended + (failed ? 1 : 0) == 1);  // publish() tells what accept() throws
}
