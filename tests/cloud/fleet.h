#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cloud/authority.h"
#include "cloud/cloud.h"

namespace hwid::stand_in {

// AWS IoT Core's fleet provisioning by claim. fleet.json has
//   {"claims": [common names], "token-seconds": 3600, "token-connection": false,
//    "token-once": false, "templates":
//     {NAME: {"enabled": true, "parameters": [names], "thing": "line-{SerialNumber}",
//             "configuration": {...}}}}
// is read for each question, and registry.json beside it is written: each certificate by its id,
// with its state (PENDING_ACTIVATION, ACTIVE) and its thing.
class Fleet {
 public:
  explicit Fleet(const Options& options);

  bool is_claim(const Client& client) const;
  // The names of things whose certificate it has; nothing where it has none that is active.
  std::optional<std::vector<std::string>> things_of(const Client& client) const;
  void connected(const Client& client);

  static std::string step_of(const std::string& topic);
  // True if the message was for it.
  bool published(const Client& client, const Publication& message, const Send& send);
  static void refuse(const Publication& message, int status, const Send& send);

 private:
  struct Issued {
    std::string state = "PENDING_ACTIVATION";
    std::string thing;
  };
  struct Token {
    std::string certificate;
    std::string client;  // the connection that it was given to
    std::chrono::steady_clock::time_point end;
    bool used = false;
  };
  nlohmann::json settings() const;
  void check_token(const std::string& text, const Client& client) const;
  nlohmann::json create(const Client& client, const nlohmann::json& question);
  nlohmann::json register_thing(const Client& client, const std::string& name,
                                const nlohmann::json& question);
  void write_registry() const;

  const std::string file_;
  const std::string registry_;
  Authority authority_;
  std::map<std::string, Issued> issued_;  // by certificate id: the fingerprint
  std::map<std::string, Token> tokens_;
};

}  // namespace hwid::stand_in
