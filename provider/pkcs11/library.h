// The file of a PKCS#11 module, mapped into this process.
#pragma once

#include <string>

#include "provider/pkcs11/cryptoki.h"

namespace hwid::pkcs11 {

enum class Mapping {
  shared,  // one a process, as dlopen has it
  own      // one more, whose variables nobody else has
};

// Maps the module at `path` (a file, or a name for dlopen's own search), never to be unmapped, and
// returns its functions; calls nothing else. Throws kModuleNotLoadable, kNotAModule.
CK_FUNCTION_LIST* load_library(const std::string& path, Mapping mapping);

}  // namespace hwid::pkcs11
