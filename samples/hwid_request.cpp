// Sends requests and prints their answers, one line each, in the order of the requests.
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <ctime>
#include <deque>
#include <nlohmann/json.hpp>

#include "command_line.h"
#include "output.h"
#include "payloads.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

// So many requests wait for their answers at once.
constexpr std::size_t kWindow = 20;

// A JSON object gets a requestId and the time where it has none; anything else stays as it is,
// which needs MQTT 5.
std::string with_request_id(const std::string& payload) {
  auto request = nlohmann::ordered_json::parse(payload, nullptr, false);
  if (!request.is_object()) return payload;
  if (request.contains("requestId")) return payload;
  request["requestId"] = boost::uuids::to_string(boost::uuids::random_generator()());
  if (!request.contains("requestTs")) request["requestTs"] = std::time(nullptr);
  return request.dump();
}

// Prints answers in order. A request without an answer is a line on stderr, and the next goes on.
class Answers {
 public:
  explicit Answers(bool json) : json_(json) {}

  void add(std::future<ht::Message> answer) {
    under_way_.push_back(std::move(answer));
    if (under_way_.size() >= kWindow) take_oldest();
  }
  bool finish() {
    while (!under_way_.empty()) take_oldest();
    return all_came_;
  }

 private:
  void take_oldest() {
    auto oldest = std::move(under_way_.front());
    under_way_.pop_front();
    try {
      const auto answer = oldest.get();  // it has a timeout of its own
      sample::print_line(json_ ? sample::json_line(answer) : answer.payload);
      progress_.add();
    } catch (const ht::Error& error) {
      if (error.kind() != ht::ErrorKind::timeout && error.kind() != ht::ErrorKind::refused) throw;
      std::cerr << error.what() << std::endl;
      all_came_ = false;
    }
  }

  const bool json_;
  bool all_came_ = true;
  std::deque<std::future<ht::Message>> under_way_;
  sample::Progress progress_{"answered"};
};

int request(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                  //
      ("help,h", "show this text")                                       //
      ("config,c", po::value<std::string>()->required(), "device.conf")  //
      ("topic,t", po::value<std::string>(),
       "T/req, which is answered on T/resp; default: topics.publish of the configuration");
  sample::Payloads::add_options(options);
  options.add_options()                                                            //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the configuration")  //
      ("json,j", po::bool_switch(), "print answers as JSON, with the time, QoS and properties")
      //
      ("timeout", po::value<unsigned>()->default_value(10), "seconds to wait for each answer");
  const auto values = sample::parse(
      argc, argv, options,
      "hwid-request: send a request over MQTT with mutual TLS, and print the answer with the same\n"
      "requestId. A JSON object without requestId gets one, and requestTs.",
      "  hwid-request --config device.conf --topic mqtt-mtls-pkcs-test-topic/req \\\n"
      "      --message '{\"requestId\": \"111-222-333\", \"requestTs\": 1762072467}'\n"
      "  hwid-request --config device.conf --message '{}' | jq -r .statusCode\n");

  const auto config = sample::config_of(values);
  ht::Message message;
  message.topic = sample::topic_of(values, config.topics_publish, "topics.publish");
  message.qos = sample::qos_of(values, config);
  const auto timeout = sample::seconds_of(values, "timeout");
  sample::Payloads payloads(values);

  const auto transport = ht::open(config);
  transport->connect().get();
  Answers answers(values["json"].as<bool>());
  while (const auto payload = payloads.next()) {
    message.payload = with_request_id(*payload);
    answers.add(transport->request(message, timeout));
  }
  const bool all_came = answers.finish();
  transport->close(std::chrono::seconds(5));
  return all_came ? sample::kGood : sample::kAnswerIsNo;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-request", [&] { return request(argc, argv); });
}
