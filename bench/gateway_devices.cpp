// hwid-bench-gateway-devices: one process that connects many devices, each with a key and a
// connection of its own, and says what that took.
//
//   hwid-bench-gateway-devices hwid|mosquitto COUNT DIRECTORY PORT KEY
//
// DIRECTORY has ca.pem and device-N.pem; KEY is the key's path or URI with an N for the number. On
// standard output: {"seconds": for all, "bytes": a connection, "threads": in the process}.
#include <hwid/transport.h>
#include <mosquitto.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "bench/memory.h"

namespace {

namespace ht = hwid::transport;

// Handshakes under way at once: the broker's queue of connections that it has not accepted yet is a
// hundred long, and what does not fit waits for a second.
constexpr std::size_t kAtOnce = 32;
// They load what a process loads once, and are not counted.
constexpr int kFirst = 8;

struct Device {
  std::string name;
  std::string ca_file;
  std::string cert_file;
  std::string key;
  int port;
};

// Connections of one library. They stay up until its end.
class Library {
 public:
  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  virtual ~Library() = default;
  // Ready when the broker has accepted the device.
  virtual std::future<void> connect(const Device& device) = 0;
};

class Hwid final : public Library {
 public:
  std::future<void> connect(const Device& device) override {
    ht::DeviceConfig config;
    config.endpoint = "mqtts://localhost:" + std::to_string(device.port);
    config.client_id = device.name;
    config.ca_file = device.ca_file;
    config.cert = device.cert_file;
    config.key = device.key;
    config.clean_session = true;
    transports_.push_back(ht::open(config));
    return transports_.back()->connect();
  }

 private:
  std::vector<std::unique_ptr<ht::Transport>> transports_;
};

// One thread that polls all clients. (The threads that mosquitto_loop_start() makes call select(),
// which ends at 1024 descriptors: at some 340 clients, with three for each.)
class Mosquitto final : public Library {
 public:
  Mosquitto() {
    mosquitto_lib_init();
    if (wake_ < 0) throw std::runtime_error("eventfd");
    loop_ = std::thread([this] { loop(); });
  }
  ~Mosquitto() override {
    ending_ = true;
    wake();
    loop_.join();
    for (const auto& client : clients_) {
      mosquitto_disconnect(client->handle);
      mosquitto_destroy(client->handle);
    }
    ::close(wake_);
    mosquitto_lib_cleanup();
  }

  std::future<void> connect(const Device& device) override {
    constexpr int kKeepAlive = 30;
    auto client = std::make_unique<Client>();
    client->handle = mosquitto_new(device.name.c_str(), true, client.get());
    if (client->handle == nullptr) throw std::runtime_error("mosquitto_new");
    mosquitto_connect_callback_set(client->handle, [](mosquitto*, void* object, int code) {
      auto& connected = static_cast<Client*>(object)->connected;
      if (code == 0)
        connected.set_value();
      else
        connected.set_exception(std::make_exception_ptr(
            std::runtime_error(std::string("mosquitto: ") + mosquitto_connack_string(code))));
    });
    check(mosquitto_tls_set(client->handle, device.ca_file.c_str(), nullptr,
                            device.cert_file.c_str(), device.key.c_str(), nullptr));
    check(mosquitto_connect(client->handle, "localhost", device.port, kKeepAlive));
    auto connected = client->connected.get_future();
    {
      const std::lock_guard lock(mutex_);
      clients_.push_back(std::move(client));
    }
    wake();
    return connected;
  }

 private:
  struct Client {
    mosquitto* handle = nullptr;
    std::promise<void> connected;
  };

  static void check(int code) {
    if (code != MOSQ_ERR_SUCCESS)
      throw std::runtime_error(std::string("mosquitto: ") + mosquitto_strerror(code));
  }

  void wake() const { static_cast<void>(::eventfd_write(wake_, 1)); }

  void loop() {
    constexpr int kMiscMilliseconds = 1000;
    while (!ending_) {
      std::vector<mosquitto*> handles;
      {
        const std::lock_guard lock(mutex_);
        for (const auto& client : clients_) handles.push_back(client->handle);
      }
      std::vector<pollfd> sockets = {{wake_, POLLIN, 0}};
      for (mosquitto* const handle : handles) {
        const int write = mosquitto_want_write(handle) ? POLLOUT : 0;
        sockets.push_back({mosquitto_socket(handle), static_cast<short>(POLLIN | write), 0});
      }
      ::poll(sockets.data(), sockets.size(), kMiscMilliseconds);
      eventfd_t woken = 0;
      if (sockets[0].revents != 0) static_cast<void>(::eventfd_read(wake_, &woken));
      for (std::size_t i = 0; i < handles.size(); ++i) serve(handles[i], sockets[i + 1].revents);
    }
  }

  static void serve(mosquitto* handle, short events) {
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) mosquitto_loop_read(handle, 1);
    if ((events & POLLOUT) != 0) mosquitto_loop_write(handle, 1);
    mosquitto_loop_misc(handle);
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Client>> clients_;
  const int wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::atomic<bool> ending_{false};
  std::thread loop_;
};

long threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

void connect(Library& library, const std::vector<Device>& devices) {
  constexpr std::chrono::seconds kPatience{60};
  std::deque<std::future<void>> under_way;
  const auto await_oldest = [&] {
    if (under_way.front().wait_for(kPatience) != std::future_status::ready)
      throw std::runtime_error("a device does not get connected");
    under_way.front().get();
    under_way.pop_front();
  };
  for (const Device& device : devices) {
    under_way.push_back(library.connect(device));
    if (under_way.size() >= kAtOnce) await_oldest();
  }
  while (!under_way.empty()) await_oldest();
}

nlohmann::json measure(Library& library, const std::vector<Device>& devices) {
  const auto first = devices.begin() + kFirst;
  connect(library, {devices.begin(), first});
  const double before = hwid::bench::proportional_bytes();
  const auto begin = std::chrono::steady_clock::now();
  connect(library, {first, devices.end()});
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  const auto count = static_cast<double>(devices.size() - kFirst);
  return {{"seconds", taken.count() / count},
          {"bytes", (hwid::bench::proportional_bytes() - before) / count},
          {"threads", threads()}};
}

int run(const std::vector<std::string>& words) {
  if (words.size() != 6) throw std::runtime_error("see the head of the source for its arguments");
  std::vector<Device> devices;
  for (int i = 0; i < std::stoi(words[2]) + kFirst; ++i) {
    const std::string number = std::to_string(i);
    std::string key = words[5];
    key.replace(key.find("device-N") + std::strlen("device-"), 1, number);
    devices.push_back({"device-" + number, words[3] + "/ca.pem",
                       words[3] + "/device-" + number + ".pem", key, std::stoi(words[4])});
  }
  std::unique_ptr<Library> library;
  if (words[1] == "hwid") library = std::make_unique<Hwid>();
  if (words[1] == "mosquitto") library = std::make_unique<Mosquitto>();
  if (!library) throw std::runtime_error("no library " + words[1]);
  std::cout << measure(*library, devices) << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << "\n";
    return 1;
  }
}
