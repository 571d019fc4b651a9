// OpenSSL's default library context: the one that libssl, libcurl and Paho take keys from.
#pragma once

#include "tools/hwid/invocation.h"

namespace hwid::tool {

// Gives it what a program gets that reads this command's openssl.cnf, hwid among it. False where
// that did not go well; invocation.crypto() says why.
bool prepare_default_context(Invocation& invocation);

}  // namespace hwid::tool
