// Any broker or web server: no rule but those of the protocol.
#include "transport/cloud/rules.h"

namespace hwid::transport::cloud {

const Rules kGeneric = {"this broker", {},      443,     nullptr, nullptr, "/mqtt",
                        nullptr,       nullptr, nullptr, nullptr, nullptr};

}  // namespace hwid::transport::cloud
