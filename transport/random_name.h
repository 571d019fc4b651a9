#pragma once

#include <string>

namespace hwid::transport {

// 32 hexadecimal digits at random: tells one request from every other.
std::string random_name();

}  // namespace hwid::transport
