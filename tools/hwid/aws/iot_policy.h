// What an IoT policy of AWS lets a device do.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hwid::tool::aws {

// The value of a policy variable, e.g. iot:ClientId; one that has none is not in the map.
using Variables = std::map<std::string, std::string>;

struct IotCondition {
  std::string test;  // "StringEquals"
  std::string key;
  std::vector<std::string> values;
};
struct IotStatement {
  bool allow;
  std::vector<std::string> actions;
  std::vector<std::string> resources;
  std::vector<IotCondition> conditions;
};

// An AWS IoT policy, evaluated as "AWS IoT Core policies" says: what is not allowed is denied, and
// a Deny wins. `*` stands for any characters, slashes too, `?` for one; MQTT's + and # are
// characters like others. A statement with a variable that has no value applies to nothing.
class IotPolicy {
 public:
  // As the one device of `region` and `account` sees it, in AWS's usual partition. Throws
  // std::runtime_error for anything that AWS, or this reader, does not know: better a loud refusal
  // here than a policy that means something else in the cloud.
  static IotPolicy parse(const std::string& json, const std::string& region,
                         const std::string& account);

  // A policy that is in force, as it is found: of any partition, region and account, with actions,
  // resources and services of which this reader knows nothing. `region`: where the device is, if
  // that is known; what else it is in is taken from the policy. Conditions and variables that
  // cannot be evaluated are taken to be in the device's favour (`not_evaluated` names them). Throws
  // std::runtime_error for what is no policy.
  static IotPolicy parse_in_force(const std::string& json, const std::string& region);

  // `action` e.g. iot:Publish, `resource` what stands behind the account, e.g. topic/a/b.
  bool allows(const std::string& action, const std::string& resource,
              const Variables& variables) const;

  // What `resource` of the device is called in full.
  std::string arn_of(const std::string& resource) const { return prefix_ + resource; }

  // An action, or a kind of resource, that this reader does not know, without wildcards in it.
  struct Unknown {
    std::string what;     // "action"
    std::string written;  // "iot:Conect"
    std::vector<std::string> known;
  };
  const std::vector<Unknown>& unknown() const noexcept { return unknown_; }

  // What a statement depends on and nothing here can tell: "IpAddress aws:SourceIp". Each once.
  std::set<std::string> not_evaluated(const Variables& variables) const;

 private:
  enum class Reading { kStrict, kInForce };
  static IotPolicy read(const std::string& json, Reading reading);
  void check_names(const IotStatement& statement);
  void note_unknown(const char* what, const std::string& written,
                    const std::set<std::string>& known);
  // Of arn:PARTITION:iot:REGION:ACCOUNT: the part at `index`, as the policy has it.
  std::string place(std::size_t index, const std::string& otherwise) const;
  bool applies(const IotStatement& statement, const std::string& action, const std::string& arn,
               const Variables& variables) const;

  Reading reading_ = Reading::kStrict;
  std::string prefix_;  // arn:aws:iot:REGION:ACCOUNT:
  std::vector<IotStatement> statements_;
  std::vector<Unknown> unknown_;
};

}  // namespace hwid::tool::aws
