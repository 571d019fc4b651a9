// hwid re-enroll: a new certificate now, with the one that is in use.
#include "tools/hwid/commands.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/renewal/renewal.h"
#include "tools/hwid/renewal/report.h"

namespace hwid::tool {
namespace {

void add_options(po::options_description& options) {
  renewal::add_common_options(options);
  options.add_options()("new-key", po::bool_switch(), "make a new key beside the old one");
}

Exit run(Invocation& invocation) {
  renewal::Orders orders;
  orders.now = true;
  orders.new_key = invocation.flag("new-key");
  orders.hooks = renewal::hooks_of(invocation);
  const auto config = enrol::read_device_conf(invocation);
  renewal::Renewal renewal(invocation, config, renewal::place_of(invocation, config), orders);
  return renewal::print(invocation.out(), renewal.renew());
}

Exit run_group(Invocation&) { throw UsageError("est is expected"); }

}  // namespace

const Command kReEnroll = {"re-enroll",
                           "est [OPTION...]",
                           "a new certificate with the one that is in use: by EST",
                           "Does at once what `hwid renew` does when it is time.",
                           "  hwid re-enroll est --config /etc/hwid/device.conf\n",
                           0,
                           1,
                           nullptr,
                           run_group};

const Command kReEnrollEst = {
    "re-enroll est",
    "--config FILE [OPTION...]",
    "a new certificate by EST (RFC 7030), with the one that is in use",
    "Asks for the same subject and alternative names with simplereenroll, over a connection that "
    "the\n"
    "key in use opens. The new certificate is tried at the endpoint before it is used.",
    "  hwid re-enroll est --config /etc/hwid/device.conf\n"
    "  hwid re-enroll est --config /etc/hwid/device.conf --new-key\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
