#include "bench/broker.h"

#include <unistd.h>

#include "tests/fixture/ports.h"

namespace hwid::bench {

Broker::Broker(const test::Pki& pki) : port_(test::free_port()) {
  pki.issue("broker", {});
  std::string conf =
      "listener " + std::to_string(port_) + " 127.0.0.1\ncafile " + pki.ca_file() + "\ncertfile " +
      pki.file("broker.pem") + "\nkeyfile " + pki.file("broker.key") +
      "\nrequire_certificate true\nallow_anonymous true\npersistence false\n"
      "max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type error\n";
  if (::geteuid() == 0) conf += "user root\n";
  const std::string file = directory_.file("mosquitto.conf");
  test::write_file(file, conf);
  test::Daemon::Options options;
  options.ready = [this] { return test::port_answers(port_); };
  daemon_ = std::make_unique<test::Daemon>(
      std::vector<std::string>{HWID_BENCH_MOSQUITTO, "-c", file}, options);
}

}  // namespace hwid::bench
