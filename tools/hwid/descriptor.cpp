#include "tools/hwid/descriptor.h"

#include <cstring>

#include "provider/core/error.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {

using core::Error;
using core::Reason;

void fail_on_file(const char* call, const std::string& path, int error, const char* next) {
  throw Error(Reason::kNotPermitted, std::string(call) + ": file=" + without_query(path) + ": " +
                                         std::strerror(error) + "; " + next);
}

}  // namespace hwid::tool
