#pragma once

#include <hwid/transport.h>

#include <boost/program_options.hpp>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

// What the samples share: options, and exit codes.
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

// The options of the command line; ends the program after --help.
inline po::variables_map parse(int argc, char** argv, const po::options_description& options,
                               const char* about, const char* example) {
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
              << options << "\nExample:\n  " << example
              << "\n\nOPENSSL_CONF names the openssl.cnf that loads the provider of the key.\n"
                 "Exit: 0 good, 1 the answer is no, 2 usage, 3 environment.\n";
    std::exit(kGood);
  }
  return values;
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
