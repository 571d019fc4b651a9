// What the benchmarks of one process share: a token with an RSA and an EC key, the same kinds of
// keys in software, and configurations to reach them.
#pragma once

#include <string>

#include "bench/rounds.h"
#include "tests/fixture/module_control.h"
#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/paths.h"
#include "tests/fixture/pki.h"
#include "tests/fixture/softhsm.h"

namespace hwid::bench {

// SoftHSM reads its configuration once a process, so there is one World in one.
class World {
 public:
  // Four objects: the pairs "rsa" and "ec". Throws std::runtime_error.
  World();

  // The default provider and hwid with the token behind that module (SoftHSM if empty).
  test::OpensslConf conf(const std::string& module = {}) const;
  static test::OpensslConf software_conf();
  // PEM, of the same kind as the token's key of that label.
  std::string software_key_file(const std::string& label) const {
    return pki.file("software-" + label + ".key");
  }
  // Calls of the counting module that one operation costs, once the first ones are over.
  double calls_of(const Operation& operation) const;

  test::Pki pki;
  test::SoftHsmToken token{"bench"};
  test::ModuleControl counting;
};

}  // namespace hwid::bench
