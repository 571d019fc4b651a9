#include <doctest/doctest.h>
#include <hwid/transport.h>

#include <algorithm>
#include <functional>

#include "transport/scheme_options.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("scheme_options: every key of device.conf has its row, once") {
  std::vector<std::string> rows;
  for (const auto& option : scheme_options()) rows.emplace_back(option.key);
  auto keys = DeviceConfig::keys();
  std::sort(rows.begin(), rows.end());
  std::sort(keys.begin(), keys.end());
  CHECK(rows == keys);
}

TEST_CASE("scheme_options: the defaults are refused by nobody") {
  DeviceConfig config;
  for (const auto& option : scheme_options()) CHECK_FALSE(option.given(config));
  config.ocsp = "no";
  for (const unsigned scheme : {kMqtt, kMqtts, kWss, kHttps})
    CHECK_NOTHROW(refuse_unsupported_options(config, scheme));
}

TEST_CASE("scheme_options: what a scheme does not honour is refused with a way out") {
  DeviceConfig config;
  config.endpoint = "https://h";
  config.source = "/etc/device.conf";
  config.keep_alive = std::chrono::seconds(7);
  CHECK_NOTHROW(refuse_unsupported_options(config, kMqtts));
  const auto error = error_of([&] { refuse_unsupported_options(config, kHttps); });
  CHECK_MESSAGE(contains(error, "open https://h: /etc/device.conf, key keep-alive"), error);
  CHECK_MESSAGE(contains(error, "https:// cannot honour it"), error);
  CHECK_MESSAGE(contains(error, "mqtt://, mqtts://, wss://"), error);
}

TEST_CASE("scheme_options: a scheme of a program's own says what it honours") {
  DeviceConfig config;
  config.endpoint = "file:///var/spool";
  config.client_id = "7";
  config.topics_publish = "t";
  config.thing_name = "line-7";
  CHECK_NOTHROW(refuse_other_options(config, {}));
  config.spool_dir = "/spool";
  CHECK_NOTHROW(refuse_other_options(config, {"spool-dir"}));
  const auto error = error_of([&] { refuse_other_options(config, {"spool-full"}); });
  CHECK_MESSAGE(contains(error, "key spool-dir: this scheme cannot honour it"), error);
}
