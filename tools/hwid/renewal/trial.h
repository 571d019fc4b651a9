// Whether a new certificate works, before anything depends on it.
#pragma once

#include <hwid/device_config.h>

#include <optional>
#include <string>

#include "tools/hwid/doctor/mqtt_exchange.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

struct Trial {
  enum class Result {
    good,
    refused,   // the other side does not want it, or it does not fit its key
    no_answer  // nothing that is about the certificate
  };
  Result result = Result::good;
  std::string why;
};

// A pair that worked so far, and what the broker answers to it. It is asked once at most: its
// CONNECT is let in, and puts off the program that is connected with the same client id.
class OldPair {
 public:
  using Generation = transport::CredentialStore::Generation;

  explicit OldPair(std::optional<Generation> generation) : generation_(std::move(generation)) {}
  bool is_there() const noexcept { return generation_.has_value(); }
  // Whether it gets that answer, too. REQUIRES: is_there().
  bool is_answered(const transport::DeviceConfig& config, doctor::MqttFault fault);

 private:
  std::optional<Generation> generation_;
  bool is_asked_ = false;
  std::optional<doctor::MqttFault> answer_;  // nothing: TLS has failed
};

// A TLS connection to `endpoint` of `config` with that generation's certificate and key, and over
// mqtts:// CONNECT with the client id, if there is one: many brokers say no only then. A running
// client is put off for a moment, and connects again (enrol::prove_connection). What the broker
// answers to `old`, a pair that worked so far, in the same way is not about the new certificate. A
// connection that it closes without an answer is about it only where `old` gets one.
// REQUIRES: there is an endpoint of a scheme with TLS, and the default context is loaded.
Trial try_at_endpoint(const transport::DeviceConfig& config,
                      const transport::CredentialStore::Generation& generation, OldPair& old);

bool has_tls_endpoint(const transport::DeviceConfig& config);

}  // namespace hwid::tool::renewal
