#pragma once

#include <hwid/transport.h>
#include <openssl/evp.h>

#include <chrono>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

// Messages as lines on stdout.
namespace sample {

// RFC 3339, UTC, microseconds.
inline std::string now_text() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = micros / 1000000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  const auto size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text + size, sizeof text - size, ".%06dZ", static_cast<int>(micros % 1000000));
  return text;
}

inline std::string base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock ends it with a NUL
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

// Sets `name` to the text, or, where it is no UTF-8 and so nothing for JSON, `name`Base64.
inline void put(nlohmann::ordered_json& object, const std::string& name, const std::string& bytes) {
  try {
    static_cast<void>(nlohmann::json(bytes).dump());
    object[name] = bytes;
  } catch (const nlohmann::json::type_error&) {
    object[name + "Base64"] = base64(bytes);
  }
}

// A message as one line of JSON; `time` is when it was printed.
inline std::string json_line(const hwid::transport::Message& message) {
  nlohmann::ordered_json line = {{"time", now_text()}};
  put(line, "topic", message.topic);
  put(line, "payload", message.payload);
  line["qos"] = static_cast<int>(message.qos);
  if (message.retain) line["retain"] = true;
  const auto& properties = message.properties;
  if (!properties.content_type.empty()) put(line, "contentType", properties.content_type);
  if (!properties.response_topic.empty()) put(line, "responseTopic", properties.response_topic);
  if (!properties.correlation_data.empty())
    put(line, "correlationData", properties.correlation_data);
  for (const auto& [name, value] : properties.user) put(line["user"], name, value);
  return line.dump();
}

// One line to stdout, at once. Throws where it cannot be written (a pipe's reader is gone, a disk
// is full): a program that goes on would lose messages silently.
inline void print_line(const std::string& line) {
  std::cout << line << std::endl;
  if (!std::cout) throw std::runtime_error("cannot write to the standard output");
}

}  // namespace sample
