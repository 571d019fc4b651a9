#include "transport/https/explain.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "transport/credentials.h"
#include "transport/foreign_json.h"
#include "transport/tls_diagnosis.h"
#include "transport/tls_settings.h"

namespace hwid::transport::https {

namespace {

constexpr std::size_t kShownBody = 200;

TlsSettings https_settings_of(const DeviceConfig& config, const Endpoint& endpoint,
                              const Credentials& credentials) {
  TlsSettings tls = tls_settings_of(config, endpoint, credentials);
  if (config.min_tls)
    tls.minimum_version = *config.min_tls == TlsVersion::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
  return tls;
}

}  // namespace

Error explain(const DeviceConfig& config, const Endpoint& endpoint, const Error& error) {
  try {
    const Credentials credentials = Credentials::load(config);
    const Diagnosis found = diagnose(https_settings_of(config, endpoint, credentials));
    if (found.good()) return error;
    const bool about_us = std::string(name_of(found.cause)).rfind("client_", 0) == 0;
    return {about_us ? ErrorKind::refused : ErrorKind::environment, "connect", config.endpoint,
            found.text(), found.next_step};
  } catch (const Error&) {
    return error;
  }
}

std::string words_of(const Response& response) {
  std::string words;
  const auto document = parse_foreign_json(response.body);
  if (document.is_object())
    for (const char* key : {"message", "Message", "error", "traceId"})
      if (const auto value = document.find(key); value != document.end() && value->is_string())
        words += (words.empty() ? "" : ", ") + value->get<std::string>();
  if (words.empty()) words = response.body;
  words = words.substr(0, kShownBody);
  std::replace_if(
      words.begin(), words.end(), [](unsigned char c) { return c < ' ' || c == 127; }, ' ');
  words.erase(words.find_last_not_of(' ') + 1);
  return words;
}

}  // namespace hwid::transport::https
