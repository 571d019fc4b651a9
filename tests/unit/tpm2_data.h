// The files of tests/unit/data/tss2.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "provider/core/bytes.h"
#include "provider/tpm2/key_file.h"
#include "tests/fixture/files.h"

namespace hwid::test {

inline std::filesystem::path tss2_path(const std::string& name) {
  const char* const tests = std::getenv("HWID_TESTS_DIR");
  return std::filesystem::path(tests == nullptr ? "tests" : tests) / "unit/data/tss2" / name;
}

inline core::Bytes tss2_file(const std::string& name) {
  const std::string text = read_file(tss2_path(name));
  return {text.begin(), text.end()};
}

inline tpm2::Tss2Key tss2_key(const std::string& name) {
  return std::get<tpm2::Tss2Key>(tpm2::parse_key_file(tss2_file(name)));
}

}  // namespace hwid::test
