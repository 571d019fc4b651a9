// Reading and answering OSSL_PARAMs of operations, with errors that name the parameter.
#pragma once

#include <openssl/params.h>

#include <optional>
#include <span>
#include <string>
#include <utility>

#include "provider/core/bytes.h"

namespace hwid::ossl {

[[noreturn]] void bad_parameter(const std::string& name, const std::string& why);

// Throw kBadParameter for a parameter of another type; nullopt where it is not given.
std::optional<std::string> text_param(const OSSL_PARAM params[], const char* name);
// The view is of the caller's memory.
std::optional<core::ByteView> bytes_param(const OSSL_PARAM params[], const char* name);
std::optional<unsigned> number_param(const OSSL_PARAM params[], const char* name);

// What a mode is called in numbers and words: OpenSSL's programs use both.
using ModeName = std::pair<int, const char*>;

// A number, or a string that is one of `names` or a number.
std::optional<int> mode_param(const OSSL_PARAM params[], const char* name,
                              std::span<const ModeName> names);

// Answer what is asked for, and leave out what is not. Throw kBadParameter where there is no room.
void set_mode(OSSL_PARAM* param, int value, std::span<const ModeName> names);
void set_text(OSSL_PARAM params[], const char* name, const char* text);

}  // namespace hwid::ossl
