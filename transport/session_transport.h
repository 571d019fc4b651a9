#pragma once

#include <hwid/transport.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "transport/log.h"
#include "transport/serial_queue.h"

namespace hwid::transport {

// How a piece of work ended: nullptr is success.
using Ended = std::function<void(const Error* error)>;

// Futures on the outside, calls on the session's thread inside: the Transport of a scheme whose
// Session has Transport's methods with callbacks for futures, post(), and close(). Its publish() is
// called on the caller's thread, since accepting a message may wait for the disk.
template <typename Session>
class SessionTransport final : public Transport {
 public:
  explicit SessionTransport(const DeviceConfig& config) : session_(config) {}
  ~SessionTransport() override { SessionTransport::close(kDefaultCloseDeadline); }

  std::future<void> connect() override {
    if constexpr (requires { session_.want_connection(); }) session_.want_connection();
    return run<void>([this](auto promise) { session_.connect(ended(promise)); });
  }

  std::future<Delivery> publish(Message message) override {
    auto promise = std::make_shared<Promise<Delivery>>();
    auto future = promise->future();
    try {
      session_.publish(std::move(message), answered(promise));
    } catch (const Error& error) {
      promise->fail(error);
    }
    return future;
  }

  std::future<void> subscribe(std::string filter, Qos qos, MessageHandler handler) override {
    return run<void>([this, filter = std::move(filter), qos,
                      handler = std::move(handler)](auto promise) mutable {
      session_.subscribe(filter, qos, std::move(handler), ended(promise));
    });
  }

  std::future<void> unsubscribe(std::string filter) override {
    return run<void>([this, filter = std::move(filter)](auto promise) {
      session_.unsubscribe(filter, ended(promise));
    });
  }

  std::future<Message> request(Message message, std::chrono::milliseconds timeout) override {
    timeout = std::min(timeout, SerialQueue::kLongestDelay);
    return run<Message>([this, message = std::move(message), timeout](auto promise) mutable {
      session_.request(std::move(message), timeout, answered(promise));
    });
  }

  void on_state(StateHandler handler) override {
    session_.post([this, handler = std::move(handler)]() mutable {
      session_.set_state_handler(std::move(handler));
    });
  }

  void close(std::chrono::milliseconds deadline) noexcept override {
    guarded("close", [&] { session_.close(deadline); });
  }

 private:
  static constexpr std::chrono::seconds kDefaultCloseDeadline{5};

  // What is destroyed without an answer, because the session ended first, is answered by that.
  template <typename T>
  class Promise {
   public:
    Promise() = default;
    Promise(const Promise&) = delete;
    Promise& operator=(const Promise&) = delete;
    ~Promise() {
      if (!answered_)
        guarded("transport", [&] {
          fail(Error(ErrorKind::closed, "transport", "", "it was closed", "open a new one"));
        });
    }
    std::future<T> future() { return promise_.get_future(); }
    template <typename... Value>
    void answer(Value&&... value) {
      answered_ = true;
      promise_.set_value(std::forward<Value>(value)...);
    }
    void fail(const Error& error) { fail(std::make_exception_ptr(error)); }
    void fail(const std::exception_ptr& error) {
      answered_ = true;
      promise_.set_exception(error);
    }

   private:
    std::promise<T> promise_;
    bool answered_ = false;
  };

  static Ended ended(std::shared_ptr<Promise<void>> promise) {
    return [promise = std::move(promise)](const Error* error) {
      if (error != nullptr)
        promise->fail(*error);
      else
        promise->answer();
    };
  }

  template <typename T>
  static std::function<void(const T*, const Error*)> answered(std::shared_ptr<Promise<T>> promise) {
    return [promise = std::move(promise)](const T* answer, const Error* error) {
      if (error != nullptr)
        promise->fail(*error);
      else
        promise->answer(*answer);
    };
  }

  // REQUIRES: `body` throws only while the promise is its own.
  template <typename T, typename Body>
  std::future<T> run(Body body) {
    auto promise = std::make_shared<Promise<T>>();
    auto future = promise->future();
    session_.post([promise = std::move(promise), body = std::move(body)]() mutable {
      try {
        body(promise);
      } catch (...) {
        promise->fail(std::current_exception());
      }
    });
    return future;
  }

  Session session_;
};

}  // namespace hwid::transport
