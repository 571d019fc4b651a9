#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pki.h"

namespace hwid::test {

constexpr std::chrono::seconds kPatience{20};

// Looks every few milliseconds until `condition` holds; false when it never did.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds limit = kPatience);

// A program under test, ended by its process id.
class Process {
 public:
  Process() = default;
  // stdout and stderr go to the files.
  Process(const std::vector<std::string>& arguments, const std::filesystem::path& out,
          const std::filesystem::path& err);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();
  bool running();
  int wait();  // the exit code, or minus the signal
  void signal(int number) const;
  void end(int number);

 private:
  pid_t pid_ = -1;
  int status_ = 0;
};

// A mosquitto on a free port of 127.0.0.1 that demands a client certificate; sessions persist.
// The directory holds ca, other-ca, server (DNS:localhost), client, and stranger (by other-ca).
// The topics deny/# are forbidden.
class Broker {
 public:
  Broker();
  void start();
  void stop(int signal_number = 15);
  void save_and_freeze() const;  // sessions survive even SIGKILL
  void freeze() const;           // it accepts, but does not answer

  const TemporaryDirectory& directory() const { return directory_; }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }
  int port() const { return port_; }
  std::string log() const { return read_file(directory_ / "broker.log"); }

 private:
  TemporaryDirectory directory_;
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace hwid::test
