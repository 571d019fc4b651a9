#include "tools/hwid/pin/random_pin.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "provider/core/error.h"

namespace hwid::tool {

core::Secret random_pin(std::size_t shortest, std::size_t longest) {
  constexpr std::size_t kWanted = 32;       // 106 bits
  constexpr std::uint8_t kFairLimit = 250;  // bytes from here on would favour small digits
  std::size_t size = std::max(kWanted, shortest);
  if (longest != 0) size = std::min(size, longest);
  core::Secret pin(size);
  core::Secret byte(std::size_t{1});
  for (std::size_t at = 0; at < size;) {
    if (::getrandom(byte.writable().data(), 1, 0) != 1) {
      if (errno == EINTR) continue;
      throw core::Error(core::Reason::kInternal, std::string("getrandom: ") + std::strerror(errno) +
                                                     "; give a PIN with --new-pin-source");
    }
    const std::uint8_t value = byte.reveal()[0];
    if (value < kFairLimit) pin.writable()[at++] = static_cast<std::uint8_t>('0' + value % 10);
  }
  return pin;
}

}  // namespace hwid::tool
