#pragma once

#include <mqtt/async_client.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "transport/log.h"
#include "transport/mqtt/server_limits.h"

namespace hwid::transport::mqtt_client {

// How a request to Paho ended.
struct Outcome {
  bool ok = false;
  int code = 0;    // below 0: Paho's; above 0: the broker's CONNACK or SUBACK code
  int reason = 0;  // MQTT 5 reason code
  std::string text;
  int packet_id = 0;
  bool session_present = false;
  ServerLimits limits;       // CONNACK
  std::vector<int> granted;  // SUBACK, UNSUBACK
};

// Where Paho's threads enter our code. Paho's C++ layer lets an exception unwind into C, and it
// calls a listener once at most but may keep its address longer: so nothing leaves a callback, and
// a listener holds itself while it runs. `done` is called on Paho's threads, which must not block:
// it posts to a queue.
class Listener final : public mqtt::iaction_listener,
                       public std::enable_shared_from_this<Listener> {
 public:
  using Done = std::function<void(Outcome&&)>;

  explicit Listener(Done done) : done_(std::move(done)) {}

  void on_success(const mqtt::token& token) override {
    guarded("MQTT callback", [&] {
      const auto alive = shared_from_this();
      Outcome outcome;
      outcome.ok = true;
      outcome.reason = token.get_reason_code();
      outcome.packet_id = token.get_message_id();
      if (token.get_type() == mqtt::token::CONNECT) {
        const auto response = token.get_connect_response();
        outcome.session_present = response.is_session_present();
        outcome.limits = ServerLimits::of(response.get_properties());
      }
      if (token.get_type() == mqtt::token::SUBSCRIBE) {
        const auto response = token.get_subscribe_response();
        for (const int code : response.get_reason_codes()) outcome.granted.push_back(code);
      }
      done_(std::move(outcome));
    });
  }

  void on_failure(const mqtt::token& token) override {
    guarded("MQTT callback", [&] {
      const auto alive = shared_from_this();
      Outcome outcome;
      outcome.code = token.get_return_code();
      outcome.reason = token.get_reason_code();
      if (outcome.reason == mqtt::MQTTPP_V3_CODE) outcome.reason = 0;
      outcome.packet_id = token.get_message_id();
      outcome.text = failure_text(token);
      done_(std::move(outcome));
    });
  }

 private:
  // The message of a failed token is to be had only by being thrown at.
  static std::string failure_text(const mqtt::token& token) {
    try {
      if (token.get_type() == mqtt::token::CONNECT) token.get_connect_response();
      if (token.get_type() == mqtt::token::SUBSCRIBE) token.get_subscribe_response();
      if (token.get_type() == mqtt::token::UNSUBSCRIBE) token.get_unsubscribe_response();
    } catch (const mqtt::exception& error) {
      return error.get_message();
    } catch (const std::exception& error) {
      return error.what();
    }
    return mqtt::exception::error_str(token.get_return_code());
  }

  Done done_;
};

}  // namespace hwid::transport::mqtt_client
