// The doctor's table of causes, and what it makes of misspelt words.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "provider/core/error.h"
#include "tools/hwid/doctor/cause.h"
#include "tools/hwid/doctor/network_causes.h"
#include "tools/openssl_conf/known_keys.h"

using namespace hwid::tool::doctor;
using hwid::openssl_conf::known_keys;
using hwid::openssl_conf::nearest;
using hwid::openssl_conf::SectionKind;

TEST_CASE("doctor: a cause has a name of its own, all its words, and silences nothing before it") {
  std::set<std::string> ids;
  Probe last = Probe::kGreengrass;
  for (const Cause& cause : causes()) {
    CAPTURE(cause.id);
    CHECK(ids.insert(cause.id).second);
    CHECK_FALSE(std::string(cause.cause).empty());
    CHECK_FALSE(std::string(cause.evidence).empty());
    CHECK_FALSE(std::string(cause.fix).empty());
    CHECK_FALSE(std::string(cause.cause).ends_with('.'));
    CHECK(last <= cause.probe);
    last = cause.probe;
    for (unsigned probe = 0; probe < static_cast<unsigned>(cause.probe); ++probe) {
      const bool all = cause.silences.has(Probe::kConfFile);
      CHECK((all || !cause.silences.has(static_cast<Probe>(probe))));
    }
    CHECK((cause.weight == Weight::kBroken || !cause.silences.has(kLastProbe)));
    CHECK(&cause_of(cause.id) == &cause);
    CHECK_FALSE(std::string(title_of(cause.probe)).empty());
  }
  CHECK_THROWS_AS(cause_of("no-such-cause"), hwid::core::Error);
}

TEST_CASE("doctor: every diagnosis of the transport, and every answer of a broker, has a row") {
  using hwid::transport::Cause;
  for (int number = static_cast<int>(Cause::none) + 1; number <= static_cast<int>(Cause::other);
       ++number) {
    const auto cause = static_cast<Cause>(number);
    CAPTURE(hwid::transport::name_of(cause));
    const std::string id = id_of_diagnosis(cause);
    CHECK((id != "tls-fails" || cause == Cause::other));
    CHECK_NOTHROW(cause_of(id));
  }
  for (int number = 1; number <= static_cast<int>(MqttFault::kSubscribeRefused); ++number)
    CHECK_NOTHROW(cause_of(id_of_fault(static_cast<MqttFault>(number))));
}

TEST_CASE("doctor: texts are filled, and what has no value stays") {
  CHECK(filled("{a} and {b}", {{"a", "x{b}"}, {"b", "y"}}) == "x{b} and y");
  CHECK(filled("{none} {", {}) == "{none} {");
  CHECK(markdown().find('{') == std::string::npos);
}

TEST_CASE("nearest: the word that was meant, and none where nothing is near") {
  const auto backend = known_keys(SectionKind::kPkcs11);
  CHECK(nearest("pin_source", backend) == "pin-source");
  CHECK(nearest("PIN-SOURCE", backend) == "pin-source");
  CHECK(nearest("pinsource", backend) == "pin-source");
  CHECK(nearest("modlue", backend) == "module");
  CHECK(nearest("max-session", backend) == "max-sessions");
  CHECK_FALSE(nearest("module", backend));
  CHECK_FALSE(nearest("colour", backend));
  CHECK_FALSE(nearest("", backend));
  CHECK_FALSE(nearest("x", backend));
  CHECK(nearest("backend", known_keys(SectionKind::kProvider)) == "backends");
  CHECK(nearest("ojects", known_keys(SectionKind::kTpm2)) == "objects");
}
