// What is done while a call fails.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/token/outcomes_world.h"

namespace hwid::test::outcomes {

// What an operation has at hand, in a process of its own.
struct Stage {
  explicit Stage(const SoftHsmToken& of) : token(of), context(world().conf(of)) {}
  const SoftHsmToken& token;
  LibraryContext context;
  EvpPkey key;
  int runs = 0;
};

struct Operation {
  std::string name;
  // What was done before; no call of it is failed.
  std::function<void(Stage&)> prepare;
  // "right", or what is wrong in capitals. Throws std::runtime_error with OpenSSL's errors.
  std::function<std::string(Stage&)> run;
  // What a failed run has left behind, in capitals; null: there is nothing it could leave.
  std::function<std::string(Stage&)> traces = nullptr;
  SoftHsmToken World::*token = &World::token;
  bool writes = false;  // to a copy of the token
};

const std::vector<Operation>& operations();

}  // namespace hwid::test::outcomes
