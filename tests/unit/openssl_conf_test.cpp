// What tools/openssl_conf writes, and how it gets into files that others wrote.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/error.h"
#include "tests/fixture/files.h"
#include "tools/openssl_conf/conf.h"
#include "tools/openssl_conf/enabling.h"
#include "tools/openssl_conf/provider_section.h"
#include "tools/openssl_conf/writer.h"

namespace hwid::openssl_conf {
namespace {

std::string read_back(const std::string& value) {
  const Conf conf = load_text(Writer().section("s").set("key", value).text(), "test");
  return text_of(conf.get(), "s", "key");
}

TEST_CASE("openssl_conf: every value is read as it was written") {
  for (const char* const value :
       {"plain", "a b", " blanks outside ", "$HOME ${x} $(y)", "#no comment", "it's", "say \"x\"",
        "`x`", "back\\slash", "ends with \\", "a;b=c,d", "\ttab"}) {
    INFO(value);
    const std::string read = read_back(value);
    CHECK(read == value);
  }
}

TEST_CASE("openssl_conf: what no line can hold is refused") {
  for (const std::string& value :
       {std::string("a\nb"), std::string("a\rb"), std::string("a\0b", 3)}) {
    Writer out;
    CHECK_THROWS_AS(out.set("key", value), core::Error);
    CHECK_THROWS_AS(out.include(value), core::Error);
    CHECK_THROWS_AS(out.comment(value), core::Error);
  }
}

TEST_CASE("openssl_conf: our lines go without a trace") {
  for (const char* const text : {"", "\n", "a = 1", "a = 1\n", "a = 1\n\n\n", "a = 1\r\n[b]\r\n",
                                 "a = 1\r\n[b]", "a = \\", "a = \\\n", "[b] # comment\n", "\r\n"}) {
    INFO(text);
    const std::string with = with_include(text, "/etc/ssl/hwid.cnf");
    const std::optional<std::string> without = without_include(with);
    REQUIRE(without);
    CHECK(*without == text);
    const std::optional<std::string> not_there = without_include(text);
    CHECK_FALSE(not_there);
  }
}

// Every value, in the order of the file.
std::string all_values(const std::string& text) {
  std::string all;
  const Conf conf = load_text(text, "test");
  for (const char* const section : {"default", "b", "more"}) {
    all.append("[").append(section).append("]");
    for_each(section_of(conf.get(), section),
             [&](const std::string& key, const std::string& value) {
               all.append(key).append("=").append(value).append(";");
             });
  }
  return all;
}

std::string without_blank_lines(const std::string& text) {
  std::string left;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string line = text.substr(at, next - at);
    if (line != "\n" && line != "\r\n") left += line;
    at = next;
  }
  return left;
}

TEST_CASE("openssl_conf: our lines go, and what editors and others did since keeps its meaning") {
  for (const std::string text :
       {"", "\n", "a = 1", "a = 1\n", "a = 1\n\n\n", "a = 1\r\n[b]\r\nc = 2\r\n", "a = 1\r\n[b]",
        "[b]\na = \\", "a = \\\n", "a = 1 \\\n 2\n", "[b] # comment\n", "\r\n"}) {
    for (const std::string appended : {"", "later = 1\n", "later = 1", "\nlater = 1\n",
                                       "[more]\nlater = 1\n", "later = 1\r\n"}) {
      for (const bool squeezed : {false, true}) {
        INFO("text: ", text, " appended: ", appended, " squeezed: ", squeezed);
        const std::string with = with_include(text, "/etc/ssl/hwid.cnf");
        const std::string edited = (squeezed ? without_blank_lines(with) : with) + appended;
        const std::optional<std::string> without = without_include(edited);
        REQUIRE(without);
        const std::string read = all_values(*without);
        const std::string wanted = all_values(std::string(text).append("\n\n").append(appended));
        CHECK(read == wanted);
        CHECK(without->find("hwid") == std::string::npos);
      }
    }
  }
}

TEST_CASE("openssl_conf: all agree on which section is ours, and whether it is active") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.file("openssl.cnf");
  const std::string begin = "openssl_conf = i\nmodule = /x/hwid.so\n[i]\nproviders = p\n[p]\n";
  struct Case {
    std::string text, section;
    bool active;
  };
  const std::vector<Case> cases = {
      {"hwid = a\n[a]\nactivate = 1\n", "a", true},
      {"hwid = a\n[a]\nactivate = Y\n", "a", true},
      {"hwid = a\n[a]\n1.activate = 1\n", "a", true},
      {"hwid = a\n[a]\nactivate = off\n", "a", false},
      {"tpm2 = a\nhwid = b\n[a]\nmodule = hwid.so\n[b]\nactivate = 1\nmodule = hwid.so\n", "b",
       true},
      {"hwid = a\ntpm2 = b\n[a]\nmodule = hwid.so\nactivate = 1\n[b]\nmodule = hwid.so\n", "a",
       true},
      {"hwid = a\ntpm2 = b\n[a]\nx = 1\n[b]\nmodule = hwid.so\n", "a", false},
      {"legacy = a\n[a]\nactivate = 1\n", "", false}};
  for (const Case& one : cases) {
    INFO(one.text);
    test::write_file(file, begin + one.text);
    const Layout layout = read_layout(begin + one.text, "f");
    const ProviderSection section = ProviderSection::read(file);
    CHECK(layout.ours == one.section);
    CHECK(layout.ours_active == one.active);
    CHECK(section.section() == one.section);
    CHECK(section.is_activated() == one.active);
  }
}

TEST_CASE("openssl_conf: half of our lines are left for a person") {
  const std::string with = with_include("a = 1\n", "/x");
  CHECK_THROWS_AS(without_include(with.substr(0, with.find("# hwid: end"))), core::Error);
}

TEST_CASE("openssl_conf: the default provider is named where OpenSSL activated it by itself") {
  const auto fragment = [](const std::string& text) {
    return enabling_fragment(read_layout(text, "f"), Ours{}, "f");
  };
  const auto with = [](const std::string& text, const std::string& added) {
    return read_layout(text + "\n" + added, "f");
  };
  const std::string begin = "openssl_conf = i\n[i]\nproviders = p\n[p]\n";
  for (const std::string& text :
       {std::string(), std::string("openssl_conf = i\n"), begin, begin + "default = d\n",
        begin + "default = d\n[d]\nx = 1\n", begin + "default = d\n[d]\nactivate = 0\n",
        begin + "legacy = l\n[l]\n"}) {
    INFO(text);
    const Layout layout = with(text, fragment(text));
    CHECK(layout.default_active);
    CHECK(layout.ours == "hwid_sect");
    CHECK(layout.ours_active);
    CHECK(layout.has_nodejs_conf);
    // The first of them makes the keys of TLS connections.
    const std::string whole = text + "\n" + fragment(text);
    CHECK(whole.find("\ndefault = ") < whole.find("\nhwid = "));
  }
  // Where only others are active somebody wanted it so (FIPS).
  const std::string fips = begin + "fips = f\n[f]\nactivate = 1\n";
  const Layout layout = with(fips, fragment(fips));
  CHECK_FALSE(layout.default_active);
  CHECK(layout.ours_active);
  CHECK(layout.others == std::vector<std::string>{"fips"});
}

TEST_CASE("openssl_conf: sections of others are not mixed with ours") {
  const std::string text = "[hwid_sect]\nx = 1\n";
  CHECK_THROWS_AS(enabling_fragment(read_layout(text, "f"), Ours{}, "f"), core::Error);
}

}  // namespace
}  // namespace hwid::openssl_conf
