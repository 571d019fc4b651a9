#include "tests/module/words.h"

#include <stdexcept>
#include <utility>

#include "tests/module/directives.h"

namespace hwid::test {
namespace {

constexpr std::pair<std::string_view, CK_RV> kAnswers[] = {
    {"CKR_OK", CKR_OK},
    {"CKR_HOST_MEMORY", CKR_HOST_MEMORY},
    {"CKR_SLOT_ID_INVALID", CKR_SLOT_ID_INVALID},
    {"CKR_GENERAL_ERROR", CKR_GENERAL_ERROR},
    {"CKR_FUNCTION_FAILED", CKR_FUNCTION_FAILED},
    {"CKR_ARGUMENTS_BAD", CKR_ARGUMENTS_BAD},
    {"CKR_ACTION_PROHIBITED", 0x1b},
    {"CKR_ATTRIBUTE_READ_ONLY", CKR_ATTRIBUTE_READ_ONLY},
    {"CKR_ATTRIBUTE_SENSITIVE", CKR_ATTRIBUTE_SENSITIVE},
    {"CKR_ATTRIBUTE_TYPE_INVALID", CKR_ATTRIBUTE_TYPE_INVALID},
    {"CKR_ATTRIBUTE_VALUE_INVALID", CKR_ATTRIBUTE_VALUE_INVALID},
    {"CKR_DATA_INVALID", CKR_DATA_INVALID},
    {"CKR_DATA_LEN_RANGE", CKR_DATA_LEN_RANGE},
    {"CKR_DEVICE_ERROR", CKR_DEVICE_ERROR},
    {"CKR_DEVICE_MEMORY", CKR_DEVICE_MEMORY},
    {"CKR_DEVICE_REMOVED", CKR_DEVICE_REMOVED},
    {"CKR_FUNCTION_CANCELED", CKR_FUNCTION_CANCELED},
    {"CKR_FUNCTION_NOT_SUPPORTED", CKR_FUNCTION_NOT_SUPPORTED},
    {"CKR_KEY_HANDLE_INVALID", CKR_KEY_HANDLE_INVALID},
    {"CKR_KEY_FUNCTION_NOT_PERMITTED", CKR_KEY_FUNCTION_NOT_PERMITTED},
    {"CKR_MECHANISM_INVALID", CKR_MECHANISM_INVALID},
    {"CKR_MECHANISM_PARAM_INVALID", CKR_MECHANISM_PARAM_INVALID},
    {"CKR_OBJECT_HANDLE_INVALID", CKR_OBJECT_HANDLE_INVALID},
    {"CKR_OPERATION_ACTIVE", CKR_OPERATION_ACTIVE},
    {"CKR_OPERATION_NOT_INITIALIZED", CKR_OPERATION_NOT_INITIALIZED},
    {"CKR_PIN_INCORRECT", CKR_PIN_INCORRECT},
    {"CKR_PIN_EXPIRED", CKR_PIN_EXPIRED},
    {"CKR_PIN_LOCKED", CKR_PIN_LOCKED},
    {"CKR_SESSION_CLOSED", CKR_SESSION_CLOSED},
    {"CKR_SESSION_COUNT", CKR_SESSION_COUNT},
    {"CKR_SESSION_HANDLE_INVALID", CKR_SESSION_HANDLE_INVALID},
    {"CKR_SESSION_READ_ONLY", CKR_SESSION_READ_ONLY},
    {"CKR_TEMPLATE_INCONSISTENT", CKR_TEMPLATE_INCONSISTENT},
    {"CKR_TOKEN_NOT_PRESENT", CKR_TOKEN_NOT_PRESENT},
    {"CKR_TOKEN_NOT_RECOGNIZED", CKR_TOKEN_NOT_RECOGNIZED},
    {"CKR_TOKEN_WRITE_PROTECTED", CKR_TOKEN_WRITE_PROTECTED},
    {"CKR_USER_ALREADY_LOGGED_IN", CKR_USER_ALREADY_LOGGED_IN},
    {"CKR_USER_NOT_LOGGED_IN", CKR_USER_NOT_LOGGED_IN},
    {"CKR_USER_PIN_NOT_INITIALIZED", CKR_USER_PIN_NOT_INITIALIZED},
    {"CKR_BUFFER_TOO_SMALL", CKR_BUFFER_TOO_SMALL},
    {"CKR_NEED_TO_CREATE_THREADS", CKR_NEED_TO_CREATE_THREADS},
    {"CKR_CANT_LOCK", CKR_CANT_LOCK},
    {"CKR_CRYPTOKI_NOT_INITIALIZED", CKR_CRYPTOKI_NOT_INITIALIZED},
    {"CKR_CRYPTOKI_ALREADY_INITIALIZED", CKR_CRYPTOKI_ALREADY_INITIALIZED},
};

}  // namespace

std::string answer_name(CK_RV rv) {
  for (const auto& [name, value] : kAnswers) {
    if (value == rv) return std::string(name);
  }
  std::ostringstream text;
  text << "0x" << std::hex << rv;
  return text.str();
}

bool Words::more() {
  stream_ >> std::ws;
  return !stream_.eof();
}

std::string Words::next() {
  std::string word;
  if (!(stream_ >> word)) fail("a word is missing");
  return word;
}

std::string Words::rest() {
  if (!more()) fail("a word is missing");
  std::string text;
  std::getline(stream_, text);
  more();
  return text;
}

std::uint64_t Words::to_number(const std::string& word) const {
  try {
    std::size_t used = 0;
    const std::uint64_t value = std::stoull(word, &used, 0);
    if (used == word.size()) return value;
  } catch (const std::exception&) {  // reported below, like trailing characters
  }
  fail("not a number: " + word);
}

CK_RV Words::answer() {
  const std::string word = next();
  for (const auto& [name, value] : kAnswers) {
    if (word == name) return value;
  }
  return static_cast<CK_RV>(to_number(word));
}

FunctionSet Words::functions() {
  const std::string word = next();
  FunctionSet found;
  for (std::size_t i = 0; i < kFunctionCount; ++i)
    found[i] = word == "*" || word == kFunctions[i].name;
  if (found.none()) fail("no function " + word);
  return found;
}

bool Words::on_off() {
  const std::string word = next();
  if (word != "on" && word != "off") fail("neither on nor off: " + word);
  return word == "on";
}

std::string Words::hex() {
  const std::string word = next();
  std::string bytes;
  if (word == "-") return bytes;
  if (word.size() % 2 != 0 || word.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
    fail("not hex: " + word);
  for (std::size_t i = 0; i < word.size(); i += 2)
    bytes += static_cast<char>(std::stoi(word.substr(i, 2), nullptr, 16));
  return bytes;
}

void Words::options(Rule& rule) {
  while (more()) {
    const auto before = stream_.tellg();
    const std::string word = next();
    if (word.starts_with("nth=")) {
      rule.nth = to_number(word.substr(4));
    } else if (word.starts_with("times=")) {
      rule.times = to_number(word.substr(6));
    } else if (word.starts_with("attribute=")) {
      rule.only_attribute = static_cast<CK_ATTRIBUTE_TYPE>(to_number(word.substr(10)));
    } else if (word == "after") {
      rule.after = true;
    } else {
      stream_.clear();
      stream_.seekg(before);
      return;
    }
  }
}

void Words::fail(const std::string& why) const {
  throw std::invalid_argument("directive \"" + line_ + "\": " + why);
}

}  // namespace hwid::test
