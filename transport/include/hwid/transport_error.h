#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

// Marks what libhwid-transport exports; everything else in it is hidden.
#define HWID_TRANSPORT_API __attribute__((visibility("default")))

namespace hwid::transport {

enum class ErrorKind {
  usage,  // the caller asked for something that has no meaning: a bad topic, a call after close()
  environment,  // configuration, files, keys, network, TLS
  refused,      // the other side answered, and the answer is no
  timeout,      // no answer in time
  closed,       // the transport was closed, or the session was lost, before the work was done
  full,         // publish(): no room for the message, in memory, in the spool or on the disk
};

// Everything that this library throws, or stores in a future.
// what(): "what failed: on which endpoint, file or topic: why; what to do next".
class HWID_TRANSPORT_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what_failed, const std::string& where,
        const std::string& why, const std::string& next_step = {}, int status = 0,
        std::chrono::seconds retry_after = std::chrono::seconds(0));

  ErrorKind kind() const noexcept { return kind_; }
  // What a cloud's own service said no with, as HTTP has it (404); 0: nothing of that kind.
  int status() const noexcept { return status_; }
  // It is no no: the service has the request, and has not decided yet (202, Accepted).
  bool pending() const noexcept { return status_ == 202; }
  // How long a service that said no wants to be left alone before it is asked again; 0: not told.
  std::chrono::seconds retry_after() const noexcept { return retry_after_; }

 private:
  ErrorKind kind_;
  int status_;
  std::chrono::seconds retry_after_;
};

}  // namespace hwid::transport
