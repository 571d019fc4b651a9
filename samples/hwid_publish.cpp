// Publishes messages with the device's key and certificate; with --request waits for the answer.
#include "command_line.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

int publish(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                               //
      ("help,h", "show this text")                                                    //
      ("config,c", po::value<std::string>()->required(), "device.conf")               //
      ("topic,t", po::value<std::string>(), "default: topics.publish of the config")  //
      ("message,m", po::value<std::string>()->required(), "the payload")              //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the config")            //
      ("retain,r", po::bool_switch(), "the broker keeps it for new subscribers")      //
      ("count,n", po::value<unsigned>()->default_value(1), "publish it that often")   //
      ("request", po::bool_switch(),
       "wait for the answer and print it: topic T/req is answered on "
       "T/resp with the same requestId in its JSON")  //
      ("timeout", po::value<unsigned>()->default_value(10),
       "seconds to wait for each answer or "
       "confirmation");
  const auto values = sample::parse(
      argc, argv, options, "hwid-publish: publish messages over MQTT with mutual TLS",
      "hwid-publish --config device.conf --topic mqtt-mtls-pkcs-test-topic/req --message hello");

  const auto config = ht::DeviceConfig::read(values["config"].as<std::string>());
  ht::Message message;
  message.topic =
      values.count("topic") != 0 ? values["topic"].as<std::string>() : config.topics_publish;
  if (message.topic.empty())
    throw sample::UsageError("give --topic, or topics.publish in the config");
  message.payload = values["message"].as<std::string>();
  message.qos = values.count("qos") != 0 ? sample::qos_of(values["qos"].as<int>()) : config.qos;
  message.retain = values["retain"].as<bool>();
  const std::chrono::seconds timeout(values["timeout"].as<unsigned>());

  const auto transport = ht::open(config);
  transport->connect().get();
  for (unsigned left = values["count"].as<unsigned>(); left > 0; --left) {
    if (values["request"].as<bool>()) {
      std::cout << transport->request(message, timeout).get().payload << std::endl;
      continue;
    }
    auto delivery = transport->publish(message);
    if (delivery.wait_for(timeout) != std::future_status::ready)
      throw ht::Error(ht::ErrorKind::timeout, "publish", message.topic,
                      "the broker did not confirm the message in time");
    delivery.get();
  }
  transport->close(timeout);
  return sample::kGood;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-publish", [&] { return publish(argc, argv); });
}
