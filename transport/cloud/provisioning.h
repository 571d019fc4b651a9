#pragma once

#include <hwid/transport.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

// What the provisioning services of the clouds have in common: questions over one connection, and
// beginning again where that was lost. Threads: one.
namespace hwid::transport::cloud {

struct Patience {
  std::chrono::milliseconds total{60000};   // for everything
  std::chrono::milliseconds answer{10000};  // for one answer
  // Told before each further attempt: what went wrong, and when it goes on.
  std::function<void(const std::string&)> tell = [](const std::string&) {};
};

// A connection that asks, and is over when it breaks: what a service remembers of a connection
// would be gone on the next one.
class Questions {
 public:
  // Connects, in a session of its own that ends with it. `config`: endpoint, client id, CA,
  // certificate and key count; spool, last will and topics do not. Throws Error.
  explicit Questions(DeviceConfig config);
  ~Questions();
  Questions(const Questions&) = delete;
  Questions& operator=(const Questions&) = delete;

  // The answer, where it is a yes. Throws Error: of kind refused for a no (status() is the
  // service's), timeout where none came, closed where the connection broke.
  Message ask(const Message& question, std::chrono::milliseconds timeout);

 private:
  struct Watch;

  std::string where_;  // for messages
  std::shared_ptr<Watch> watch_;
  std::unique_ptr<Transport> transport_;
};

// Whether the same may go well a little later: no answer, a lost connection, a busy service.
bool may_pass(const Error& error);

// Calls `attempt` until it returns, with waits between that grow (full jitter), and behind the time
// that the service wants to be left alone, where it says one. Throws what it threw where `passes`
// says no, or the time would be over.
void persist(const Patience& patience, const std::function<void()>& attempt,
             const std::function<bool(const Error&)>& passes = may_pass);

}  // namespace hwid::transport::cloud
