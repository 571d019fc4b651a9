#pragma once

#include <unistd.h>

#include <iostream>
#include <iterator>
#include <optional>
#include <string>

#include "command_line.h"

namespace sample {

// Where payloads come from: --message TEXT, --message - (all of stdin), or --lines (each line of
// stdin); the first two --count times.
class Payloads {
 public:
  static void add_options(po::options_description& options) {
    options.add_options()  //
        ("message,m", po::value<std::string>(), "the payload; - for all of the standard input")
        //
        ("lines,l", po::bool_switch(), "a payload for each line of the standard input")
        //
        ("count,n", po::value<unsigned>()->default_value(1), "the payload that often");
  }

  explicit Payloads(const po::variables_map& values) : by_line_(values["lines"].as<bool>()) {
    if (by_line_ == (values.count("message") != 0))
      throw UsageError("give either --message or --lines");
    if (by_line_ && !values["count"].defaulted())
      throw UsageError("--count does not go with --lines");
    if (by_line_) return;
    left_ = values["count"].as<unsigned>();
    payload_ = values["message"].as<std::string>();
    if (payload_ == "-") payload_.assign(std::istreambuf_iterator<char>(std::cin), {});
    check_input();
  }

  // Nothing after the last one.
  std::optional<std::string> next() {
    if (!by_line_) return left_-- > 0 ? std::optional(payload_) : std::nullopt;
    std::string line;
    if (std::getline(std::cin, line)) return line;
    check_input();
    return std::nullopt;
  }

 private:
  static void check_input() {
    if (std::cin.bad()) throw std::runtime_error("cannot read the standard input");
  }

  bool by_line_;
  unsigned left_ = 0;
  std::string payload_;
};

// A counter on stderr that stays in its line; nothing where stderr is no terminal.
class Progress {
 public:
  explicit Progress(const char* what) : what_(what) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (visible_ && done_ > 1) std::cerr << "\n";
  }
  void add() {
    if (visible_ && ++done_ > 1) std::cerr << "\r" << done_ << " " << what_ << std::flush;
  }

 private:
  const char* what_;
  const bool visible_ = ::isatty(STDERR_FILENO) != 0;
  unsigned done_ = 0;
};

}  // namespace sample
