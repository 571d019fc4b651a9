#pragma once

#include <hwid/device_config.h>

#include <string>

// Policies of AWS IoT Core, from device.conf: "AWS IoT Core policies" and "Policy actions" in AWS's
// documentation. Plain functions: any thread.
namespace hwid::transport::aws {

// Whose the things are.
struct Account {
  std::string region;  // eu-central-1
  std::string id;      // 12 digits
};

// The region of an endpoint as AWS names them (PREFIX.iot.REGION.amazonaws.com); empty where it is
// another.
std::string region_of(const std::string& endpoint);

enum class For {
  device,  // this one, by its client id
  fleet    // each thing, by its own name: the client id, and what is called so in topics
};

// What the device of `config` needs and no more: to connect with its client id, to publish to
// topics.publish and will-topic, to subscribe to topics.subscribe and to receive what comes there,
// and to take its role-alias. JSON. Throws Error: of kind environment where `config` says too
// little, usage for an account or region that is none.
std::string device_policy(const DeviceConfig& config, const Account& account, For whom);

// What a claim certificate needs for `provision()`: of `config` the template-name counts.
std::string claim_policy(const DeviceConfig& config, const Account& account);

}  // namespace hwid::transport::aws
