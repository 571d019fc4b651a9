#include <doctest/doctest.h>

#include "provider/core/config.h"
#include "provider/pkcs11/backend.h"
#include "provider/pkcs11/login.h"
#include "provider/pkcs11/module.h"

using namespace hwid;
using core::Reason;

namespace {

template <typename Body>
Reason reason_of(Body&& body) {
  try {
    body();
  } catch (const core::Error& error) {
    return error.reason;
  }
  return Reason::kInternal;
}

Reason use_of(const std::string& path) {
  return reason_of([&] { pkcs11::Module::get({path, {}, {}, nullptr})->use(); });
}

}  // namespace

TEST_CASE("pkcs11 module: missing, not loadable and not a module are told apart") {
  CHECK(use_of("/nonexistent/module.so") == Reason::kModuleNotLoadable);
  CHECK(use_of("/proc/self/status") == Reason::kModuleNotLoadable);
  CHECK(use_of("libcrypto.so.3") == Reason::kNotAModule);
}

TEST_CASE("pkcs11 module: one object a file, however it is written") {
  const auto get = [](const std::string& path) {
    return pkcs11::Module::get({path, {}, {}, nullptr});
  };
  CHECK(get("/proc/../proc/version") == get("/proc/version"));
  CHECK(get("/proc/version") != get("/proc/uptime"));
}

TEST_CASE("pkcs11 module: one that comes back to us while it is initialized gets an error") {
  static Reason inside = Reason::kInternal;
  static std::shared_ptr<pkcs11::Module> module;
  CK_FUNCTION_LIST functions{};
  functions.C_Initialize = [](void*) -> CK_RV {
    inside = reason_of([] { module->use(); });
    return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  };
  module = std::make_shared<pkcs11::Module>(pkcs11::ModuleSetup{"comes-back", {}, {}, &functions});
  CHECK(module->use().generation() == 1);
  CHECK(inside == Reason::kModuleInitFailed);
  module.reset();
}

TEST_CASE("pkcs11 module: padded texts") {
  const unsigned char field[8] = {'t', 'o', 'k', ' ', 'n', ' ', ' ', '\0'};
  CHECK(pkcs11::padded_text(field) == "tok n");
  const unsigned char blank[2] = {' ', ' '};
  CHECK(pkcs11::padded_text(blank).empty());
}

TEST_CASE("pkcs11 backend: making one touches no module") {
  core::BackendConfig section;
  section.name = "dev";
  section.module = "/nonexistent/module.so";
  section.token = "line-7";
  const core::Config config;
  const core::Log log;
  const auto backends = pkcs11::make_backends(section, config, log);
  REQUIRE(backends.size() == 1);
  CHECK(backends[0]->owns_token("line-7"));
  CHECK_FALSE(backends[0]->owns_token("line-8"));
  std::vector<std::string> seen;
  const core::KeyUri uri = core::KeyUri::parse("pkcs11:token=line-7");
  CHECK(reason_of([&] { backends[0]->tokens(uri, seen); }) == Reason::kModuleNotLoadable);
  const core::KeyUri other = core::KeyUri::parse("pkcs11:token=line-8");
  CHECK(backends[0]->tokens(other, seen).empty());
  CHECK(seen.size() == 1);
}

TEST_CASE("pkcs11 login: no PIN is sent where one more try does harm") {
  pkcs11::TokenPolicy policy;
  const auto with = [&](CK_FLAGS flags) {
    return reason_of([&] {
      CK_TOKEN_INFO info{};
      info.flags = flags;
      pkcs11::check_pin_state(info, policy, {});
    });
  };
  CHECK(with(CKF_USER_PIN_LOCKED) == Reason::kPinLocked);
  CHECK(with(CKF_USER_PIN_FINAL_TRY) == Reason::kPinLocked);
  CHECK(with(CKF_USER_PIN_TO_BE_CHANGED) == Reason::kPinExpired);
  CHECK(with(CKF_USER_PIN_COUNT_LOW) == Reason::kInternal);
  policy.allow_final_try = true;
  CHECK(with(CKF_USER_PIN_FINAL_TRY) == Reason::kInternal);
}

TEST_CASE("pkcs11 login: a kept PIN is inherited with a key, and gone when dropped") {
  using For = pkcs11::KeptPin::For;
  pkcs11::KeptPin parent(nullptr);
  CHECK_FALSE(parent.get());
  parent.hold(For::kKey);
  parent.hold(For::kCall);
  parent.keep(core::Secret(core::as_bytes("1111")));
  pkcs11::KeptPin child(&parent);
  parent.drop();
  CHECK_FALSE(parent.get());
  REQUIRE(child.get());
  CHECK(child.get()->size() == 4);

  // What was held in the parent may end in the child, or never.
  child.let_go(For::kCall, true);
  child.hold(For::kKey);
  child.let_go(For::kKey, false);
  CHECK(child.get());
  child.let_go(For::kKey, true);
  CHECK_FALSE(child.get());
  child.let_go(For::kKey, true);
  child.hold(For::kKey);
  child.keep(core::Secret(core::as_bytes("1111")));
  child.let_go(For::kKey, false);
  CHECK_FALSE(child.get());
}

TEST_CASE("pkcs11 login: a call of another thread keeps no PIN in a child") {
  using For = pkcs11::KeptPin::For;
  pkcs11::KeptPin parent(nullptr);
  parent.hold(For::kCall);
  parent.keep(core::Secret(core::as_bytes("1111")));
  const pkcs11::KeptPin child(&parent);
  CHECK_FALSE(child.get());
}
