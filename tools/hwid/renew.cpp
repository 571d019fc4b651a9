// hwid renew: the certificate of a device, before it ends.
#include "tools/hwid/commands.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/renewal/deactivation.h"
#include "tools/hwid/renewal/renewal.h"
#include "tools/hwid/renewal/report.h"
#include "tools/hwid/renewal/schedule.h"
#include "tools/hwid/time_words.h"

namespace hwid::tool {
namespace {

using Texts = std::vector<std::string>;

void add_options(po::options_description& options) {
  renewal::add_common_options(options);
  auto add = options.add_options();
  add("new-key", po::bool_switch(),
      "make a new key beside the old one, which is removed with its generation");
  add("keep-old", po::value<std::string>()->value_name("TIME"),
      "how long an old generation stays for programs that have it open (default: 7d)");
  add("timeout", po::value<std::uint32_t>()->value_name("SECONDS"),
      "how long AWS is asked again, and its certificate tried (default: 60)");
  add("deactivated", po::value<Texts>()->value_name("ID")->composing(),
      "that certificate of AWS was deactivated: tell of it no more, and do nothing else; may be "
      "given several times");
  add("now", po::bool_switch(), "whether or not it is due, or a try failed before");
  add("dry-run", po::bool_switch(), "tell what would be done, and do nothing");
}

Exit forget_deactivated(Invocation& invocation) {
  for (const char* option : {"now", "new-key", "dry-run"})
    if (invocation.flag(option))
      throw UsageError(std::string("--deactivated, --") + option + ": one at a time");
  const renewal::Place place = renewal::place_kept(invocation, enrol::read_device_conf(invocation));
  const Texts left = renewal::forget_deactivated(
      invocation, place, invocation.value<Texts>("deactivated").value_or(Texts()));
  Output& out = invocation.out();
  out.heading(place.name + ": deactivated");
  for (const std::string& id : left) out.field("to deactivate", id);
  out.document({{"name", place.name}, {"to_deactivate", left}});
  return kGood;
}

Exit run(Invocation& invocation) {
  (void)enrol::patience_of(invocation);
  if (invocation.has("deactivated")) return forget_deactivated(invocation);
  renewal::Orders orders;
  orders.now = invocation.flag("now");
  orders.new_key = invocation.flag("new-key");
  orders.hooks = renewal::hooks_of(invocation);
  if (invocation.has("keep-old"))
    orders.keep_old = parse_duration("keep-old", invocation.text("keep-old"));
  const auto config = enrol::read_device_conf(invocation);
  const renewal::Place place = renewal::place_to_renew(invocation, config);
  if (invocation.flag("dry-run"))
    return renewal::print(invocation.out(), renewal::forecast(config, place, orders));
  renewal::Renewal renewal(invocation, config, place, orders);
  return renewal::print(invocation.out(), renewal.renew());
}

}  // namespace

const Command kRenew = {
    "renew",
    "--config FILE [OPTION...]",
    "renew the device's certificate when it is time",
    "For a timer: does nothing until `renew-at` of device.conf has come (default: half of the\n"
    "certificate's lifetime; spread over a fifth of what is left, so that a fleet does not come\n"
    "at once). Then asks the EST server with the certificate that is in use, or AWS with the\n"
    "claim, tries the new one at the endpoint, and only then uses it, by one rename. A try that\n"
    "fails leaves the old one, and is made again after a while that grows. Whatever interrupts\n"
    "it, the next run goes on.",
    "  hwid renew --config /etc/hwid/device.conf\n"
    "  hwid renew --config /etc/hwid/device.conf --new-key --hook /etc/hwid/restart-agent\n"
    "  hwid renew --config /etc/hwid/device.conf --dry-run\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
