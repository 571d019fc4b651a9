// A program of a user's own: a scheme that is not ours, used through the library as installed.
#include <hwid/transport.h>

#include <cstdlib>
#include <iostream>

namespace {

namespace ht = hwid::transport;

// Prints what is published.
class Printer final : public ht::Transport {
 public:
  std::future<void> connect() override { return ready(); }
  std::future<ht::Delivery> publish(ht::Message message) override {
    std::cout << message.topic << " " << message.payload << std::endl;
    std::promise<ht::Delivery> done;
    done.set_value({});
    return done.get_future();
  }
  std::future<void> subscribe(std::string filter, ht::Qos, ht::MessageHandler) override {
    return refuse("subscribe", filter);
  }
  std::future<void> unsubscribe(std::string filter) override {
    return refuse("unsubscribe", filter);
  }
  std::future<ht::Message> request(ht::Message message, std::chrono::milliseconds) override {
    std::promise<ht::Message> done;
    done.set_exception(std::make_exception_ptr(
        ht::Error(ht::ErrorKind::environment, "request", message.topic, "print: only publishes")));
    return done.get_future();
  }
  void on_state(ht::StateHandler) override {}
  void close(std::chrono::milliseconds) noexcept override {}

 private:
  static std::future<void> ready() {
    std::promise<void> done;
    done.set_value();
    return done.get_future();
  }
  static std::future<void> refuse(const std::string& what, const std::string& where) {
    std::promise<void> done;
    done.set_exception(std::make_exception_ptr(
        ht::Error(ht::ErrorKind::environment, what, where, "print: only publishes")));
    return done.get_future();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return EXIT_FAILURE;
  try {
    ht::register_scheme("print",
                        [](const ht::DeviceConfig&) { return std::make_unique<Printer>(); });
    const auto transport = ht::open(ht::DeviceConfig::read(argv[1]));
    transport->connect().get();
    transport->publish({.topic = "a/topic", .payload = "a payload"}).get();
    return EXIT_SUCCESS;
  } catch (const ht::Error& error) {
    std::cerr << error.what() << std::endl;
    return EXIT_FAILURE;
  }
}
