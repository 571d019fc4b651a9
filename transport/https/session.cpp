#include "transport/https/session.h"

#include <algorithm>

#include "transport/cloud/rules.h"
#include "transport/https/explain.h"
#include "transport/scheme_options.h"
#include "transport/tls_client.h"

namespace hwid::transport::https {

namespace {

constexpr std::chrono::milliseconds kFirstWait{500};
constexpr std::chrono::milliseconds kLongestWait{60000};
constexpr std::chrono::milliseconds kPublishTimeout{30000};
constexpr std::size_t kMaxWaiting = 10000;
constexpr std::size_t kRequestsAtOnce = 8;  // each has a connection of its own
constexpr std::chrono::milliseconds kLeastTimeout{1};
constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24 * 365);

Endpoint check_config(const DeviceConfig& config) {
  Endpoint endpoint = parse_endpoint(config.endpoint);
  refuse_unsupported_options(config, kHttps);
  while (!endpoint.path.empty() && endpoint.path.back() == '/') endpoint.path.pop_back();
  if (endpoint.port == 0) endpoint.port = cloud::rules_of(config.profile).https_port;
  if (config.cert.empty() != config.key.empty())
    refuse_option(config, config.cert.empty() ? "cert" : "key", "it is missing",
                  "certificate and key belong together");
  if (config.qos == Qos::exactly_once)
    refuse_option(config, "qos", "HTTPS cannot promise to deliver exactly once", "use 0 or 1");
  if (config.profile == Profile::aws && !endpoint.path.empty())
    refuse_option(config, "endpoint", "AWS IoT Core takes messages at /topics/ only",
                  "write it without a path");
  parse_proxy(config);
  alpn_wire_format(config.alpn);
  cloud::check_config(config, endpoint);
  return endpoint;
}

bool is_success(long status) { return status >= 200 && status < 300; }

// Worth another try: too slow, too many, or the server's own fault.
bool is_transient(long status) { return status == 408 || status == 429 || status >= 500; }

std::string next_step_after(const DeviceConfig& config, const std::string& topic,
                            const Response& response) {
  const bool aws = config.profile == Profile::aws;
  if (!response.location.empty())
    return "it leads to " + response.location +
           ", which is not followed; write that as endpoint if it is right";
  if (response.status == 401 || response.status == 403)
    return aws ? "check that the certificate is active, and that its policy allows iot:Publish on "
                 "topic/" +
                     topic + " (policy variables of the thing have no value over HTTPS)"
               : "check what the server lets this certificate do";
  if (response.status == 404 || response.status == 405)
    return aws ? "the endpoint must be that of describe-endpoint --endpoint-type iot:Data-ATS"
               : "check the endpoint's path and the topic";
  if (response.status == 413) return "send less at once";
  return {};
}

Error refusal(const DeviceConfig& config, const char* what, const std::string& topic,
              const Response& response) {
  const std::string words = words_of(response);
  return {ErrorKind::refused, what, config.endpoint + ", topic " + topic,
          "the server answered " + std::to_string(response.status) +
              (words.empty() ? "" : " (" + words + ")"),
          next_step_after(config, topic, response)};
}

}  // namespace

Session::Session(const DeviceConfig& config)
    : config_(config), endpoint_(check_config(config)), backoff_(kFirstWait, kLongestWait) {}

Session::~Session() {
  loop_.stop();
  handlers_.stop();
}

void Session::check_usable(const std::string& what, const std::string& topic) const {
  if (phase_ == Phase::closing || phase_ == Phase::closed) throw closed_error(what);
  if (phase_ == Phase::idle)
    throw Error(ErrorKind::usage, what, topic, "there is no connection", "call connect() first");
}

void Session::connect(Ended ended) {
  if (phase_ == Phase::closing || phase_ == Phase::closed) throw closed_error("connect");
  if (phase_ == Phase::connected) return ended(nullptr);
  connecting_.push_back(std::move(ended));
  if (phase_ == Phase::connecting) return;
  phase_ = Phase::connecting;
  notify({State::connecting, false, {}});
  try {
    exchange_ = std::make_unique<Exchange>(config_, endpoint_, std::nullopt, "", kPublishTimeout);
    loop_.start(
        exchange_->handle(), [this](CURLcode result) { connect_ended(result); },
        [this] { exchange_->hear_verdict(); });
  } catch (const Error& error) {
    connect_failed(error);
  }
}

void Session::connect_failed(const Error& error) {
  exchange_.reset();
  phase_ = Phase::idle;
  notify({State::closed, false, error.what()});
  fail_all(error);
}

void Session::connect_ended(CURLcode result) {
  const auto exchange = std::move(exchange_);
  try {
    exchange->finish(result);
  } catch (const Error& error) {
    return connect_failed(explain(config_, endpoint_, error));
  }
  phase_ = Phase::connected;
  notify({State::connected, false, {}});
  for (const auto& ended : std::exchange(connecting_, {})) ended(nullptr);
  send_next();
}

void Session::publish(Message message, std::function<void(const Delivery*, const Error*)> ended) {
  const bool posted =
      post([this, message = std::move(message), ended = std::move(ended)]() mutable {
        try {
          accept(std::move(message), ended);
        } catch (const Error& error) {
          ended(nullptr, &error);
        }
      });
  if (!posted) throw closed_error("publish");
}

void Session::accept(Message message, std::function<void(const Delivery*, const Error*)> ended) {
  check_usable("publish", message.topic);
  HttpRequest request = http_request_of(config_, endpoint_, message);
  if (waiting_.size() >= kMaxWaiting)
    throw Error(ErrorKind::environment, "publish", message.topic,
                std::to_string(kMaxWaiting) + " messages wait for the server",
                "publish less, or wait until they are delivered");
  waiting_.push_back({std::move(message.topic), std::move(message.payload), message.qos,
                      std::move(request), std::move(ended)});
  send_next();
}

void Session::send_next() {
  const bool up = phase_ == Phase::connected || phase_ == Phase::closing;
  if (!up || exchange_ || backing_off_ || waiting_.empty()) return;
  const Outgoing& next = waiting_.front();
  try {
    exchange_ =
        std::make_unique<Exchange>(config_, endpoint_, next.request, next.payload, kPublishTimeout);
    loop_.start(exchange_->handle(), [this](CURLcode result) { send_ended(result); });
  } catch (const Error& error) {  // libcurl cannot; so it is for all of them
    exchange_.reset();
    for (const auto& outgoing : std::exchange(waiting_, {})) outgoing.ended(nullptr, &error);
  }
}

void Session::send_ended(CURLcode result) {
  const auto exchange = std::move(exchange_);
  std::optional<Error> failed;
  bool again = true;
  std::chrono::milliseconds wait{0};
  try {
    const Response response = exchange->finish(result);
    if (!is_success(response.status)) {
      failed = refusal(config_, "publish", waiting_.front().topic, response);
      again = is_transient(response.status);
      wait = std::min(response.retry_after,
                      std::chrono::duration_cast<std::chrono::seconds>(kLongestWait));
    }
    if (!again || !failed) got_through();
  } catch (const Error& error) {
    failed = error;
  }
  if (failed && again) {
    send_again(*failed, wait);
    if (waiting_.front().qos != Qos::at_most_once) return close_if_done();
  }
  const Outgoing sent = std::move(waiting_.front());
  waiting_.pop_front();
  const Delivery delivery;
  if (failed)
    sent.ended(nullptr, &*failed);
  else
    sent.ended(&delivery, nullptr);
  close_if_done();
  send_next();
}

// The server is away, or asks for time.
void Session::send_again(const Error& why, std::chrono::milliseconds wait) {
  if (!std::exchange(interrupted_, true)) notify({State::interrupted, false, why.what()});
  backing_off_ = true;
  loop_.post_after(std::max(wait, backoff_.next()), [this] {
    backing_off_ = false;
    send_next();
  });
}

void Session::got_through() {
  backoff_.reset();
  if (std::exchange(interrupted_, false)) notify({State::resumed, false, {}});
}

void Session::subscribe(const std::string& filter, Qos, const MessageHandler&, const Ended&) {
  throw Error(ErrorKind::usage, "subscribe", filter,
              "https:// sends messages and receives none but the answer of a request",
              "use mqtts:// to subscribe");
}

void Session::unsubscribe(const std::string& filter, const Ended&) {
  throw Error(ErrorKind::usage, "unsubscribe", filter, "https:// has no subscriptions",
              "use mqtts:// to subscribe");
}

void Session::request(Message message, std::chrono::milliseconds timeout,
                      std::function<void(const Message*, const Error*)> ended) {
  check_usable("request", message.topic);
  if (config_.profile == Profile::aws)
    throw Error(ErrorKind::usage, "request", message.topic,
                "AWS IoT Core takes messages over HTTPS and gives no answer of other devices",
                "use publish(), or mqtts://");
  HttpRequest request = http_request_of(config_, endpoint_, message);
  if (waiting_requests_.size() >= kMaxWaiting)
    throw Error(ErrorKind::environment, "request", message.topic,
                std::to_string(kMaxWaiting) + " requests wait for the server",
                "request less, or wait for answers");
  timeout = std::clamp<std::chrono::milliseconds>(timeout, kLeastTimeout, kLongestTimeout);
  const Id id = ++last_id_;
  requests_[id] = {std::move(message.topic),
                   std::move(message.payload),
                   std::move(request),
                   std::chrono::steady_clock::now() + timeout,
                   nullptr,
                   std::move(ended)};
  waiting_requests_.push_back(id);
  start_requests();
  if (!waiting_requests_.empty() && waiting_requests_.back() == id)
    loop_.post_after(timeout, [this, id, timeout] { request_expired(id, timeout); });
}

void Session::start_requests() {
  while (!waiting_requests_.empty() &&
         requests_.size() - waiting_requests_.size() < kRequestsAtOnce) {
    const Id id = waiting_requests_.front();
    waiting_requests_.pop_front();
    Request& asked = requests_[id];
    try {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(
          asked.deadline - std::chrono::steady_clock::now());
      asked.exchange =
          std::make_unique<Exchange>(config_, endpoint_, std::move(asked.request),
                                     std::move(asked.payload), left, Exchange::Body::wanted);
      loop_.start(asked.exchange->handle(),
                  [this, id](CURLcode result) { request_ended(id, result); });
    } catch (const Error& error) {
      requests_.extract(id).mapped().ended(nullptr, &error);
    } catch (const std::bad_alloc&) {
      const Error error(ErrorKind::environment, "request", asked.topic, "out of memory");
      requests_.extract(id).mapped().ended(nullptr, &error);
    }
  }
}

void Session::request_expired(Id id, std::chrono::milliseconds timeout) {
  if (std::erase(waiting_requests_, id) == 0) return;  // it was started, and ends by itself
  const auto expired = requests_.extract(id);
  const Error error(ErrorKind::timeout, "HTTPS request", config_.endpoint,
                    "no answer within " + std::to_string(timeout.count()) + " ms (" +
                        std::to_string(kRequestsAtOnce) + " other requests wait for theirs)",
                    "check that the server is well, and request less at once");
  expired.mapped().ended(nullptr, &error);
  close_if_done();
}

void Session::request_ended(Id id, CURLcode result) {
  const auto answered = requests_.extract(id);
  if (answered.empty()) return;
  start_requests();
  const Request& request = answered.mapped();
  try {
    Response response = request.exchange->finish(result);
    if (!is_success(response.status)) throw refusal(config_, "request", request.topic, response);
    Message answer{request.topic, std::move(response.body)};
    answer.properties.content_type = std::move(response.content_type);
    request.ended(&answer, nullptr);
  } catch (const Error& error) {
    request.ended(nullptr, &error);
  }
  close_if_done();
}

void Session::close(std::chrono::milliseconds deadline) {
  handlers_.close(deadline, [this](auto limit, auto closed) {
    return loop_.post([this, limit, closed = std::move(closed)] { begin_close(limit, closed); });
  });
}

void Session::begin_close(std::chrono::milliseconds deadline, std::function<void()> closed) {
  if (phase_ == Phase::closed) return closed();
  closing_.push_back(std::move(closed));
  if (phase_ == Phase::closing) return;
  if (phase_ != Phase::connected) return finish_close();
  phase_ = Phase::closing;
  loop_.post_after(deadline, [this] { finish_close(); });
  close_if_done();
}

// Nothing is left, or nobody takes it.
void Session::close_if_done() {
  if (phase_ != Phase::closing) return;
  if ((backing_off_ || waiting_.empty()) && requests_.empty()) finish_close();
}

void Session::finish_close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  if (exchange_) loop_.abandon(exchange_->handle());
  exchange_.reset();
  fail_all(closed_error("transport"));
  notify({State::closed, false, "close() was called"});
  for (const auto& closed : std::exchange(closing_, {})) closed();
}

void Session::fail_all(const Error& error) {
  for (const auto& ended : std::exchange(connecting_, {})) ended(&error);
  waiting_requests_.clear();
  for (const auto& [id, request] : std::exchange(requests_, {})) {
    if (request.exchange) loop_.abandon(request.exchange->handle());
    request.ended(nullptr, &error);
  }
  for (const auto& outgoing : std::exchange(waiting_, {})) outgoing.ended(nullptr, &error);
}

Error Session::closed_error(const std::string& what) const {
  return {ErrorKind::closed, what, config_.endpoint, "the transport was closed", "open a new one"};
}

}  // namespace hwid::transport::https
