// hwid doctor: what is wrong, from openssl.cnf to the broker, and what mends it.
#include <cstdlib>
#include <iostream>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/doctor/examination.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/doctor/report.h"
#include "tools/hwid/doctor/watch.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

using doctor::Examination;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"),
      "a device.conf: its key, certificate, CA and endpoint are looked at");
  add("key", po::value<std::string>()->value_name("URI"), "the key, instead of device.conf's");
  add("cert", po::value<std::string>()->value_name("FILE|URI"),
      "its certificate, instead of device.conf's");
  add("ca", po::value<std::string>()->value_name("FILE"),
      "the CA of the server's certificate, instead of device.conf's");
  add("endpoint", po::value<std::string>()->value_name("HOST:PORT"),
      "the server, instead of device.conf's; TLS is tried, and no MQTT without --config");
  add("policy", po::value<std::string>()->value_name("FILE"),
      "the IoT policy of AWS (JSON): whether it lets --config's device do its work");
  add("patience", po::value<unsigned>()->value_name("SECONDS")->default_value(60),
      "how long a token or TPM may take for one step, before it counts as hanging");
  add("causes", po::bool_switch(), "print all that it knows, as doc/troubleshooting.md has it");
}

std::chrono::seconds patience_of(const Invocation& invocation) {
  constexpr unsigned kMost = 86400;
  const unsigned seconds = *invocation.value<unsigned>("patience");
  if (seconds == 0 || seconds > kMost)
    throw UsageError("--patience: it is 1 to " + std::to_string(kMost) + " seconds");
  return std::chrono::seconds(seconds);
}

Exit run(Invocation& invocation) {
  if (invocation.flag("causes")) {
    std::cout << doctor::markdown();
    return kGood;
  }
  ::setenv("HWID_LOG", "off", 0);  // what it would say is the answer, or beside it
  Examination examination(invocation);
  examination.key = invocation.text("key");
  examination.certificate = invocation.text("cert");
  examination.authority = invocation.text("ca");
  examination.endpoint = invocation.text("endpoint");
  examination.policy = invocation.text("policy");
  if (doctor::is_greengrass_config(invocation.text("config")))
    examination.greengrass_file = invocation.text("config");
  const bool has_device = invocation.has("config") && examination.greengrass_file.empty();
  if (!examination.policy.empty() && !has_device)
    throw UsageError("--policy: it is for the device of a device.conf, which --config must name");
  examination.patience = patience_of(invocation);
  doctor::Watch watch(examination);
  if (watch.is_examiner())
    doctor::examine(examination);
  else if (const std::optional<int> exit_code = watch.wait())
    return static_cast<Exit>(*exit_code);
  const Exit exit = doctor::report(invocation.out(), examination);
  if (watch.is_examiner()) {
    Output::finish();
    watch.answered(exit);
  }
  return exit;
}

}  // namespace

const Command kDoctor = {
    "doctor",
    "[--config FILE [--policy FILE]] [--key URI] [--cert FILE] [--ca FILE] [--endpoint HOST:PORT]",
    "what is wrong, from openssl.cnf to the broker, and what mends it",
    "Looks at everything on the way from openssl.cnf to the broker, and names "
    "the first cause of a\n"
    "fault, what was seen of it, and the command or edit that mends it. What "
    "fails only because of\n"
    "that is not told. One line where nothing is broken. A PIN is tried once, "
    "and not at all where\n"
    "only its last try is left. HWID_LOG=debug:stderr shows each step that the provider takes.",
    "  hwid doctor\n"
    "  hwid doctor --key hwid://device\n"
    "  hwid doctor --config /etc/hwid/device.conf --json\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
