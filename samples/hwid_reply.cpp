// Answers requests: each gets its requestId back, with a status. answer_to() is what a program of
// your own replaces.
#include <atomic>
#include <ctime>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>

#include "command_line.h"
#include "output.h"
#include "stop.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

// T/req is answered on T/resp, or where the request says.
std::string answer_topic(const ht::Message& request) {
  constexpr std::string_view kRequest = "/req";
  if (!request.properties.response_topic.empty()) return request.properties.response_topic;
  const auto& topic = request.topic;
  if (topic.size() < kRequest.size() ||
      topic.compare(topic.size() - kRequest.size(), kRequest.size(), kRequest) != 0)
    return {};
  return topic.substr(0, topic.size() - kRequest.size()) + "/resp";
}

// What is nested deeper is left out: to print it would take the stack.
bool is_shallow(int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
  return depth <= 64;
}

std::string answer_to(const std::string& payload) {
  const auto request = nlohmann::ordered_json::parse(payload, is_shallow, false);
  nlohmann::ordered_json answer = nlohmann::ordered_json::object();
  if (request.contains("requestId")) answer["requestId"] = request["requestId"];
  answer["requestTs"] = std::time(nullptr);
  if (request.contains("requestTs")) answer["requestTs"] = request["requestTs"];
  answer["statusCode"] = request.is_object() ? "200" : "400";
  return answer.dump();
}

// Called by one thread of the transport at a time, from where it may publish and wait.
class Replier {
 public:
  Replier(const sample::Stop& stop, std::optional<unsigned> wanted)
      : stop_(stop), wanted_(wanted) {}

  void reply(ht::Transport& transport, const ht::Message& request) {
    if (complete() || failure_) return;
    try {
      sample::print_line(sample::json_line(request));
      transport.publish(answer(request)).get();
      ++seen_;
    } catch (const ht::Error& error) {  // a request that cannot be answered must not end us
      std::cerr << error.what() << std::endl;
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (complete() || failure_) stop_.request();
  }

  bool complete() const { return wanted_ && seen_ >= *wanted_; }
  // REQUIRES: the transport is closed.
  void check() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  static ht::Message answer(const ht::Message& request) {
    ht::Message answer;
    answer.topic = answer_topic(request);
    if (answer.topic.empty())
      throw ht::Error(ht::ErrorKind::usage, "reply", request.topic,
                      "it does not end in /req, and the request names no response topic");
    answer.payload = answer_to(request.payload);
    answer.qos = request.qos;
    answer.properties.correlation_data = request.properties.correlation_data;
    return answer;
  }

  const sample::Stop& stop_;
  const std::optional<unsigned> wanted_;
  std::atomic<unsigned> seen_{0};
  std::exception_ptr failure_;
};

int reply(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                  //
      ("help,h", "show this text")                                       //
      ("config,c", po::value<std::string>()->required(), "device.conf")  //
      ("topic,t", po::value<std::string>(),
       "where requests arrive, e.g. T/req; default: topics.subscribe of the configuration")
      //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the configuration")  //
      ("count,n", po::value<unsigned>(), "end after that many requests");
  const auto values = sample::parse(
      argc, argv, options,
      "hwid-reply: answer requests over MQTT with mutual TLS. T/req is answered on T/resp with\n"
      "{\"requestId\": ..., \"requestTs\": ..., \"statusCode\": \"200\"}; each request is printed "
      "as JSON.",
      "  hwid-reply --config device.conf --topic mqtt-mtls-pkcs-test-topic/req\n"
      "  hwid-reply --config device.conf --topic 'devices/+/req' >> requests.jsonl\n");

  const sample::Stop stop;
  const auto config = sample::config_of(values);
  const auto topic = sample::topic_of(values, config.topics_subscribe, "topics.subscribe");
  const auto qos = sample::qos_of(values, config);
  std::optional<unsigned> count;
  if (values.count("count") != 0) count = values["count"].as<unsigned>();

  Replier replier(stop, count);
  const auto transport = ht::open(config);
  auto granted = transport->subscribe(
      topic, qos, [&replier, &link = *transport](const ht::Message& m) { replier.reply(link, m); });
  transport->connect().get();
  granted.get();
  std::cerr << "answering " << topic << std::endl;
  if (!replier.complete()) stop.wait_until(std::nullopt);
  transport->close(std::chrono::seconds(5));
  replier.check();
  return sample::kGood;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-reply", [&] { return reply(argc, argv); });
}
