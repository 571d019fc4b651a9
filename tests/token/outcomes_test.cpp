// For each operation, each call that it makes is failed once in each of several ways: the outcome
// is a right answer or a clear error, and the operation succeeds the next time. What comes of it
// stands in outcomes.txt, for people to judge; HWID_OUTCOMES_UPDATE=1 in the environment writes
// that file anew.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/fixture/files.h"
#include "tests/fixture/paths.h"
#include "tests/module/functions.h"
#include "tests/token/outcomes_run.h"

namespace hwid::test::outcomes {
namespace {

struct Fault {
  std::string name;
  std::string directive;
};

// The ways in which the call number `position` can fail; `nth` counts calls of its function.
std::vector<Fault> faults_at(std::size_t position, const std::string& function, std::size_t nth) {
  std::vector<Fault> faults;
  for (const char* const code : {"CKR_BUFFER_TOO_SMALL", "CKR_DEVICE_ERROR", "CKR_HOST_MEMORY",
                                 "CKR_SESSION_HANDLE_INVALID", "CKR_USER_NOT_LOGGED_IN"})
    faults.push_back(
        {code, std::string("fail * ") + code + " nth=" + std::to_string(position) + " times=1"});
  const auto row = std::ranges::find(kFunctions, function, &FunctionRow::name);
  std::vector<const char*> lies;
  if (row->tells == Tells::kText)
    lies = {"blank", "full", "nul"};
  else if (row->tells != Tells::kNothing)
    lies = {"huge", "too-large", "too-small"};
  for (const char* const lie : lies)
    faults.push_back(
        {lie, "lie " + function + " " + lie + " nth=" + std::to_string(nth) + " times=1"});
  return faults;
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text + " ";
}

bool is_intolerable(const std::string& outcome) {
  std::istringstream words(outcome);
  for (std::string word; words >> word;) {
    // "CRASH", "PIN SENT", "NO ERROR", but no CKR_ name.
    if (word.size() > 2 &&
        word.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ,:") == std::string::npos &&
        word != "URI:" && word != "PIN")
      return true;
  }
  return false;
}

// The table of one operation: a line a case, and then the messages in full.
struct Table {
  std::vector<std::string> lines;
  std::set<std::string> messages;

  void add(const std::string& call, const Fault& fault, const Outcome& outcome) {
    std::string line = "  " + padded(call, 26) + padded(fault.name, 27) + outcome.first;
    if (outcome.then != "right") line += "; THEN " + outcome.then;
    CHECK_MESSAGE(outcome.then == "right", line);
    CHECK_MESSAGE(!is_intolerable(outcome.first), line << " " << outcome.text);
    lines.push_back(line);
    if (!outcome.text.empty()) messages.insert(outcome.text);
  }
};

Table table_of(const Operation& operation) {
  Table table;
  std::map<std::string, std::size_t> seen;
  std::size_t position = 0;
  for (const std::string& line : calls_of(operation)) {
    const std::string function = line.substr(0, line.find(' '));
    ++position;
    const std::size_t nth = ++seen[function];
    const std::string call = (position < 10 ? " " : "") + std::to_string(position) + " " + function;
    for (const Fault& fault : faults_at(position, function, nth))
      table.add(call, fault, run_in_child(operation, fault.directive));
  }
  return table;
}

std::string text_of(const Table& table) {
  std::string text;
  for (const std::string& line : table.lines) text += line + "\n";
  for (const std::string& message : table.messages) text += "    " + message + "\n";
  return text;
}

// outcomes.txt: an operation's name stands at the line's beginning, its table below it.
class File {
 public:
  File() {
    std::istringstream lines(read_file(path()));
    std::string* section = &head_;
    for (std::string line; std::getline(lines, line);) {
      const bool begins = !line.empty() && line[0] != ' ' && line[0] != '#';
      if (begins) section = &sections_[line];
      if (!begins) *section += line + "\n";
    }
  }
  const std::string& section(const std::string& name) { return sections_[name]; }
  void replace(const std::string& name, const std::string& text) {
    sections_[name] = text;
    std::string whole = head_;
    for (const Operation& operation : operations())
      whole += operation.name + "\n" + sections_[operation.name];
    write_file(path(), whole);
  }

 private:
  static std::string path() {
    return std::string(std::getenv("HWID_TESTS_DIR")) + "/token/outcomes.txt";
  }

  std::string head_;
  std::map<std::string, std::string> sections_;
};

// Where the two differ, the lines of both.
std::string difference(const std::string& committed, const std::string& now) {
  const auto lines_of = [](const std::string& text) {
    std::set<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.insert(line);
    return lines;
  };
  const std::set<std::string> before = lines_of(committed);
  const std::set<std::string> after = lines_of(now);
  std::string text;
  for (const std::string& line : before) {
    if (!after.contains(line)) text += "\n-" + line;
  }
  for (const std::string& line : after) {
    if (!before.contains(line)) text += "\n+" + line;
  }
  return text.empty() && committed != now ? "\nthe order of the lines" : text;
}

void check(const std::string& name) {
  const auto& all = operations();
  const auto operation = std::ranges::find(all, name, &Operation::name);
  REQUIRE(operation != all.end());
  const std::string text = text_of(table_of(*operation));
  File file;
  if (std::getenv("HWID_OUTCOMES_UPDATE") != nullptr) file.replace(name, text);
  CHECK_MESSAGE(text == file.section(name), difference(file.section(name), text));
}

}  // namespace

TEST_CASE("outcomes: load rsa") { check("load rsa"); }
TEST_CASE("outcomes: load ec") { check("load ec"); }
TEST_CASE("outcomes: load ec-by-id") { check("load ec-by-id"); }
TEST_CASE("outcomes: load ec-by-cert") { check("load ec-by-cert"); }
TEST_CASE("outcomes: load certificate") { check("load certificate"); }
TEST_CASE("outcomes: list") { check("list"); }
TEST_CASE("outcomes: sign rsa") { check("sign rsa"); }
TEST_CASE("outcomes: sign rsa-pss") { check("sign rsa-pss"); }
TEST_CASE("outcomes: sign ec") { check("sign ec"); }
TEST_CASE("outcomes: sign ec again") { check("sign ec again"); }
TEST_CASE("outcomes: sign ec a third time") { check("sign ec a third time"); }
TEST_CASE("outcomes: load and sign") { check("load and sign"); }
TEST_CASE("outcomes: load again and sign") { check("load again and sign"); }
TEST_CASE("outcomes: sign in a child") { check("sign in a child"); }
TEST_CASE("outcomes: sign in a child that must initialize") {
  check("sign in a child that must initialize");
}
TEST_CASE("outcomes: generate") { check("generate"); }

}  // namespace hwid::test::outcomes
