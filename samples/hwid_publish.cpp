// Publishes messages with the device's key and certificate.
#include <deque>

#include "command_line.h"
#include "payloads.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

// So many messages are on their way at once: a stream does not wait for each confirmation.
constexpr std::size_t kWindow = 100;

int publish(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                                       //
      ("help,h", "show this text")                                                            //
      ("config,c", po::value<std::string>()->required(), "device.conf")                       //
      ("topic,t", po::value<std::string>(), "default: topics.publish of the configuration");  //
  sample::Payloads::add_options(options);                                                     //
  options.add_options()                                                                       //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the configuration")             //
      ("retain,r", po::bool_switch(), "the broker keeps it for new subscribers")              //
      ("timeout", po::value<unsigned>()->default_value(10),
       "seconds to wait for each confirmation");
  const auto values = sample::parse(
      argc, argv, options, "hwid-publish: publish messages over MQTT with mutual TLS",
      "  hwid-publish --config device.conf --topic mqtt-mtls-pkcs-test-topic/req --message hello\n"
      "  hwid-publish --config device.conf --topic photos --message - < photo.jpg\n"
      "  journalctl -f | hwid-publish --config device.conf --topic log --lines\n");

  const auto config = sample::config_of(values);
  ht::Message message;
  message.topic = sample::topic_of(values, config.topics_publish, "topics.publish");
  message.qos = sample::qos_of(values, config);
  message.retain = values["retain"].as<bool>();
  const auto timeout = sample::seconds_of(values, "timeout");
  sample::Payloads payloads(values);

  const auto transport = ht::open(config);
  transport->connect().get();
  sample::Progress progress("published");
  std::deque<std::future<ht::Delivery>> under_way;
  const auto confirm_oldest = [&] {
    sample::get(std::move(under_way.front()), timeout, "publish", message.topic);
    under_way.pop_front();
    progress.add();
  };
  const auto oldest_is_ready = [&] {
    return under_way.front().wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  };
  while (auto payload = payloads.next()) {
    message.payload = std::move(*payload);
    under_way.push_back(transport->publish(message));
    while (under_way.size() >= kWindow || (!under_way.empty() && oldest_is_ready()))
      confirm_oldest();
  }
  while (!under_way.empty()) confirm_oldest();
  transport->close(timeout);
  return sample::kGood;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-publish", [&] { return publish(argc, argv); });
}
