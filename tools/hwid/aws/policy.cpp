// hwid aws policy: what AWS IoT Core must allow, from device.conf.
#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/enrol/enrolment.h"
#include "transport/cloud/aws_policy.h"

namespace hwid::tool {
namespace {

using transport::DeviceConfig;
namespace cloud = transport::aws;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"), "the device.conf");
  add("account", po::value<std::string>()->value_name("ID")->required(),
      "the account of AWS, 12 digits");
  add("region", po::value<std::string>()->value_name("REGION"), "of AWS (default: the endpoint's)");
  add("fleet", po::bool_switch(),
      "for each thing by its own name, instead of this device's client id");
  add("claim", po::bool_switch(), "the policy of the claim certificate, for `provision aws`");
  add_delivery_options(options);
}

cloud::Account account_of(const Invocation& invocation, const DeviceConfig& config) {
  cloud::Account account{invocation.text("region"), invocation.text("account")};
  if (account.region.empty()) account.region = cloud::region_of(config.endpoint);
  if (account.region.empty())
    throw UsageError("--region: the endpoint " + config.endpoint + " does not tell it");
  return account;
}

Exit run(Invocation& invocation) {
  if (invocation.flag("fleet") && invocation.flag("claim"))
    throw UsageError("--fleet, --claim: one policy at a time");
  const DeviceConfig config = enrol::read_device_conf(invocation, transport::Profile::aws);
  check_delivery(invocation, {invocation.text("config")});
  const cloud::Account account = account_of(invocation, config);
  const std::string policy =
      invocation.flag("claim")
          ? cloud::claim_policy(config, account)
          : cloud::device_policy(config, account,
                                 invocation.flag("fleet") ? cloud::For::fleet : cloud::For::device);
  if (invocation.out().json() && !invocation.has("out")) {
    invocation.out().document(Json::parse(policy));
    return kGood;
  }
  Product product;
  product.key = "policy";
  product.title = "Policy";
  product.content = policy;
  product.facts = {{"region", account.region}, {"account", account.id}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kAwsPolicy = {
    "aws policy",
    "--config FILE --account ID [--fleet | --claim] [--out FILE]",
    "the policy of AWS IoT Core that a device needs",
    "Prints what the device of device.conf needs and no more: iot:Connect with its client id, "
    "iot:Publish\n"
    "to topics.publish and will-topic, iot:Subscribe to topics.subscribe (a topicfilter), "
    "iot:Receive of\n"
    "what comes there (a topic: many forget it, and hear nothing), and the role-alias.",
    "  hwid aws policy --config device.conf --account 123456789012 --out policy.json\n"
    "  aws iot create-policy --policy-name device --policy-document file://policy.json\n"
    "  hwid aws policy --config device.conf --account 123456789012 --fleet\n"
    "  hwid aws policy --config device.conf --account 123456789012 --claim\n",
    0,
    0,
    add_options,
    run,
    false};

}  // namespace hwid::tool
