// A mosquitto that wants certificates.
#pragma once

#include <memory>
#include <string>

#include "tests/fixture/command.h"
#include "tests/fixture/pki.h"

namespace hwid::bench {

// On a free port of 127.0.0.1, with a certificate for localhost by `pki`. It keeps nothing,
// limits nothing that a client would feel, and holds no small packet back. Throws
// std::runtime_error.
class Broker {
 public:
  explicit Broker(const test::Pki& pki);
  int port() const noexcept { return port_; }

 private:
  test::TemporaryDirectory directory_;
  int port_ = 0;
  std::unique_ptr<test::Daemon> daemon_;
};

}  // namespace hwid::bench
