#include "client.h"

#include <algorithm>

namespace hwid::test {

using namespace transport;  // NOLINT(google-build-using-namespace)

DeviceConfig client_config(const Broker& broker, const std::string& client_id) {
  DeviceConfig config;
  config.endpoint = "mqtts://localhost:" + std::to_string(broker.port());
  config.client_id = client_id;
  config.ca_file = broker.file("ca.pem");
  config.cert = broker.file("client.pem");
  config.key = broker.file("client.key");
  return config;
}

std::string error_text(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string connect_error(const DeviceConfig& config) {
  return error_text([&] { get(open(config)->connect()); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

transport::MessageHandler into(Messages& messages) {
  return [&messages](const transport::Message& message) { messages.add(message); };
}

transport::StateHandler into(States& states) {
  return [&states](const transport::StateChange& change) { states.add(change); };
}

bool reaches(const States& states, State state, int count) {
  const auto enough = [=](const std::vector<StateChange>& seen) {
    return std::count_if(seen.begin(), seen.end(),
                         [=](const StateChange& change) { return change.state == state; }) >= count;
  };
  return enough(states.wait(enough));
}

}  // namespace hwid::test
