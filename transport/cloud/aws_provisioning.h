#pragma once

#include <hwid/device_config.h>

#include <ctime>
#include <functional>
#include <optional>
#include <string>

#include "transport/cloud/provisioning.h"
#include "transport/secret_text.h"

// AWS IoT Core's fleet provisioning by claim: "Device provisioning MQTT API" and "Provisioning
// devices that don't have device certificates using fleet provisioning" in AWS's documentation.
namespace hwid::transport::aws {

// A certificate that AWS made for a request of ours; and the files of `aws iot
// create-certificate-from-csr`, which hold the same.
struct Issued {
  std::string certificate_id;
  std::string certificate_arn;  // of the files
  std::string certificate_pem;
};

// One that no thing has yet: whoever has the token may register it, on any connection, until the
// token ends; AWS deletes it then.
struct Unregistered {
  Issued issued;
  SecretText token;
  std::time_t ends = 0;  // of the token
};

struct Registration {
  Issued issued;
  std::string thing_name;
  std::string device_configuration;  // JSON, as the template has it; empty: none
};

using Keep = std::function<void(const Unregistered&)>;

// CreateCertificateFromCsr and RegisterThing with the claim certificate: `config` has endpoint,
// claim-cert, claim-key, template-name and template-parameters. The certificate is checked to be
// for the key of `csr` (PEM), and given to `keep` before it is registered: after that it may be
// good although no answer ever came. Where the connection breaks, or no answer comes, the same
// certificate is registered over the next one; so is `begun`, what a run before has kept. Another
// one is asked for where its token has ended, or AWS does not take it any more.
// Throws Error: of kind environment for what `config` lacks, refused for a no or an answer that
// makes no sense. Blocks for patience.total and one answer at most. Threads: any.
Registration provision(const DeviceConfig& config, const std::string& csr,
                       std::optional<Unregistered> begun, const Keep& keep,
                       const cloud::Patience& patience = {});

// What provision() would say of `config` before it connects. Throws Error.
void check_provisioning(const DeviceConfig& config);

// Of template-name alone.
void check_template_name(const DeviceConfig& config);

// Where it asks, and as whom: a claim is shared by many devices, and one that is in service has the
// connection of its own client id.
constexpr const char* kCreateTopic = "$aws/certificates/create-from-csr/json";
std::string provision_topic(const std::string& template_name);
constexpr const char* kClaimClient = "hwid-claim-";  // and a random name

// The JSON that `aws iot create-certificate-from-csr` prints. Throws Error of kind refused; `file`
// names it there.
Issued parse_issued(const std::string& file, const std::string& json);

// Throws Error of kind refused where the first certificate of `pem` is not for the key of `csr`.
void check_issued_for(const Issued& issued, const std::string& csr);

}  // namespace hwid::transport::aws
