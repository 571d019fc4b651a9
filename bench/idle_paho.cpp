// hwid-bench-idle-paho URI CA CERTIFICATE KEY: connects by Paho C++ alone, as `paho`, with a key in
// a file, and waits for SIGTERM. What hwid::transport is compared with (footprint.py).
#include <mqtt/async_client.h>

#include <csignal>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 5) {
    std::cerr << "usage: hwid-bench-idle-paho URI CA CERTIFICATE KEY\n";
    return 2;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);  // for Paho's threads as well
  mqtt::async_client client(argv[1], "paho");
  mqtt::ssl_options ssl;
  ssl.set_trust_store(argv[2]);
  ssl.set_key_store(argv[3]);
  ssl.set_private_key(argv[4]);
  ssl.set_verify(true);
  mqtt::connect_options options;
  options.set_ssl(std::move(ssl));
  client.connect(options)->wait();
  int signal = 0;
  sigwait(&ends, &signal);
  client.disconnect()->wait();
  return 0;
} catch (const std::exception& error) {
  std::cerr << "hwid-bench-idle-paho: " << error.what() << "\n";
  return 1;
}
