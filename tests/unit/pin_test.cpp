#include "provider/core/pin.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "provider/core/error.h"
#include "tests/fixture/files.h"

using hwid::core::Error;
using hwid::core::Log;
using hwid::core::PinChain;
using hwid::core::read_pin_source;
using hwid::core::Reason;
using hwid::core::Secret;

namespace {

const Log kSilent;

std::string read(const std::string& source) {
  const Secret pin = read_pin_source(source, kSilent);
  return {pin.reveal().begin(), pin.reveal().end()};
}

Reason refusal(const std::string& source) {
  try {
    (void)read(source);
  } catch (const Error& error) {
    return error.reason;
  }
  return Reason::kInternal;
}

std::string pin_file(const hwid::test::TemporaryDirectory& directory, const std::string& content,
                     mode_t mode = 0600) {
  const std::string path = directory.file("pin");
  hwid::test::write_file(path, content);
  REQUIRE(chmod(path.c_str(), mode) == 0);
  return path;
}

}  // namespace

TEST_CASE("pin: a file's first line, without its line end") {
  const hwid::test::TemporaryDirectory directory;
  CHECK(read("file:" + pin_file(directory, "1234\nsecond\n")) == "1234");
  CHECK(read("file:" + pin_file(directory, "1234\r\n")) == "1234");
  CHECK(read(pin_file(directory, "no newline")) == "no newline");
  CHECK(read(pin_file(directory, std::string(256, 'p') + "\n")).size() == 256);
}

TEST_CASE("pin: files that are no PIN files are refused") {
  const hwid::test::TemporaryDirectory directory;
  CHECK(refusal("file:" + pin_file(directory, "1", 0602)) == Reason::kBadConfiguration);
  CHECK(refusal("file:" + pin_file(directory, "")) == Reason::kPinMissing);
  CHECK(refusal("file:" + pin_file(directory, "\n")) == Reason::kPinMissing);
  CHECK(refusal("file:" + pin_file(directory, std::string(257, 'p'))) == Reason::kBadConfiguration);
  CHECK(refusal("file:" + directory.path().string()) == Reason::kPinMissing);
  CHECK(refusal("file:/nonexistent/pin") == Reason::kPinMissing);
  REQUIRE(mkfifo((directory.file("fifo")).c_str(), 0600) == 0);
  CHECK(refusal("file:" + directory.file("fifo")) == Reason::kPinMissing);
  CHECK(refusal("|cat /etc/pin") == Reason::kBadConfiguration);
  CHECK(refusal("secret") == Reason::kBadConfiguration);
}

TEST_CASE("pin: environment, credential, keyring") {
  REQUIRE(setenv("HWID_TEST_PIN", "from-env", 1) == 0);
  CHECK(read("env:HWID_TEST_PIN") == "from-env");
  CHECK(refusal("env:HWID_TEST_NO_PIN") == Reason::kPinMissing);
  unsetenv("CREDENTIALS_DIRECTORY");
  CHECK(refusal("credential:pin") == Reason::kPinMissing);
  const hwid::test::TemporaryDirectory directory;
  pin_file(directory, "from-credential\n");
  REQUIRE(setenv("CREDENTIALS_DIRECTORY", directory.path().c_str(), 1) == 0);
  CHECK(read("credential:pin") == "from-credential");
  CHECK(refusal("credential:../pin") == Reason::kBadConfiguration);
  CHECK(refusal("keyring:hwid-test-no-such-key") == Reason::kPinMissing);
}

TEST_CASE("pin: URI before configuration before the application") {
  const Secret value(hwid::core::as_bytes("value"));
  const Secret configured(hwid::core::as_bytes("configured"));
  const hwid::core::PinPrompt prompt = [](const std::string&) -> std::optional<Secret> {
    return Secret(hwid::core::as_bytes("prompt"));
  };
  const auto obtained = [](const PinChain& chain) {
    const auto pin = chain.obtain("token t");
    return pin ? std::string(pin->reveal().begin(), pin->reveal().end()) : "none";
  };
  PinChain chain;
  CHECK(obtained(chain) == "none");
  chain.prompt = &prompt;
  CHECK(obtained(chain) == "prompt");
  chain.configured_value = &configured;
  CHECK(obtained(chain) == "configured");
  chain.uri_value = &value;
  CHECK(obtained(chain) == "value");
}
