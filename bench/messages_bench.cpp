// hwid-bench-messages: messages a second to a broker, over mutual TLS with a key in a file, beside
// Paho C++ used directly.
#include <hwid/transport.h>
#include <mqtt/async_client.h>

#include <deque>

#include "bench/broker.h"
#include "bench/rounds.h"
#include "tests/fixture/pki.h"

namespace {

using namespace hwid::bench;
namespace ht = hwid::transport;
namespace test = hwid::test;

// Messages on their way at once, in both.
constexpr std::size_t kWindow = 100;
constexpr char kTopic[] = "devices/line-7/telemetry";
const std::string kPayload(100, 'x');

// Publishes one message after the other; what is left on its way at the end is waited for outside
// of the time.
template <typename Client, typename Pending>
class Stream {
 public:
  Stream(Client& client, int qos) : client_(client), qos_(qos) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    while (!under_way_.empty()) await_oldest();
  }
  void publish() {
    under_way_.push_back(start(client_, qos_));
    if (under_way_.size() >= kWindow) await_oldest();
  }

 private:
  void await_oldest() {
    finish(under_way_.front());
    under_way_.pop_front();
  }
  static mqtt::delivery_token_ptr start(mqtt::async_client& client, int qos) {
    return client.publish(kTopic, kPayload.data(), kPayload.size(), qos, false);
  }
  static std::future<ht::Delivery> start(ht::Transport& transport, int qos) {
    return transport.publish(
        {.topic = kTopic, .payload = kPayload, .qos = static_cast<ht::Qos>(qos)});
  }
  static void finish(const mqtt::delivery_token_ptr& token) { token->wait(); }
  static void finish(std::future<ht::Delivery>& delivery) { delivery.get(); }

  Client& client_;
  const int qos_;
  std::deque<Pending> under_way_;
};

template <typename Pending, typename Client>
Contender contender(const std::string& name, Client& client, int qos) {
  Contender made;
  made.name = name;
  made.worker = [&client, qos](int) -> Operation {
    const auto stream = std::make_shared<Stream<Client, Pending>>(client, qos);
    return [stream] { stream->publish(); };
  };
  return made;
}

void measure(Rounds& rounds) {
  const test::Pki pki;
  const Broker broker(pki);
  test::CertificateRequest request;
  request.usage = test::Usage::kClient;
  request.common_name = "device";
  const auto device = pki.issue("device", request);

  mqtt::async_client paho("ssl://localhost:" + std::to_string(broker.port()), "paho");
  mqtt::ssl_options ssl;
  ssl.set_trust_store(pki.ca_file());
  ssl.set_key_store(device.certificate_file);
  ssl.set_private_key(device.key_file);
  ssl.set_verify(true);
  mqtt::connect_options options;
  options.set_clean_session(true);
  options.set_ssl(ssl);
  paho.connect(options)->wait();

  ht::DeviceConfig config;
  config.endpoint = "mqtts://localhost:" + std::to_string(broker.port());
  config.client_id = "hwid";
  config.ca_file = pki.ca_file();
  config.cert = device.certificate_file;
  config.key = device.key_file;
  config.clean_session = true;
  const auto transport = ht::open(config);
  transport->connect().get();

  for (const int qos : {0, 1}) {
    Comparison comparison{"messages", "QoS " + std::to_string(qos) + ", 100 bytes", 1, true, {}};
    comparison.contenders = {contender<mqtt::delivery_token_ptr>("paho", paho, qos),
                             contender<std::future<ht::Delivery>>("hwid", *transport, qos)};
    rounds.compare(comparison);
  }
  paho.disconnect()->wait();
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
