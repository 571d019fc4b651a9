// What an IoT policy of AWS lets a device do.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace hwid::tool::aws {

// The value of a policy variable, e.g. iot:ClientId; one that has none is not in the map.
using Variables = std::map<std::string, std::string>;

// An AWS IoT policy, evaluated as "AWS IoT Core policies" says: what is not allowed is denied, and
// a Deny wins. `*` stands for any characters, slashes too, `?` for one; MQTT's + and # are
// characters like others. A statement with a variable that has no value applies to nothing.
class IotPolicy {
 public:
  // Throws std::runtime_error for anything that AWS, or this reader, does not know: better a loud
  // refusal here than a policy that means something else in the cloud.
  static IotPolicy parse(const std::string& json, const std::string& region,
                         const std::string& account);

  // `action` e.g. iot:Publish, `resource` what stands behind the account, e.g. topic/a/b.
  bool allows(const std::string& action, const std::string& resource,
              const Variables& variables) const;

 private:
  struct Statement {
    bool allow;
    std::vector<std::string> actions;
    std::vector<std::string> resources;
  };
  bool applies(const Statement& statement, const std::string& action, const std::string& arn,
               const Variables& variables) const;

  std::string prefix_;  // arn:aws:iot:REGION:ACCOUNT:
  std::vector<Statement> statements_;
};

}  // namespace hwid::tool::aws
