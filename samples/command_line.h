#pragma once

#include <hwid/transport.h>

#include <boost/program_options.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

// What the samples share: options, exit codes, and the Message that options describe.
namespace sample {

namespace po = boost::program_options;

enum Exit { kGood = 0, kAnswerIsNo = 1, kUsage = 2, kEnvironment = 3 };

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline hwid::transport::Qos qos_of(int value) {
  if (value < 0 || value > 2) throw UsageError("--qos is 0, 1 or 2");
  return static_cast<hwid::transport::Qos>(value);
}

// The options of the command line; ends the program after --help. `examples`: a line each.
inline po::variables_map parse(int argc, char** argv, const po::options_description& options,
                               const char* about, const char* examples) {
  po::variables_map values;
  try {
    po::store(po::command_line_parser(argc, argv)
                  .options(options)
                  .positional(po::positional_options_description())
                  .run(),
              values);
    if (values.count("help") == 0) po::notify(values);
  } catch (const po::error& error) {
    throw UsageError(error.what());
  }
  if (values.count("help") != 0) {
    std::cout << about << "\n\n"
              << options << "\nExamples:\n"
              << examples
              << "\nOPENSSL_CONF names the openssl.cnf that loads the provider of the key.\n"
                 "Exit: 0 good, 1 the answer is no, 2 usage, 3 environment.\n";
    std::exit(kGood);
  }
  return values;
}

inline hwid::transport::DeviceConfig config_of(const po::variables_map& values) {
  return hwid::transport::DeviceConfig::read(values["config"].as<std::string>());
}

// --topic, or what the configuration says; `key` is its name there.
inline std::string topic_of(const po::variables_map& values, const std::string& configured,
                            const std::string& key) {
  if (values.count("topic") != 0) return values["topic"].as<std::string>();
  if (configured.empty()) throw UsageError("give --topic, or " + key + " in the configuration");
  return configured;
}

inline hwid::transport::Qos qos_of(const po::variables_map& values,
                                   const hwid::transport::DeviceConfig& config) {
  return values.count("qos") != 0 ? qos_of(values["qos"].as<int>()) : config.qos;
}

inline std::chrono::seconds seconds_of(const po::variables_map& values, const char* option) {
  return std::chrono::seconds(values[option].as<unsigned>());
}

// The value of a future; an Error of kind timeout where it is not there in time.
template <typename T>
T get(std::future<T> future, std::chrono::milliseconds timeout, const std::string& what_failed,
      const std::string& where) {
  if (future.wait_for(timeout) != std::future_status::ready)
    throw hwid::transport::Error(hwid::transport::ErrorKind::timeout, what_failed, where,
                                 "no answer in time", "raise --timeout, or look at the broker");
  return future.get();
}

// Runs a sample; an exception becomes one line on stderr and an exit code.
template <typename Body>
int run(const char* name, Body body) {
  using hwid::transport::ErrorKind;
  try {
    return body();
  } catch (const UsageError& error) {
    std::cerr << name << ": " << error.what() << "; see " << name << " --help\n";
    return kUsage;
  } catch (const hwid::transport::Error& error) {
    std::cerr << name << ": " << error.what() << "\n";
    if (error.kind() == ErrorKind::usage) return kUsage;
    const bool answered = error.kind() == ErrorKind::refused || error.kind() == ErrorKind::timeout;
    return answered ? kAnswerIsNo : kEnvironment;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << "\n";
    return kEnvironment;
  }
}

}  // namespace sample
