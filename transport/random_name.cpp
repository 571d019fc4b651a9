#include "transport/random_name.h"

#include <random>

namespace hwid::transport {

std::string random_name() {
  constexpr char kHex[] = "0123456789abcdef";
  constexpr int kDigits = 32;
  std::random_device random;
  std::string name;
  for (int i = 0; i < kDigits; ++i) name += kHex[random() % 16];
  return name;
}

}  // namespace hwid::transport
