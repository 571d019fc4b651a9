#include "tools/hwid/aws/iot_policy.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>

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

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
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

// arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE in its parts, of which the last may hold colons; as
// many as there are.
constexpr std::size_t kParts = 6;
std::vector<std::string> parts_of(const std::string& arn) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (parts.size() < kParts - 1) {
    const auto colon = arn.find(':', at);
    if (colon == std::string::npos) break;
    parts.push_back(arn.substr(at, colon - at));
    at = colon + 1;
  }
  parts.push_back(arn.substr(at));
  return parts;
}

bool is_pattern(const std::string& text) { return text.find_first_of("*?$") != std::string::npos; }

std::string kind_of(const std::string& resource) { return resource.substr(0, resource.find('/')); }

void check_resource(const std::string& resource) {
  if (resource == "*") return;
  const std::vector<std::string> parts = parts_of(resource);
  if (parts.size() < kParts) refuse("'" + resource + "' is no ARN");
  if (parts[0] != "arn" || parts[1] != "aws" || parts[2] != "iot")
    refuse("'" + resource + "' does not begin with arn:aws:iot:");
  if (kResources.count(kind_of(parts[5])) == 0 && parts[5] != "*")
    refuse("'" + resource + "' is no client, topic, topicfilter, thing or rolealias");
}

// One element of a pattern: a character, `?` or `*`.
struct Element {
  char character;
  bool wildcard;
};

// What a variable without a value makes of a pattern: it matches nothing, or is like `*`.
enum class WithoutValue { kNothing, kAnything };

// The name of the variable that begins at `at`.
std::string variable_at(const std::string& pattern, std::size_t at) {
  const auto end = pattern.find('}', at);
  if (end == std::string::npos) refuse("'" + pattern + "': ${ is not closed");
  return pattern.substr(at + 2, end - at - 2);
}

bool is_character(const std::string& variable) {  // ${*}, ${?}, ${$}
  return variable == "*" || variable == "?" || variable == "$";
}

// With variables replaced, whose values are characters only. Nothing: one has no value.
std::optional<std::vector<Element>> expand(const std::string& pattern, const Variables& variables,
                                           WithoutValue otherwise) {
  std::vector<Element> elements;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern.compare(i, 2, "${") != 0) {
      elements.push_back({pattern[i], pattern[i] == '*' || pattern[i] == '?'});
      continue;
    }
    const std::string name = variable_at(pattern, i);
    i += name.size() + 2;
    const auto found = variables.find(name);
    const bool has_value = is_character(name) || found != variables.end();
    if (!has_value && otherwise == WithoutValue::kNothing) return std::nullopt;
    if (!has_value) elements.push_back({'*', true});
    for (const char c : is_character(name) ? name : has_value ? found->second : std::string())
      elements.push_back({c, false});
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

// Keys of conditions are the same in any case.
const std::string* value_of(const std::string& key, const Variables& variables) {
  const auto found = std::find_if(variables.begin(), variables.end(), [&](const auto& variable) {
    return lower(variable.first) == lower(key);
  });
  return found == variables.end() ? nullptr : &found->second;
}

std::string scalar_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  refuse("a condition's value is no text");
}

// A text that the pattern of one part of an ARN stands for.
std::string example_of(std::string pattern) {
  std::replace_if(
      pattern.begin(), pattern.end(), [](char c) { return c == '*' || c == '?'; }, '1');
  return pattern;
}

// Nothing: it cannot be told here.
std::optional<bool> holds(const IotCondition& condition, const Variables& variables) {
  constexpr std::string_view kIfExists = "IfExists";
  std::string_view test = condition.test;
  if (test.size() > kIfExists.size() && test.substr(test.size() - kIfExists.size()) == kIfExists)
    test.remove_suffix(kIfExists.size());
  const std::string* const value = value_of(condition.key, variables);
  if (value == nullptr) return std::nullopt;
  const bool is_like = test == "StringLike" || test == "StringNotLike";
  const bool in_any_case =
      test == "Bool" || test == "StringEqualsIgnoreCase" || test == "StringNotEqualsIgnoreCase";
  if (!is_like && !in_any_case && test != "StringEquals" && test != "StringNotEquals")
    return std::nullopt;
  bool is_one = false;
  for (const std::string& wanted : condition.values) {
    auto pattern = expand(wanted, variables, WithoutValue::kNothing);
    if (!pattern) return std::nullopt;
    for (Element& element : *pattern) {
      element.wildcard = element.wildcard && is_like;
      if (in_any_case) element.character = lower(std::string(1, element.character))[0];
    }
    is_one = is_one || matches(*pattern, in_any_case ? lower(*value) : *value);
  }
  return is_one != (test.find("Not") != std::string_view::npos);
}

std::vector<IotCondition> read_conditions(const json& tests) {
  if (!tests.is_object()) refuse("Condition is no object");
  std::vector<IotCondition> conditions;
  for (const auto& [test, keys] : tests.items()) {
    if (!keys.is_object()) refuse("the condition " + test + " is no object");
    for (const auto& [key, value] : keys.items()) {
      conditions.push_back({test, key, {}});
      for (const auto& one : value.is_array() ? value : json::array({value}))
        conditions.back().values.push_back(scalar_text(one));
    }
  }
  return conditions;
}

IotStatement read_statement(const json& item) {
  check_keys(item, {"Sid", "Effect", "Action", "Resource", "Condition"});
  const std::string effect = text_of(item, "Effect");
  if (effect != "Allow" && effect != "Deny") refuse("Effect must be \"Allow\" or \"Deny\"");
  return {effect == "Allow", strings_of(item, "Action"), strings_of(item, "Resource"),
          item.contains("Condition") ? read_conditions(item["Condition"])
                                     : std::vector<IotCondition>()};
}

}  // namespace

IotPolicy IotPolicy::parse(const std::string& text, const std::string& region,
                           const std::string& account) {
  IotPolicy policy = read(text, Reading::kStrict);
  policy.prefix_ = "arn:aws:iot:" + region + ":" + account + ":";
  return policy;
}

IotPolicy IotPolicy::parse_in_force(const std::string& text, const std::string& region) {
  IotPolicy policy = read(text, Reading::kInForce);
  policy.prefix_ = "arn:" + policy.place(1, "aws") +
                   ":iot:" + (region.empty() ? policy.place(3, "REGION") : region) + ":" +
                   policy.place(4, "ACCOUNT") + ":";
  return policy;
}

IotPolicy IotPolicy::read(const std::string& text, Reading reading) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object()) refuse("it is no JSON object");
  check_keys(document, {"Version", "Statement", "Id"});
  if (text_of(document, "Version") != "2012-10-17") refuse("Version must be \"2012-10-17\"");
  if (!document.contains("Statement")) refuse("it has no Statement");
  IotPolicy policy;
  policy.reading_ = reading;
  const json& list = document["Statement"];
  for (const auto& item : list.is_array() ? list : json::array({list})) {
    if (!item.is_object()) refuse("a statement is no object");
    if (reading == Reading::kStrict) check_keys(item, {"Sid", "Effect", "Action", "Resource"});
    policy.statements_.push_back(read_statement(item));
    policy.check_names(policy.statements_.back());
  }
  return policy;
}

void IotPolicy::check_names(const IotStatement& statement) {
  for (const std::string& action : statement.actions) {
    if (kActions.count(lower(action)) != 0) continue;
    if (reading_ == Reading::kStrict) refuse("the action " + action + " is unknown");
    note_unknown("action", action, kActions);
  }
  for (const std::string& resource : statement.resources) {
    const std::vector<std::string> parts = parts_of(resource);
    if (reading_ == Reading::kStrict)
      check_resource(resource);
    else if (parts[0] != "arn" && !is_pattern(parts[0]))
      refuse("'" + resource + "' is no ARN");
    else if (parts.size() == kParts && parts[2] == "iot")
      note_unknown("resource", kind_of(parts[5]), kResources);
  }
}

void IotPolicy::note_unknown(const char* what, const std::string& written,
                             const std::set<std::string>& known) {
  if (is_pattern(written) || known.count(written) != 0) return;
  unknown_.push_back({what, written, {known.begin(), known.end()}});
}

std::string IotPolicy::place(std::size_t index, const std::string& otherwise) const {
  std::string example = otherwise;
  for (const IotStatement& statement : statements_) {
    for (const std::string& resource : statement.resources) {
      const std::vector<std::string> parts = parts_of(resource);
      if (parts.size() < kParts || parts[2] != "iot" || parts[index] == "*") continue;
      if (!is_pattern(parts[index])) return parts[index];
      if (example == otherwise) example = example_of(parts[index]);
    }
  }
  return example;
}

std::set<std::string> IotPolicy::not_evaluated(const Variables& variables) const {
  std::set<std::string> all;
  for (const IotStatement& statement : statements_) {
    for (const IotCondition& condition : statement.conditions)
      if (!holds(condition, variables)) all.insert(condition.test + " " + condition.key);
    for (const std::string& resource : statement.resources)
      for (auto at = resource.find("${"); at != std::string::npos;
           at = resource.find("${", at + 1)) {
        const std::string name = variable_at(resource, at);
        if (!is_character(name) && variables.count(name) == 0) all.insert("${" + name + "}");
      }
  }
  return all;
}

bool IotPolicy::applies(const IotStatement& statement, const std::string& action,
                        const std::string& arn, const Variables& variables) const {
  const WithoutValue otherwise = reading_ == Reading::kInForce && statement.allow
                                     ? WithoutValue::kAnything
                                     : WithoutValue::kNothing;
  const auto names = [&](const std::string& pattern, const std::string& value) {
    const auto expanded = expand(pattern, variables, otherwise);
    return expanded && matches(*expanded, value);
  };
  return std::any_of(statement.actions.begin(), statement.actions.end(),
                     [&](const std::string& item) { return names(lower(item), lower(action)); }) &&
         std::any_of(statement.resources.begin(), statement.resources.end(),
                     [&](const std::string& item) { return names(item, arn); }) &&
         std::all_of(statement.conditions.begin(), statement.conditions.end(),
                     [&](const IotCondition& condition) {
                       return holds(condition, variables).value_or(statement.allow);
                     });
}

bool IotPolicy::allows(const std::string& action, const std::string& resource,
                       const Variables& variables) const {
  bool allowed = false;
  for (const auto& statement : statements_) {
    if (!applies(statement, action, arn_of(resource), variables)) continue;
    if (!statement.allow) return false;
    allowed = true;
  }
  return allowed;
}

}  // namespace hwid::tool::aws
