#include "transport/mqtt/correlation.h"

#include "transport/foreign_json.h"
#include "transport/random_name.h"
#include "transport/topic.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr const char* kRequestId = "requestId";
constexpr std::size_t kMostPayload = std::size_t{16} << 20;  // in which it is looked for

nlohmann::json request_id_of(const std::string& payload) {
  const auto document = parse_foreign_json(payload, kMostPayload);
  if (!document.is_object() || !document.contains(kRequestId)) return nullptr;
  return document[kRequestId];
}

std::string response_topic_of(const Message& request) {
  if (!request.properties.response_topic.empty()) return request.properties.response_topic;
  constexpr std::string_view kRequestSuffix = "/req";
  const std::string_view topic = request.topic;
  if (topic.size() <= kRequestSuffix.size() ||
      topic.substr(topic.size() - kRequestSuffix.size()) != kRequestSuffix)
    throw Error(ErrorKind::usage, "request", request.topic,
                "it is not known where the answer will come",
                "end the topic in /req (the answer comes on .../resp), or set response_topic");
  return std::string(topic.substr(0, topic.size() - kRequestSuffix.size())) + "/resp";
}

}  // namespace

Correlation::Correlation(Message& request, const DeviceConfig& config)
    : rule_(cloud::answer_rule_of(config.profile, request)) {
  if (rule_) return;
  response_topic_ = response_topic_of(request);
  request_id_ = request_id_of(request.payload);
  check_topic_name(response_topic_);
  if (config.mqtt_version == MqttVersion::v5) {
    auto& properties = request.properties;
    properties.response_topic = response_topic_;
    if (properties.correlation_data.empty()) properties.correlation_data = random_name();
    correlation_data_ = properties.correlation_data;
  } else if (request_id_.is_null()) {
    throw Error(ErrorKind::usage, "request", request.topic,
                "the payload is no JSON object with a requestId",
                "add one, or set mqtt-version = 5");
  } else {
    // Serves as an address here, and cannot be sent.
    request.properties.response_topic.clear();
  }
}

std::vector<std::string> Correlation::filters() const {
  return rule_ ? rule_->filters : std::vector<std::string>{response_topic_};
}

const nlohmann::json& Arrival::request_id() const {
  if (!request_id_) request_id_ = request_id_of(message_.payload);
  return *request_id_;
}

cloud::Answer Correlation::judge(const Arrival& arrival) const {
  const Message& message = arrival.message();
  if (rule_) return rule_->judge(message);
  if (message.topic != response_topic_) return {};
  if (!correlation_data_.empty() && message.properties.correlation_data == correlation_data_)
    return {true, {}};
  return {!request_id_.is_null() && arrival.request_id() == request_id_, {}};
}

}  // namespace hwid::transport::mqtt_client
