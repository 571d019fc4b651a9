#include "transport/mqtt/paho_threads.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace hwid::transport::mqtt_client {

namespace {

// By the names that Paho gives them.
bool has_paho_threads() {
  std::error_code error;
  for (std::filesystem::directory_iterator task("/proc/self/task", error), end;
       !error && task != end; task.increment(error)) {
    std::string name;
    std::getline(std::ifstream(task->path() / "comm"), name);
    if (name == "MQTTAsync_send" || name == "MQTTAsync_rcv") return true;
  }
  return false;
}

}  // namespace

PahoThreads::~PahoThreads() {
  constexpr std::chrono::milliseconds kPatience{200};  // they may be those of the program's clients
  if (--sessions_ != 0) return;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  try {
    while (has_paho_threads() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } catch (const std::exception&) {  // without memory there is no looking
  }
}

}  // namespace hwid::transport::mqtt_client
