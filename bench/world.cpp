#include "bench/world.h"

namespace hwid::bench {

World::World() {
  token.use_in_this_process();
  token.generate({{"rsa:2048", "rsa", "01"}, {"ec:P-256", "ec", "02"}});
  pki.issue("software-rsa", {}, "rsa:2048");
  pki.issue("software-ec", {}, "ec:P-256");
}

test::OpensslConf World::conf(const std::string& module) const {
  return test::OpensslConf().backend("dev", token.backend(module));
}

test::OpensslConf World::software_conf() {
  return test::OpensslConf().order(test::ProviderOrder::kDefaultOnly);
}

double World::calls_of(const Operation& operation) const {
  constexpr int kTimes = 20;
  for (int i = 0; i < 3; ++i) operation();
  const auto before = static_cast<double>(counting.total());
  for (int i = 0; i < kTimes; ++i) operation();
  return (static_cast<double>(counting.total()) - before) / kTimes;
}

}  // namespace hwid::bench
