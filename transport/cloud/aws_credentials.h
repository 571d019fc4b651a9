#pragma once

#include <hwid/device_config.h>

#include <chrono>
#include <ctime>
#include <string>

// AWS IoT Core's credential provider: "Authorizing direct calls to AWS services using AWS IoT Core
// credential provider" in AWS's documentation.
namespace hwid::transport::aws {

// Good for a while, and as secret as a password. Move-only; the texts are cleansed at the end.
class TemporaryCredentials {
 public:
  TemporaryCredentials() = default;
  TemporaryCredentials(TemporaryCredentials&&) noexcept = default;
  TemporaryCredentials& operator=(TemporaryCredentials&&) noexcept = default;
  TemporaryCredentials(const TemporaryCredentials&) = delete;
  TemporaryCredentials& operator=(const TemporaryCredentials&) = delete;
  ~TemporaryCredentials();

  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;
  std::string expiration;  // as the service says it: RFC 3339
  std::time_t ends = 0;
};

// GET /role-aliases/ALIAS/credentials by mutual TLS with cert and key of `config`, which has
// credentials-endpoint, role-alias and thing-name. Throws Error: of kind environment for what
// `config` lacks, refused for a no (status() is the service's) or an answer that makes no sense.
// No message holds anything of an answer that may be a credential. Threads: any. Blocks.
TemporaryCredentials fetch_credentials(const DeviceConfig& config,
                                       std::chrono::milliseconds timeout);

// What fetch_credentials() would say of `config` before it connects. Throws Error.
void check_credential_settings(const DeviceConfig& config);

// In the form of the AWS CLI's credential_process ("Sourcing credentials with an external
// process"): JSON with Version 1. As secret as they are.
std::string process_form(const TemporaryCredentials& credentials);

// The inverse. Throws Error of kind refused for anything else; `where` names it.
TemporaryCredentials parse_process_form(const std::string& where, const std::string& text);

}  // namespace hwid::transport::aws
