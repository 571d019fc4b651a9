#pragma once

#include <exception>
#include <string>

namespace hwid::transport {

// One line to stderr in one write, "hwid-transport: TEXT". Never throws. Threads: any.
void log_line(const std::string& text) noexcept;

// Runs `body`; an exception becomes a log line that says where it came from. The one guard for
// code that must not be left by an exception: user handlers, and callbacks from C.
template <typename Body>
void guarded(const char* where, Body&& body) noexcept {
  try {
    body();
  } catch (const std::exception& error) {
    log_line(std::string(where) + " threw: " + error.what());
  } catch (...) {
    log_line(std::string(where) + " threw something that is no std::exception");
  }
}

}  // namespace hwid::transport
