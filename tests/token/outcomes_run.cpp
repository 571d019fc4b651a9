#include "tests/token/outcomes_run.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace hwid::test::outcomes {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kPatience = 40;  // seconds
constexpr char kEnd = '\0';         // of each text that a child sends

// Answers that prove that the PIN was not looked at.
bool costs_nothing(const std::string& answer) {
  for (const char* const known :
       {"CKR_OK", "CKR_USER_ALREADY_LOGGED_IN", "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED",
        "CKR_CRYPTOKI_NOT_INITIALIZED"}) {
    if (answer == known) return true;
  }
  return false;
}

bool sends_pin_again(const std::string& calls) {
  std::istringstream lines(calls);
  bool may_have_cost = false;
  for (std::string function, answer; lines >> function >> answer;) {
    if (function != "C_Login") continue;
    if (may_have_cost) return true;
    may_have_cost = !costs_nothing(answer);
  }
  return false;
}

// Without what differs from one machine or process to the next.
std::string told_anywhere(std::string text) {
  const std::string path = world().module.path();
  for (std::size_t at = 0; (at = text.find(path)) != std::string::npos;)
    text.replace(at, path.size(), "MODULE");
  static const std::regex kSlot(R"(slot [0-9]+)");
  static const std::regex kCertificateSize(R"(not whole \([0-9]+ bytes\))");
  text = std::regex_replace(text, kSlot, "slot N");
  return std::regex_replace(text, kCertificateSize, "not whole (N bytes)");
}

// The call and the code, or the first word, of a message that has the form; else "".
std::string short_form(const std::string& text) {
  static const std::regex kCall(
      R"((C_\w+:(?: CK[RF]_\w+)?)(?: \(0x[0-9a-f]+\))?((?: (?:module|token|object)=[^ :]+)+): .+; .+)");
  static const std::regex kUri(R"((?:pkcs11:\S*token=\S+): (.+); .+)");
  std::smatch found;
  if (std::regex_match(text, found, kCall)) return found[1].str();
  if (std::regex_match(text, found, kUri)) return "URI:";
  return {};
}

struct Message {
  std::string brief, full;
};

// Of what a test's helper threw: the first message of ours in OpenSSL's queue.
Message message_of(const std::string& thrown) {
  static const std::regex kOurs(R"(error:[0-9A-F]+:hwid::(.*?) \w+: (.*))");
  std::istringstream lines(thrown);
  std::string line;
  std::getline(lines, line);  // the helper's own words
  std::string others;
  while (std::getline(lines, line)) {
    std::smatch found;
    if (!std::regex_match(line, found, kOurs)) {
      others.append(line).append("|");
      continue;
    }
    const std::string text = told_anywhere(found[2].str());
    std::string brief = short_form(text);
    if (brief.empty())
      brief = "BAD FORM";
    else
      brief.append(" ").append(found[1].str());
    if (!others.empty()) brief.append(", ERRORS BEFORE");
    return {brief, text};
  }
  return {"NO ERROR", others};
}

Message run_once(const Operation& operation, Stage& stage) {
  try {
    Message result{operation.run(stage), {}};
    if (const std::string left = openssl_errors(); !left.empty())
      return {result.brief + ", ERRORS LEFT", left};
    return result;
  } catch (const std::exception& error) {
    return message_of(error.what());
  }
}

void copy_token(const SoftHsmToken& token, const TemporaryDirectory& into) {
  fs::copy(token.directory().path() / "tokens", into.path() / "tokens",
           fs::copy_options::recursive);
  write_file(into.file("softhsm2.conf"), "directories.tokendir = " + into.file("tokens") +
                                             "\nobjectstore.backend = file\nlog.level = ERROR\n");
  setenv("SOFTHSM2_CONF", into.file("softhsm2.conf").c_str(), 1);
}

void send(int pipe, const std::string& text) {
  const std::string whole = text + kEnd;
  if (write(pipe, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) _exit(2);
}

// In the child. Sends: first, its full text, then, the calls of the first run.
void act(const Operation& operation, const std::string& directives, int pipe) {
  alarm(kPatience);
  World& w = world();
  Stage stage(w.*operation.token);
  w.module("sort-objects on");
  operation.prepare(stage);
  w.module("record on\n" + directives);
  Message first = run_once(operation, stage);
  const std::string calls = w.module.record();
  w.module("clear\nsort-objects on");
  if (first.brief != "right" && operation.traces) {
    const std::string left = operation.traces(stage);
    if (!left.empty()) first.brief += ", " + left;
  }
  if (sends_pin_again(calls)) first.brief += ", PIN SENT AGAIN";
  send(pipe, first.brief);
  send(pipe, first.full);
  const Message then = run_once(operation, stage);
  send(pipe, then.brief == "right" ? then.brief : then.brief + " (" + then.full + ")");
  send(pipe, calls);
}

// What a child process sent until its end, and how it ended.
std::vector<std::string> in_child(const Operation& operation, const std::string& directives) {
  World& w = world();  // made before the fork
  const TemporaryDirectory scratch;
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    try {
      if (operation.writes)
        copy_token(w.*operation.token, scratch);
      else
        (w.*operation.token).use_in_this_process();
      act(operation, directives, ends[1]);
    } catch (const std::exception& error) {
      fprintf(stderr, "%s: %s\n", operation.name.c_str(), error.what());
      _exit(3);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string sent;
  std::array<char, 4096> part{};
  for (ssize_t size = 0; (size = read(ends[0], part.data(), part.size())) > 0;)
    sent.append(part.data(), static_cast<std::size_t>(size));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  std::vector<std::string> texts;
  std::istringstream stream(sent);
  for (std::string text; std::getline(stream, text, kEnd);) texts.push_back(text);
  if (status != 0) {
    texts.resize(4);
    const bool hangs = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    (texts[0].empty() ? texts[0] : texts[2]) = hangs ? "HANG" : "CRASH";
  }
  texts.resize(4);
  return texts;
}

}  // namespace

Outcome run_in_child(const Operation& operation, const std::string& directives) {
  const std::vector<std::string> texts = in_child(operation, directives);
  return {texts[0], texts[2], texts[1]};
}

std::vector<std::string> calls_of(const Operation& operation) {
  const std::vector<std::string> texts = in_child(operation, "");
  if (texts[0] != "right" || texts[2] != "right")
    throw std::runtime_error(operation.name + ": " + texts[0] + ", then " + texts[2] + "\n" +
                             texts[1]);
  std::vector<std::string> calls;
  std::istringstream lines(texts[3]);
  for (std::string line; std::getline(lines, line);) calls.push_back(line);
  return calls;
}

}  // namespace hwid::test::outcomes
