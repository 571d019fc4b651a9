#pragma once

namespace hwid::bench {

// Of this process: what it has alone, and its share of what it shares (proc(5), Pss). Throws
// std::runtime_error.
double proportional_bytes();

}  // namespace hwid::bench
