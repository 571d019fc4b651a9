// The journal and the outbox, without a broker.
#include <doctest/doctest.h>
#include <hwid/transport_error.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <thread>

#include "spool_tools.h"

using namespace hwid::test;                    // NOLINT(google-build-using-namespace)
using namespace hwid::transport;               // NOLINT(google-build-using-namespace)
using namespace hwid::transport::mqtt_client;  // NOLINT(google-build-using-namespace)

namespace {

Message message_of(const std::string& payload, Qos qos = Qos::at_least_once) {
  return {"t", payload, qos};
}

Outbox::Id accept(Outbox& outbox, const std::string& payload, Qos qos = Qos::at_least_once) {
  return outbox.accept(message_of(payload, qos), Outbox::Keep::in_spool, nullptr);
}

// The payloads that would be sent now, which are then handed.
Records handed(Outbox& outbox) {
  Records payloads;
  while (const auto next = outbox.hand_over()) payloads.push_back(next->second->payload);
  return payloads;
}

// As a broker that ends the connection for a message; what was handed over before.
Records broken(Outbox& outbox, std::vector<Outbox::Finished>* finished = nullptr) {
  auto payloads = handed(outbox);
  outbox.connection_broke("the broker closed it");
  auto ended = outbox.connection_lost(false);
  if (finished != nullptr) *finished = std::move(ended);
  return payloads;
}

std::string full_error(Outbox& outbox, const std::string& payload) {
  try {
    accept(outbox, payload);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::full);
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("journal: records outlive it, in order") {
  const TemporaryDirectory directory;
  const auto spool = directory / "spool";
  {
    Journal journal(spool, [](std::string_view) { FAIL("new"); });
    journal.append("one", 0);
    journal.sync(journal.append(std::string("t\0o", 3), 1000));
  }
  CHECK(records_of(spool) == Records{"one", std::string("t\0o", 3)});
  {
    Journal journal(spool, [](std::string_view) {});
    journal.sync(journal.append("three", 0));
    journal.rewrite({"three", "four"}, 0);
    journal.sync(journal.append("five", 0));
  }
  CHECK(records_of(spool) == Records{"three", "four", "five"});
  {
    Journal journal(spool, [](std::string_view) {});
    journal.clear();
    journal.append("six", 0);
  }
  CHECK(records_of(spool) == Records{"six"});
}

TEST_CASE("journal: what was half written, at any byte, is cut off") {
  const TemporaryDirectory directory;
  const auto spool = directory / "spool";
  std::uint64_t whole = 0;
  {
    Journal journal(spool, [](std::string_view) {});
    journal.append("kept", 0);
    whole = journal.size();
    journal.append("torn record", 0);
  }
  const auto bytes = read_file(spool / "journal");
  for (auto length = whole; length < whole + 8 + 11; ++length) {
    CAPTURE(length);
    write_file(spool / "journal", bytes.substr(0, length));
    CHECK(records_of(spool) == Records{"kept"});
    auto damaged = bytes.substr(0, whole + 8 + 11);
    damaged[length] = static_cast<char>(damaged[length] ^ 0x40);
    write_file(spool / "journal", damaged);
    CHECK(records_of(spool) == Records{"kept"});
    Journal journal(spool, [](std::string_view) {});
    journal.append("next", 0);
  }
  CHECK(records_of(spool) == Records{"kept", "next"});
  write_file(spool / "journal", "something else");
  CHECK_THROWS_AS(records_of(spool), Error);
}

TEST_CASE("journal: a second owner is refused, by a name that tells") {
  const TemporaryDirectory directory;
  const Outbox outbox(config_in(directory));
  std::string text;
  try {
    const Outbox second(config_in(directory));
  } catch (const Error& error) {
    text = error.what();
  }
  CHECK_MESSAGE(contains(text, "in use by process " + std::to_string(::getpid())), text);
  auto other = config_in(directory);
  other.client_id = "device/../../evil";
  CHECK(spool_directory(other) == (directory / "device%2F..%2F..%2Fevil").string());
  CHECK_NOTHROW(Outbox{other});
  other.client_id = "..";
  CHECK(spool_directory(other) == (directory / "%2E.").string());
  other.client_id = std::string(60000, 'x');
  CHECK_NOTHROW(Outbox{other});
}

TEST_CASE("outbox: what was accepted is there after a restart, with all that belongs to it") {
  const TemporaryDirectory directory;
  Message message{"topic", std::string("\0\xff{", 3), Qos::exactly_once, true};
  message.properties.content_type = "text";
  message.properties.response_topic = "r";
  message.properties.correlation_data = std::string("\0\1", 2);
  message.properties.message_expiry = std::chrono::seconds(7);
  message.properties.user = {{"a", "b"}, {"a", "c"}};
  {
    Outbox outbox(config_in(directory));
    outbox.accept(message, Outbox::Keep::in_spool, nullptr);
    accept(outbox, "zero", Qos::at_most_once);
    outbox.accept(message_of("request"), Outbox::Keep::in_memory, nullptr);
    accept(outbox, "last");
  }
  Outbox outbox(config_in(directory));
  CHECK(outbox.size() == 2);
  const auto first = outbox.hand_over();
  REQUIRE(first.has_value());
  const Message& seen = *first->second;
  CHECK(seen.topic == message.topic);
  CHECK(seen.payload == message.payload);
  CHECK(seen.qos == message.qos);
  CHECK(seen.retain);
  CHECK(seen.properties.content_type == "text");
  CHECK(seen.properties.response_topic == "r");
  CHECK(seen.properties.correlation_data == message.properties.correlation_data);
  CHECK(seen.properties.message_expiry == message.properties.message_expiry);
  CHECK(seen.properties.user == message.properties.user);
  CHECK(handed(outbox) == Records{"last"});
}

TEST_CASE("outbox: QoS 1 is sent again in its old place, QoS 2 keeps its packet id") {
  const TemporaryDirectory directory;
  auto outbox = std::make_unique<Outbox>(config_in(directory));
  accept(*outbox, "1");
  accept(*outbox, "2", Qos::exactly_once);
  accept(*outbox, "3");
  accept(*outbox, "4", Qos::exactly_once);
  accept(*outbox, "5");
  CHECK(handed(*outbox) == Records{"1", "2", "3", "4", "5"});
  outbox->sent(11, "s-11", "");
  outbox->sent(12, "s-12", "packet 2");
  outbox->sent(13, "s-13", "");
  outbox->sent(14, "s-14", "packet 4");
  outbox->released(14);
  CHECK(outbox->confirmed(11).has_value());
  const auto check = [&] {
    const auto sent = outbox->in_flight();
    REQUIRE(sent.size() == 2);
    CHECK(sent[0].key == "s-12");
    CHECK(sent[0].packet == "packet 2");
    CHECK_FALSE(sent[0].released);
    CHECK(sent[1].packet_id == 14);
    CHECK(sent[1].released);
    CHECK(handed(*outbox) == Records{"3", "5"});
  };
  SUBCASE("after an interruption") {
    CHECK(outbox->connection_lost(false).size() == 1);  // the one that was confirmed
    check();
  }
  SUBCASE("after a restart") {
    outbox.reset();
    outbox = std::make_unique<Outbox>(config_in(directory));
    check();
  }
  SUBCASE("when the broker has lost the session, before and after a restart") {
    outbox->connection_lost(false);
    CHECK(outbox->session_lost().size() == 1);  // 4, which it had
    outbox.reset();
    outbox = std::make_unique<Outbox>(config_in(directory));
    CHECK(outbox->in_flight().empty());
    CHECK(handed(*outbox) == Records{"2", "3", "5"});
  }
}

TEST_CASE("outbox: bounds by number and by bytes, and both policies") {
  DeviceConfig config;
  config.client_id = "device";
  config.spool_max_messages = 3;
  const TemporaryDirectory directory;
  for (const bool spooled : {false, true}) {
    CAPTURE(spooled);
    if (spooled) config.spool_dir = directory.path().string();
    config.spool_full = "refuse";
    config.spool_max_bytes = 100;
    {
      Outbox outbox(config);
      const auto first = accept(outbox, "1");
      accept(outbox, "2");
      accept(outbox, "3");
      CHECK(contains(full_error(outbox, "4"), "3 messages"));
      outbox.finish(first);
      accept(outbox, "4");
      CHECK(handed(outbox) == Records{"2", "3", "4"});
      CHECK(contains(full_error(outbox, "5"), "spool-max-messages"));
    }
    config.spool_full = "drop-oldest";
    Outbox outbox(config);
    while (outbox.size() < 3) accept(outbox, "4");
    accept(outbox, std::string(60, 'a'));
    accept(outbox, std::string(60, 'b'));
    CHECK(outbox.size() <= 3);
    const auto dropped = outbox.take_dropped();
    REQUIRE_FALSE(dropped.empty());
    CHECK(dropped[0].error->kind() == ErrorKind::full);
    CHECK(handed(outbox).back() == std::string(60, 'b'));
    CHECK(contains(full_error(outbox, std::string(60, 'c')), "bytes"));  // that is on its way
    for (const auto& left : outbox.in_flight()) outbox.confirmed(left.packet_id);
  }
}

TEST_CASE("outbox: a message above the bound is refused with its size and the bound") {
  DeviceConfig config;
  config.client_id = "device";
  config.spool_max_bytes = 100;
  for (const char* policy : {"refuse", "drop-oldest"}) {
    config.spool_full = policy;
    Outbox outbox(config);
    const auto text = full_error(outbox, std::string(200, 'x'));
    CHECK_MESSAGE(contains(text, "the message has 201 bytes, and spool-max-bytes is 100"), text);
  }
}

// The time that a thread took of a processor.
TEST_CASE("outbox: dropping the oldest costs the same, however many wait") {
  DeviceConfig config;
  config.client_id = "device";
  config.spool_full = "drop-oldest";
  const auto cost = [&](std::uint64_t messages) {
    config.spool_max_messages = messages;
    Outbox outbox(config);
    for (std::uint64_t i = 0; i < messages; ++i) accept(outbox, "x");
    timespec before{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    for (int i = 0; i < 1000; ++i) accept(outbox, "x");
    timespec after{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    CHECK(outbox.take_dropped().size() == 1000);
    return static_cast<double>(after.tv_sec - before.tv_sec) +
           static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e9;
  };
  const double few = cost(100);
  const double many = cost(20000);
  CHECK_MESSAGE(many < 20 * few, few, " s and ", many, " s");
}

TEST_CASE("outbox: a message for which the broker ends the connection is given up") {
  const TemporaryDirectory directory;
  for (const Qos qos : {Qos::at_least_once, Qos::exactly_once}) {
    CAPTURE(static_cast<int>(qos));
    auto outbox = std::make_unique<Outbox>(config_in(directory));
    accept(*outbox, "poison", qos);
    accept(*outbox, "good");
    const bool twice = qos == Qos::exactly_once;
    std::vector<Outbox::Finished> finished;
    if (twice) {
      REQUIRE(outbox->hand_over().has_value());
      outbox->sent(1, "s-1", "packet");
    }
    // At first they go together, then it goes alone (QoS 2: is sent again by Paho).
    CHECK(broken(*outbox) == (twice ? Records{"good"} : Records{"poison", "good"}));
    const Records alone = twice ? Records{} : Records{"poison"};
    for (int i = 0; i < 3; ++i) {
      CHECK(broken(*outbox, &finished) == alone);
      CHECK(finished.empty());
    }
    handed(*outbox);
    outbox->connection_lost(false);  // that was us
    CHECK(broken(*outbox, &finished) == alone);
    REQUIRE(finished.size() == 1);
    const std::string text = finished[0].error->what();
    CHECK(finished[0].error->kind() == ErrorKind::refused);
    for (const char* part : {"t: ", "5 times", "7 bytes", "the broker closed it"})
      CHECK_MESSAGE(contains(text, part), text);
    outbox.reset();
    outbox = std::make_unique<Outbox>(config_in(directory));
    CHECK(outbox->in_flight().empty());
    CHECK(handed(*outbox) == Records{"good"});
    outbox->sent(7, "s-7", "");
    outbox->finish(*outbox->confirmed(7));
  }
}

TEST_CASE("outbox: no message is given up where any is confirmed, or none was on its way") {
  const TemporaryDirectory directory;
  Outbox outbox(config_in(directory));
  std::vector<Outbox::Finished> finished;
  const auto four_times = [&](const Records& payloads) {
    for (int i = 0; i < 4; ++i) {
      CHECK(broken(outbox, &finished) == payloads);
      CHECK(finished.empty());
    }
  };
  accept(outbox, "1", Qos::exactly_once);
  accept(outbox, "2", Qos::exactly_once);
  CHECK(handed(outbox) == Records{"1", "2"});
  outbox.sent(1, "s-1", "packet");
  outbox.sent(2, "s-2", "packet");
  four_times({});
  outbox.released(2);
  four_times({});
  outbox.finish(*outbox.confirmed(2));
  four_times({});
  outbox.released(1);
  four_times({});
  outbox.finish(*outbox.confirmed(1));

  accept(outbox, "3");
  four_times({"3"});
  outbox.connection_broke("before anything was sent");
  CHECK(outbox.connection_lost(false).empty());
  four_times({"3"});
  broken(outbox, &finished);
  CHECK(finished.size() == 1);
}

TEST_CASE("outbox: the journal does not grow with what was sent") {
  const TemporaryDirectory directory;
  Outbox outbox(config_in(directory));
  const std::string payload(100000, 'x');
  accept(outbox, "stays");
  for (int i = 0; i < 200; ++i) outbox.finish(accept(outbox, payload));
  CHECK(std::filesystem::file_size(directory / "device/journal") < 6000000);
  CHECK(outbox.size() == 1);
}

TEST_CASE("outbox: many threads are accepted at once, and each is safe") {
  const TemporaryDirectory directory;
  constexpr int kThreads = 4;
  constexpr int kEach = 50;
  {
    Outbox outbox(config_in(directory));
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) accept(outbox, std::to_string(t));
      });
    for (auto& thread : threads) thread.join();
  }
  CHECK(Outbox(config_in(directory)).size() == kThreads * kEach);
}

// On a file system of its own, in a child with a mount name space of its own.
TEST_CASE("outbox: a full disk refuses at once and says so, and what is known to be good goes on") {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    constexpr int kNoMount = 77;
    const int spaces = CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER);
    if (::unshare(spaces) != 0 || ::mount("none", "/", "none", MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=2m") != 0)
      ::_exit(kNoMount);
    int result = 1;
    std::string why;
    {
      Outbox outbox(config_in(directory));
      std::size_t accepted = 0;
      try {
        for (;; ++accepted) accept(outbox, std::string(20000, 'x'), Qos::exactly_once);
      } catch (const Error& error) {
        why = error.what();
        if (error.kind() == ErrorKind::full && contains(why, "No space left")) result = 0;
      }
      // Every one of them is sent, released and confirmed on the full disk.
      int packet_id = 0;
      while (const auto next = outbox.hand_over()) {
        ++packet_id;
        outbox.sent(packet_id, "s-" + std::to_string(packet_id), next->second->payload);
        outbox.released(packet_id);
        if (packet_id % 2 == 0) outbox.finish(*outbox.confirmed(packet_id));
        if (packet_id % 8 == 0) outbox.connection_lost(false);
      }
      if (accepted < 10 || packet_id == 0) result = 2;
      outbox.connection_lost(false);
    }
    if (result == 0) {
      Outbox outbox(config_in(directory));
      if (outbox.in_flight().empty()) result = 3;
      for (const auto& sent : outbox.in_flight())
        if (!sent.released) result = 4;
      for (const auto& sent : outbox.in_flight()) outbox.finish(*outbox.confirmed(sent.packet_id));
      if (outbox.size() > 0) accept(outbox, "room again");
    }
    ::_exit(result);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("skipped: no file system can be mounted here");
    return;
  }
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
