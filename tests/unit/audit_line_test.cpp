#include "provider/core/audit_line.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

#include "tests/fixture/audit.h"

using namespace hwid::core;
using hwid::test::AuditRecord;
using hwid::test::parse_audit;

namespace {

const std::string kCutShort = "\xe2\x80\xa6";

// The text of the object in a line, as a reader of JSON has it.
std::string shown(const std::string& object) {
  const AuditLine line({.operation = "sign", .object = object, .result = "ok"}, "/bin/x", 0);
  return parse_audit(line.text()).at("object");
}

std::string setting_error(const std::string& text) {
  try {
    (void)AuditSetting::parse(text);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("audit line: the fields") {
  const AuditLine line({.operation = "decrypt",
                        .backend = "tpm2",
                        .token = "line-7",
                        .object = "device \"key\"",
                        .mechanism = "RSA-OAEP",
                        .result = "TPM_RC_LOCKOUT",
                        .duration = std::chrono::microseconds(1234567)},
                       "/usr/bin/openssl", 3);
  const AuditRecord record = parse_audit(line.text());
  CHECK(record.at("op") == "decrypt");
  CHECK(record.at("backend") == "tpm2");
  CHECK(record.at("token") == "line-7");
  CHECK(record.at("object") == "device \"key\"");
  CHECK(record.at("mechanism") == "RSA-OAEP");
  CHECK(record.at("result") == "TPM_RC_LOCKOUT");
  CHECK(record.at("duration_us") == "1234567");
  CHECK(record.at("dropped") == "3");
  CHECK(record.at("exe") == "/usr/bin/openssl");
  CHECK(record.at("pid") == std::to_string(getpid()));
  CHECK(record.at("uid") == std::to_string(getuid()));
  for (const std::string_view field : audit_field::kAll) CHECK(record.contains(std::string(field)));
  CHECK(record.size() == audit_field::kAll.size());
  CHECK(line.file_text(false) == std::string(line.text()) + "\n");
  CHECK(line.file_text(true) == "\n" + std::string(line.text()) + "\n");
}

TEST_CASE("audit line: control characters, quotes, and what is not UTF-8") {
  const std::string kept =
      "Gr\xc3\xbc\xc3\x9f"
      "e \xf0\x9f\x94\x91 \"\\/";
  CHECK(shown(kept) == kept);
  std::string controls;
  for (char c = 0; c < 0x20; ++c) controls += c;
  controls += "\x7f\xc2\x80\xc2\x9f\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6\xd8\x9c\xe2\x80\x8f";
  CHECK(shown(controls) == controls);
  const AuditLine line({.object = controls}, "", 0);
  CHECK(std::ranges::all_of(line.text(), [](char c) { return c >= 0x20 && c < 0x7f; }));

  const std::string bad = "\xef\xbf\xbd";  // U+FFFD, for each byte
  CHECK(shown("a\xff"
              "b") == "a" + bad + "b");
  CHECK(shown("\xc3") == bad);  // cut short
  CHECK(shown("\xe2\x82") == bad + bad);
  CHECK(shown("\xc0\x80") == bad + bad);  // overlong
  CHECK(shown("\xe0\x9f\xbf") == bad + bad + bad);
  CHECK(shown("\xf0\x8f\xbf\xbf") == bad + bad + bad + bad);
  CHECK(shown("\xed\xa0\x80") == bad + bad + bad);            // a surrogate
  CHECK(shown("\xf4\x90\x80\x80") == bad + bad + bad + bad);  // above U+10FFFF
  CHECK(shown("\xf5\x80\x80\x80") == bad + bad + bad + bad);
  CHECK(shown("\x80") == bad);
}

TEST_CASE("audit line: texts of any length stay below the limit") {
  const std::string fillers[] = {"x",    "\"",       std::string(1, '\0'),
                                 "\xff", "\xc3\xbc", "\xf0\x9f\x94\x91"};
  for (const std::string& filler : fillers) {
    for (const std::size_t times : {1, 190, 391, 1190, 1197, 1200, 5000}) {
      std::string text;
      for (std::size_t i = 0; i < times; ++i) text += filler;
      const AuditLine line({text, text, text, text, text, text,
                            std::chrono::microseconds(std::numeric_limits<std::int64_t>::max())},
                           text, std::numeric_limits<std::uint64_t>::max());
      const AuditRecord record = parse_audit(line.text());
      CHECK(record.at("dropped") == "18446744073709551615");
      CHECK(record.at("object").ends_with(kCutShort) >= (times == 5000));
    }
  }
  CHECK(shown(std::string(1197, 'x')) == std::string(1197, 'x'));
  CHECK(shown(std::string(1198, 'x')) == std::string(1197, 'x') + kCutShort);
}

TEST_CASE("audit line: random bytes") {
  std::mt19937 random(20261124);  // NOLINT(cert-msc51-cpp): the same each time
  for (int round = 0; round < 300; ++round) {
    std::string text(random() % 5000, '\0');
    for (char& c : text)
      c = static_cast<char>(random() % 3 == 0 ? random() : 0x80 + random() % 0x80);
    CHECK_NOTHROW(parse_audit(AuditLine({text, text, text, text, text, text, {}}, text, 0).text()));
  }
}

TEST_CASE("audit drops: the next line tells of all, the log is told once") {
  AuditDrops drops;
  CHECK(drops.take() == 0);
  CHECK(drops.lost(0));
  CHECK_FALSE(drops.lost(0));
  const std::uint64_t told = drops.take();
  CHECK(told == 2);
  CHECK_FALSE(drops.lost(told));
  CHECK(drops.take() == 3);
  CHECK(drops.take() == 0);
}

TEST_CASE("audit setting: what it may be") {
  using Sink = AuditSetting::Sink;
  CHECK(AuditSetting::parse("").sink == Sink::kOff);
  CHECK(AuditSetting::parse("off").sink == Sink::kOff);
  CHECK(AuditSetting::parse("syslog").sink == Sink::kSyslog);
  CHECK(AuditSetting::parse("syslog").path == "/dev/log");
  CHECK(AuditSetting::parse("syslog:/run/log").path == "/run/log");
  CHECK(AuditSetting::parse("file:/var/log/a b").sink == Sink::kFile);
  CHECK(AuditSetting::parse("file:/var/log/a b").path == "/var/log/a b");
  const std::string long_path = "syslog:/" + std::string(107, 'x');
  CHECK(setting_error("syslog:/" + std::string(106, 'x')).empty());
  for (const std::string wrong :
       {"yes", "file", "file:", "file:relative", "syslog:", "syslog:relative", "syslogd", "Syslog",
        "warn:syslog", "stderr", long_path.c_str()}) {
    CAPTURE(wrong);
    CHECK(setting_error(wrong).starts_with("openssl.cnf: audit = " + wrong + ": "));
  }
}
