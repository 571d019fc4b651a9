// Session: its end.
#include <hwid/transport_error.h>

#include "transport/mqtt/session.h"

namespace hwid::transport::mqtt_client {

void Session::close(std::chrono::milliseconds deadline) {
  closed_ = true;
  handlers_.close(deadline, [this](auto limit, auto closed) {
    return control_.post([this, limit, closed = std::move(closed)] { begin_close(limit, closed); });
  });
}

void Session::begin_close(std::chrono::milliseconds deadline, std::function<void()> closed) {
  if (phase_ == Phase::closed) return closed();
  closing_.push_back(std::move(closed));
  if (phase_ == Phase::closing) return;
  if (phase_ != Phase::connected) return finish_close();
  phase_ = Phase::closing;
  control_.post_after(deadline, [this] {
    if (phase_ != Phase::closing) return;
    disconnect();
    finish_close();
  });
  if (outbox_.empty()) disconnect();  // else pump() does it
}

// Without Paho's own waiting, which looks for the last confirmation every three seconds only.
void Session::disconnect() {
  if (std::exchange(disconnecting_, true)) return;
  try {
    client_->disconnect(0, nullptr, listen([this](const Outcome&) { finish_close(); }));
  } catch (const mqtt::exception&) {
    finish_close();  // the connection broke in this moment
  }
}

void Session::finish_close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  fail_all(closed_error("transport"));
  notify({State::closed, false, "close() was called"});
  for (const auto& closed : std::exchange(closing_, {})) closed();
}

void Session::fail_all(const Error& error) {
  for (const auto& ended : std::exchange(connecting_, {})) ended(&error);
  for (const auto& [id, request] : std::exchange(requests_, {})) request.ended(nullptr, &error);
  report(outbox_.take_dropped());
  for (auto& left : outbox_.abandon(phase_ == Phase::closed))
    if (left.ended) left.ended(nullptr, &error);
  for (const auto& [filter, ended] : std::exchange(unsubscribing_, {})) ended(&error);
  for (const auto& [filter, subscription] : std::exchange(subscriptions_, {}))
    for (const auto& ended : subscription.waiting) ended(&error);
}

Error Session::closed_error(const std::string& what) const {
  return {ErrorKind::closed, what, config_.endpoint, "the transport was closed", "open a new one"};
}

}  // namespace hwid::transport::mqtt_client
