// hwid aws credentials: temporary credentials for AWS's other services, by the device's key.
#include <hwid/transport_error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>

#include "provider/core/error.h"
#include "provider/core/secret.h"
#include "tools/hwid/aws/credential_cache.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/default_context.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/facts.h"
#include "tools/hwid/key_source.h"
#include "transport/cloud/aws_credentials.h"

namespace hwid::tool {
namespace {

using transport::DeviceConfig;
using transport::aws::TemporaryCredentials;

// They are renewed while they are still good: what they are for may take a while.
constexpr std::time_t kMargin = 300;
constexpr std::uint32_t kUsualTimeout = 10;
constexpr std::uint32_t kMostTimeout = 300;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"), "the device.conf");
  add("cache-file", po::value<std::string>()->value_name("FILE"),
      "keep them there until shortly before they end (default: in the kernel's keyring, never on "
      "disk)");
  add("no-cache", po::bool_switch(), "keep them nowhere, and take none that were kept");
  add("timeout", po::value<std::uint32_t>()->value_name("SECONDS"),
      "for the service's answer (default: 10)");
}

// Of one device, role and user.
std::string cache_name(Invocation& invocation, const DeviceConfig& config) {
  const std::string whose = config.credentials_endpoint + "\n" + config.role_alias + "\n" +
                            config.thing_name + "\n" + config.cert;
  return "hwid-aws-" + fingerprint_of(invocation.software(), core::as_bytes(whose));
}

std::unique_ptr<aws::CredentialCache> cache_of(Invocation& invocation, const DeviceConfig& config) {
  if (invocation.flag("no-cache")) return nullptr;
  if (invocation.has("cache-file"))
    return std::make_unique<aws::FileCache>(invocation.text("cache-file"),
                                            cache_name(invocation, config));
  return std::make_unique<aws::KeyringCache>(cache_name(invocation, config));
}

// What is no answer of ours, or is over, counts as nothing.
std::optional<TemporaryCredentials> kept_in(aws::CredentialCache* cache) {
  std::optional<std::string> text = cache != nullptr ? cache->load() : std::nullopt;
  if (!text) return std::nullopt;
  const core::Cleansed guard(*text);
  try {
    TemporaryCredentials credentials = transport::aws::parse_process_form("the cache", *text);
    if (credentials.ends > std::time(nullptr)) return credentials;
  } catch (const transport::Error&) {
  }
  return std::nullopt;
}

TemporaryCredentials fetch(Invocation& invocation, const DeviceConfig& config,
                           std::chrono::seconds timeout) {
  // Logs in, asking for a PIN where one is needed; as long as it is open, so is the token.
  const core::EvpPkey key = open_private_key(invocation, config.key);
  (void)prepare_default_context(invocation);
  TemporaryCredentials credentials = transport::aws::fetch_credentials(config, timeout);
  if (credentials.ends <= std::time(nullptr))
    throw transport::Error(
        transport::ErrorKind::refused, "ask for credentials", config.credentials_endpoint,
        "they ended before they came: " + credentials.expiration, "set this machine's clock");
  return credentials;
}

// By no stream, whose buffer would keep them.
void print(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      throw core::Error(
          core::Reason::kNotPermitted,
          std::string("standard output: ") + std::strerror(errno) + "; is the pipe closed?");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Where that fails they are good all the same.
void keep(aws::CredentialCache& cache, const TemporaryCredentials& credentials) {
  const std::time_t left = credentials.ends - std::time(nullptr);
  if (left <= kMargin) return;
  std::string text = transport::aws::process_form(credentials);
  const core::Cleansed guard(text);
  try {
    cache.keep(text, std::chrono::seconds(left));
  } catch (const core::Error& error) {
    Output::note(std::string(error.what()) + "; the credentials are good, and not kept");
  }
}

// The service says no to the device, or to the role: what was kept is not to be used either. One
// that is ill, or wants less to do, says nothing about that.
bool is_refusal(const transport::Error& error) {
  constexpr int kRequestTimeout = 408;
  constexpr int kTooManyRequests = 429;
  constexpr int kServerError = 500;
  const int status = error.status();
  const bool is_ill =
      status == kRequestTimeout || status == kTooManyRequests || status >= kServerError;
  return error.kind() == transport::ErrorKind::refused && !is_ill;
}

TemporaryCredentials current(Invocation& invocation, const DeviceConfig& config,
                             std::chrono::seconds timeout) {
  const auto cache = cache_of(invocation, config);
  auto kept = kept_in(cache.get());
  if (kept && kept->ends - kMargin > std::time(nullptr)) return std::move(*kept);
  std::string why;
  try {
    TemporaryCredentials fresh = fetch(invocation, config, timeout);
    if (cache) keep(*cache, fresh);
    return fresh;
  } catch (const transport::Error& error) {
    if (!kept || is_refusal(error)) throw;
    why = error.what();
  } catch (const core::Error& error) {  // the token, or its PIN
    if (!kept) throw;
    why = error.what();
  }
  Output::note(why + "; those that were kept are still good");
  return std::move(*kept);
}

Exit run(Invocation& invocation) {
  if (invocation.flag("no-cache") && invocation.has("cache-file"))
    throw UsageError("--no-cache, --cache-file: one of them");
  const auto timeout = invocation.value<std::uint32_t>("timeout").value_or(kUsualTimeout);
  if (timeout == 0 || timeout > kMostTimeout)
    throw UsageError("--timeout: 1 to " + std::to_string(kMostTimeout) + " seconds");
  const DeviceConfig config = enrol::read_device_conf(invocation);
  transport::aws::check_credential_settings(config);
  const TemporaryCredentials credentials =
      current(invocation, config, std::chrono::seconds(timeout));
  std::string text = transport::aws::process_form(credentials) + "\n";
  const core::Cleansed guard(text);
  print(text);
  return kGood;
}

}  // namespace

const Command kAwsCredentials = {
    "aws credentials",
    "--config FILE [--cache-file FILE | --no-cache]",
    "temporary credentials for AWS, by the device's key",
    "Asks the credential provider of AWS IoT Core for the role of role-alias, by mutual TLS with "
    "cert\n"
    "and key of device.conf, and prints what the AWS CLI and SDKs take from a credential_process. "
    "They\n"
    "are kept until five minutes before they end: in the kernel's keyring, and never on disk "
    "unless\n"
    "--cache-file asks for it. Whoever reads the output has them.",
    "  hwid aws credentials --config /etc/hwid/device.conf\n"
    "  # ~/.aws/config\n"
    "  [profile device]\n"
    "  credential_process = hwid aws credentials --config /etc/hwid/device.conf\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
