#include "transport/log.h"

#include <unistd.h>

namespace hwid::transport {

void log_line(const std::string& text) noexcept {
  try {
    const std::string line = "hwid-transport: " + text + "\n";
    // Nothing can be done about a stderr that is gone.
    if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
  } catch (...) {
    return;
  }
}

}  // namespace hwid::transport
