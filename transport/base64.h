#pragma once

#include <string>
#include <string_view>

namespace hwid::transport {

// RFC 4648, section 4, in one line. Throws std::bad_alloc.
std::string to_base64(std::string_view bytes);

}  // namespace hwid::transport
