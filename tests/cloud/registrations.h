#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "cloud/cloud.h"

namespace hwid::stand_in {

// Azure's Device Provisioning Service. dps.json has
//   {"id-scope": "0ne00000000", "polls": 2, "retry-after": 1, "registrations":
//     {ID: {"hub": HOST, "device": ID, "state": "enabled" | "disabled" | "failed"}}}
// It is read at each question, so that a test may change it.
class Registrations {
 public:
  explicit Registrations(const Options& options);

  static bool is_user(const std::string& user_name);
  std::string connect(const Client& client);
  std::string publish(const Publication& message) const;
  std::string subscribe(const Client& client, const std::string& filter);
  static bool receives(const std::string& topic);

  static std::string step_of(const std::string& topic);
  void published(const Client& client, const Publication& message, const Send& send);
  void refuse(const Client& client, const Publication& message, int status, const Send& send);

 private:
  struct Operation {
    std::string id;
    int polls = 0;  // that are still answered by "assigning"
    std::chrono::steady_clock::time_point next;
  };
  void begin(const Client& client, const std::string& rid, const std::string& payload,
             const Send& send);
  void poll(const Client& client, const std::string& rid, const std::string& operation,
            const Send& send);
  bool is_too_early(const Client& client) const;
  void answer(const Client& client, const std::string& status, const nlohmann::json& document,
              const Send& send) const;
  nlohmann::json settings() const;

  const std::string file_;
  std::set<std::string> subscribed_;  // client ids
  std::map<std::string, Operation> operations_;
  std::map<std::string, std::chrono::steady_clock::time_point> throttled_;  // until then
  int count_ = 0;
};

}  // namespace hwid::stand_in
