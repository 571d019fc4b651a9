#include <doctest/doctest.h>
#include <hwid/device_config.h>

#include "pki.h"
#include "transport/config_for_cloud.h"
#include "transport/credential_store.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using hwid::test::TemporaryDirectory;
using hwid::test::write_file;

namespace {

DeviceConfig read_text(const std::string& text) {
  const TemporaryDirectory directory;
  write_file(directory / "device.conf", text);
  return DeviceConfig::read(directory / "device.conf");
}

std::string error_of(const std::string& text) {
  try {
    read_text(text);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::environment);
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("device_config: reads every kind of value") {
  const auto config = read_text(
      "# comment\n"
      "; another\n"
      "endpoint = mqtts://broker:1234   # trailing comment\n"
      "client-id=  line-7 \n"
      "profile = aws\n"
      "keep-alive = 45\n"
      "clean-session = yes\n"
      "mqtt-version = 5\n"
      "qos = 2\n"
      "alpn = one, two\n"
      "min-tls = 1.3\n"
      "session-expiry = 4294967295\n"
      "receive-maximum = 65535\n"
      "spool-max-bytes = 18446744073709551615\n"
      "ca-path =\n");
  CHECK(config.endpoint == "mqtts://broker:1234");
  CHECK(config.client_id == "line-7");
  CHECK(config.profile == Profile::aws);
  CHECK(config.keep_alive == std::chrono::seconds(45));
  CHECK(config.clean_session);
  CHECK(config.mqtt_version == MqttVersion::v5);
  CHECK(config.qos == Qos::exactly_once);
  CHECK(config.alpn == std::vector<std::string>{"one", "two"});
  CHECK(config.min_tls == TlsVersion::v1_3);
  CHECK(config.session_expiry == std::chrono::seconds(4294967295));
  CHECK(config.receive_maximum == 65535);
  CHECK(config.spool_max_bytes == UINT64_MAX);
  CHECK(config.ca_path.empty());
}

TEST_CASE("device_config: has the documented defaults") {
  const auto config = read_text("");
  CHECK(config.profile == Profile::plain);
  CHECK(config.keep_alive == std::chrono::seconds(30));
  CHECK_FALSE(config.clean_session);
  CHECK(config.mqtt_version == MqttVersion::v3_1_1);
  CHECK(config.qos == Qos::at_least_once);
  CHECK_FALSE(config.allow_plaintext);
  CHECK_FALSE(config.min_tls);
}

TEST_CASE("device_config: a # within a value belongs to it") {
  CHECK(read_text("topics.subscribe = a/#\n").topics_subscribe == "a/#");
  CHECK(read_text("topics.subscribe = a/#  # all of a\n").topics_subscribe == "a/#");
  CHECK(read_text("key = pkcs11:object=a#b\n").key == "pkcs11:object=a#b");
}

TEST_CASE("device_config: a section is a prefix") {
  const auto config = read_text("endpoint = mqtts://b\n[topics]\npublish = p\nsubscribe = s/#\n");
  CHECK(config.topics_publish == "p");
  CHECK(config.topics_subscribe == "s/#");
}

TEST_CASE("device_config: an unknown key is an error that names file, line and key") {
  const auto error = error_of("endpoint = mqtts://b\n\nclientid = x\n");
  CHECK_MESSAGE(contains(error, "device.conf:3"), error);
  CHECK_MESSAGE(contains(error, "'clientid'"), error);
}

TEST_CASE("device_config: a bad value is an error that names file, line, key and value") {
  for (const std::string& line : std::initializer_list<std::string>{
           "qos = 3", "qos = -1", "qos = one", "keep-alive = 65536", "keep-alive = 30s",
           "clean-session = maybe", "mqtt-version = 4", "min-tls = 1.1", "profile = gcp",
           "receive-maximum = 0", "session-expiry = 4294967296", "spool-full = no", "ocsp = soft",
           "alpn = a,,b"}) {
    const auto error = error_of("# first\n" + line + "\n");
    CHECK_MESSAGE(contains(error, "device.conf:2"), error);
    CHECK_MESSAGE(contains(error, line.substr(0, line.find(' '))), error);
    CHECK_MESSAGE(contains(error, "'" + line.substr(line.find("= ") + 2) + "'"), error);
  }
}

TEST_CASE("device_config: a key given twice, and a line that is none, are errors") {
  CHECK(contains(error_of("qos = 1\nqos = 2\n"), "more than once"));
  const auto error = error_of("# first\nqos 1\n");
  CHECK_MESSAGE(contains(error, "device.conf:2: the line 'qos ...' has no ="), error);
}

TEST_CASE("device_config: a line that cannot be read is not shown, it may hold a secret") {
  for (const std::string& line : std::initializer_list<std::string>{
           "proxy http://u:geheim@p:3128", "http://u:geheim@p:3128", "[geheim", "pin-value geheim",
           "http://u:geheim@p:3128?x = y", "geheim!=1", "geheim", "geheim 1"}) {
    const auto error = error_of("qos = 1\n" + line + "\n");
    CHECK_MESSAGE(contains(error, "device.conf:2"), error);
    CHECK_MESSAGE(!contains(error, "geheim"), error);
  }
}

TEST_CASE("device_config: a missing file is an error that says why") {
  try {
    DeviceConfig::read("/nonexistent/device.conf");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(contains(error.what(), "/nonexistent/device.conf"));
    CHECK(contains(error.what(), "No such file"));
  }
}

TEST_CASE("device_config: what enrolment learned wins") {
  const TemporaryDirectory directory;
  write_file(directory / "learned.conf", "endpoint = mqtts://learned\n");
  write_file(directory / "device.conf", "endpoint = mqtts://first\nclient-id = me\nstate-dir = " +
                                            directory.path().string() + "\n");
  const auto config = DeviceConfig::read(directory / "device.conf");
  CHECK(config.endpoint == "mqtts://learned");
  CHECK(config.client_id == "me");
}

TEST_CASE("device_config: what one cloud said of the device is of no use to another one") {
  const TemporaryDirectory directory;
  const auto file = directory / "device.conf";
  write_file(directory / "device.conf",
             "endpoint = mqtts://aws\nstate-dir = " + directory.path().string() + "\n");
  update_learned(directory.path(), {{"profile", "azure"},
                                    {"endpoint", "mqtts://hub"},
                                    {"client-id", "of-azure"},
                                    {"renew-at", "30d"}});
  CHECK(DeviceConfig::read(file).endpoint == "mqtts://hub");
  CHECK(read_config_for(file, Profile::azure).client_id == "of-azure");
  auto config = read_config_for(file, Profile::aws);
  CHECK(config.endpoint == "mqtts://aws");
  CHECK(config.client_id.empty());
  CHECK(config.renew_at == "30d");
  CHECK(config.profile == Profile::aws);

  update_learned(directory.path(), {{"profile", "aws"}, {"thing-name", "of-aws"}});
  config = DeviceConfig::read(file);
  CHECK(config.endpoint == "mqtts://aws");
  CHECK(config.client_id.empty());
  CHECK(config.thing_name == "of-aws");
  update_learned(directory.path(), {{"profile", "aws"}, {"client-id", "of-aws"}});
  CHECK(DeviceConfig::read(file).thing_name == "of-aws");
  CHECK(read_config_for(file, Profile::azure).thing_name.empty());
}

TEST_CASE("device_config: the example is good and shows every key") {
  const std::string example = std::string(HWID_TEST_CONF_DIR) + "/device.conf";
  const auto config = DeviceConfig::read(example);
  CHECK(config.client_id == "mqtt-mtls-pkcs-test-client");
  const auto text = hwid::test::read_file(example);
  for (const auto& key : DeviceConfig::keys())
    CHECK_MESSAGE((contains(text, "\n" + key + " = ") || contains(text, "\n# " + key + " = ")),
                  key);
}
