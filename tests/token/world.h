// One token with keys, the counting module before it, and a library context, for a test process.
#pragma once

#include <string>

#include "tests/fixture/library_context.h"
#include "tests/fixture/module_control.h"
#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/softhsm.h"

namespace hwid::test {

// SoftHSM reads its configuration once a process, so each test file has one World.
class World {
 public:
  World() {
    token.use_in_this_process();
    token.generate({{"rsa:2048", "rsa", "01"},
                    {"rsa:3072", "rsa3072", "02"},
                    {"ec:P-256", "ec", "03"},
                    {"ec:P-384", "ec384", "04"},
                    {"ec:P-521", "ec521", "05"}});
  }

  // A configuration with the token behind the counting module, `device` naming the key "rsa".
  OpensslConf conf(const Settings& backend = {}) const {
    return OpensslConf()
        .backend("dev", token.backend(module.path(), backend))
        .key("device", token.uri("rsa"));
  }

  SoftHsmToken token;
  ModuleControl module;
};

inline World& world() {
  static World made;
  return made;
}

// A library context with world().conf(), and a key of it.
inline const LibraryContext& context() {
  static const LibraryContext made(world().conf());
  return made;
}
inline EvpPkey key(const std::string& label) {
  return context().private_key(world().token.uri(label));
}

}  // namespace hwid::test
