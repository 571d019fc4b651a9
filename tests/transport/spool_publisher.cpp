// spool_publisher DEVICE.CONF FIRST [--drain]
//
// A device for test_chaos to kill: publishes numbered messages for ever, QoS 1 on chaos/1 and QoS 2
// on chaos/2, and writes a line "QOS NUMBER" when publish() has accepted one. With --drain it ends
// when the first of each was delivered, and with it what was spooled before.
#include <hwid/transport.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>

namespace ht = hwid::transport;

namespace {

constexpr std::chrono::seconds kDrain{10};

// Into the pipe at once: the number must not be lost with this process.
void report(const std::string& line) {
  if (::write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    std::exit(1);
}

// True when publish() has taken it.
bool accept(ht::Transport& transport, int qos, long number, std::size_t padding) {
  auto delivery = transport.publish({"chaos/" + std::to_string(qos),
                                     std::to_string(number) + " " + std::string(padding, 'x'),
                                     static_cast<ht::Qos>(qos)});
  if (delivery.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return true;
  try {
    delivery.get();
    return true;
  } catch (const ht::Error& error) {
    if (error.kind() != ht::ErrorKind::full) throw;
    return false;
  }
}

// False: the spool is full.
bool deliver(ht::Transport& transport, int qos, const std::string& payload) {
  try {
    transport.publish({"chaos/" + std::to_string(qos), payload, static_cast<ht::Qos>(qos)}).get();
    return true;
  } catch (const ht::Error& error) {
    if (error.kind() != ht::ErrorKind::full) throw;
    return false;
  }
}

// A first failure is final for connect(), and here the network is cut at any byte.
void keep_connecting(ht::Transport& transport) {
  for (;;) {
    try {
      return transport.connect().get();
    } catch (const ht::Error& error) {
      if (error.kind() == ht::ErrorKind::usage) throw;  // cut in the handshake looks like refused
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool drain = argc > 3;
    const auto transport = ht::open(ht::DeviceConfig::read(argv[1]));
    if (drain) {
      keep_connecting(*transport);
      for (const int qos : {1, 2})
        while (!deliver(*transport, qos, argv[2])) std::this_thread::yield();
      transport->close(kDrain);
      return 0;
    }
    std::thread(keep_connecting, std::ref(*transport)).detach();  // ends by a signal
    long number = std::stol(argv[2]);
    for (std::minstd_rand random(static_cast<unsigned>(number));;) {
      const int qos = 1 + static_cast<int>(random() % 2);
      const bool big = random() % 50 == 0;
      if (accept(*transport, qos, number, random() % (big ? 30000 : 300))) {
        report(std::to_string(qos) + " " + std::to_string(number) + "\n");
        ++number;  // only then: a full spool refuses so often that the next process's were reached
      } else {
        std::this_thread::yield();
      }
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
