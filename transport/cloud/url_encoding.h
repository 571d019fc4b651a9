#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hwid::transport::cloud {

// RFC 3986: everything but unreserved characters as %XX.
std::string url_encode(std::string_view text);

// The inverse; a percent sign that no two digits follow stays. `+` is a plus sign.
std::string url_decode(std::string_view text);

// NAME=VALUE&NAME=VALUE, decoded, in order; a name without `=` has an empty value.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view text);

}  // namespace hwid::transport::cloud
