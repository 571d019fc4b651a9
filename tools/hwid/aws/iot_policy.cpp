#include "tools/hwid/aws/iot_policy.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

namespace hwid::tool::aws {

namespace {

using nlohmann::json;

// What IoT policies of devices use; a misspelt action would silently allow nothing.
const std::set<std::string> kActions = {
    "*",
    "iot:*",
    "iot:connect",
    "iot:publish",
    "iot:retainpublish",
    "iot:subscribe",
    "iot:receive",
    "iot:getretainedmessage",
    "iot:listretainedmessages",
    "iot:getthingshadow",
    "iot:updatethingshadow",
    "iot:deletethingshadow",
    "iot:assumerolewithcertificate",
    "greengrass:*",
    "greengrass:discover",
};
const std::set<std::string> kResources = {"client", "topic", "topicfilter", "thing", "rolealias"};

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error("IoT policy: " + why); }

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::vector<std::string> strings_of(const json& statement, const char* key) {
  if (!statement.contains(key)) refuse(std::string("a statement has no ") + key);
  const json& value = statement[key];
  std::vector<std::string> strings;
  for (const auto& item : value.is_array() ? value : json::array({value})) {
    if (!item.is_string()) refuse(std::string(key) + " holds something else than strings");
    strings.push_back(item.get<std::string>());
  }
  if (strings.empty()) refuse(std::string(key) + " is empty");
  return strings;
}

void check_keys(const json& object, const std::set<std::string>& known) {
  for (const auto& [key, unused] : object.items())
    if (known.count(key) == 0) refuse("unknown key " + key);
}

void check_resource(const std::string& resource) {
  if (resource == "*") return;
  std::string rest = resource;
  std::vector<std::string> parts;
  for (int i = 0; i < 5; ++i) {
    const auto colon = rest.find(':');
    if (colon == std::string::npos) refuse("'" + resource + "' is no ARN");
    parts.push_back(rest.substr(0, colon));
    rest.erase(0, colon + 1);
  }
  if (parts[0] != "arn" || parts[1] != "aws" || parts[2] != "iot")
    refuse("'" + resource + "' does not begin with arn:aws:iot:");
  if (kResources.count(rest.substr(0, rest.find('/'))) == 0 && rest != "*")
    refuse("'" + resource + "' is no client, topic, topicfilter, thing or rolealias");
}

// One element of a pattern: a character, `?` or `*`.
struct Element {
  char character;
  bool wildcard;
};

// With variables replaced, whose values are characters only. Nothing: one has no value.
std::optional<std::vector<Element>> expand(const std::string& pattern, const Variables& variables) {
  std::vector<Element> elements;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern.compare(i, 2, "${") != 0) {
      elements.push_back({pattern[i], pattern[i] == '*' || pattern[i] == '?'});
      continue;
    }
    const auto end = pattern.find('}', i);
    if (end == std::string::npos) refuse("'" + pattern + "': ${ is not closed");
    const std::string name = pattern.substr(i + 2, end - i - 2);
    std::string value = name;  // ${*}, ${?}, ${$}
    if (name != "*" && name != "?" && name != "$") {
      const auto found = variables.find(name);
      if (found == variables.end()) return std::nullopt;
      value = found->second;
    }
    for (const char c : value) elements.push_back({c, false});
    i = end;
  }
  return elements;
}

bool matches(const std::vector<Element>& pattern, const std::string& text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string::npos;
  std::size_t after_star = 0;
  while (t < text.size()) {
    const bool here = p < pattern.size();
    if (here && pattern[p].wildcard && pattern[p].character == '*') {
      star = p++;
      after_star = t;
    } else if (here && (pattern[p].wildcard || pattern[p].character == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string::npos) {
      p = star + 1;
      t = ++after_star;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p].wildcard && pattern[p].character == '*') ++p;
  return p == pattern.size();
}

}  // namespace

IotPolicy IotPolicy::parse(const std::string& text, const std::string& region,
                           const std::string& account) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object()) refuse("it is no JSON object");
  check_keys(document, {"Version", "Statement", "Id"});
  if (document.value("Version", "") != "2012-10-17") refuse("Version must be 2012-10-17");
  if (!document.contains("Statement")) refuse("it has no Statement");
  IotPolicy policy;
  policy.prefix_ = "arn:aws:iot:" + region + ":" + account + ":";
  const json& list = document["Statement"];
  for (const auto& item : list.is_array() ? list : json::array({list})) {
    if (!item.is_object()) refuse("a statement is no object");
    check_keys(item, {"Sid", "Effect", "Action", "Resource"});
    const std::string effect = item.value("Effect", "");
    if (effect != "Allow" && effect != "Deny") refuse("Effect must be Allow or Deny");
    Statement statement{effect == "Allow", {}, strings_of(item, "Resource")};
    for (const auto& action : strings_of(item, "Action")) {
      statement.actions.push_back(lower(action));
      if (kActions.count(statement.actions.back()) == 0)
        refuse("the action " + action + " is unknown");
    }
    for (const auto& resource : statement.resources) check_resource(resource);
    policy.statements_.push_back(std::move(statement));
  }
  return policy;
}

bool IotPolicy::applies(const Statement& statement, const std::string& action,
                        const std::string& arn, const Variables& variables) const {
  const auto names = [&](const std::string& pattern, const std::string& value) {
    const auto expanded = expand(pattern, variables);
    return expanded && matches(*expanded, value);
  };
  return std::any_of(statement.actions.begin(), statement.actions.end(),
                     [&](const std::string& item) { return names(item, lower(action)); }) &&
         std::any_of(statement.resources.begin(), statement.resources.end(),
                     [&](const std::string& item) { return names(item, arn); });
}

bool IotPolicy::allows(const std::string& action, const std::string& resource,
                       const Variables& variables) const {
  bool allowed = false;
  for (const auto& statement : statements_) {
    if (!applies(statement, action, prefix_ + resource, variables)) continue;
    if (!statement.allow) return false;
    allowed = true;
  }
  return allowed;
}

}  // namespace hwid::tool::aws
