// What the fuzz targets claim, beyond that nothing crashes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include "provider/core/error.h"

namespace hwid::fuzz {

// Ends the process, so that the fuzzer keeps the input.
inline void require(bool holds, const char* claim, std::string_view shown = {}) {
  if (holds) return;
  std::fprintf(stderr, "NOT TRUE: %s\n%.*s\n", claim, static_cast<int>(shown.size()), shown.data());
  std::abort();
}

// Stands where an input has a PIN; nothing else that is fuzzed holds it.
inline constexpr std::string_view kPin = "Zq7pinvX";

inline bool shows_pin(std::string_view text) { return text.find(kPin) != text.npos; }

// Of every error that a program sees.
inline void require_good_error(const core::Error& error) {
  const std::string_view text = error.what();
  const int reason = static_cast<int>(error.reason);
  require(reason > static_cast<int>(core::Reason::kInternal) && reason <= core::kLastReason,
          "an error has a reason of its own", text);
  require(!text.empty(), "an error has a text");
  require(text.size() < 65536, "an error's text can be read", text.substr(0, 200));
  require(!shows_pin(text), "an error shows no PIN", text);
  require(error.code != "CKR_OK", "success is no error", text);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  require(std::none_of(text.begin(), text.end(), is_control), "an error is one line", text);
  require(error.where.file != nullptr && *error.where.file != '\0', "an error has a place", text);
}

// True if `body` came to its end; what it throws is an error with one of the reasons.
template <typename Body>
bool succeeds(Body&& body, std::initializer_list<core::Reason> allowed) {
  try {
    body();
    return true;
  } catch (const core::Error& error) {
    require_good_error(error);
    require(std::ranges::find(allowed, error.reason) != allowed.end(),
            "an error has one of the reasons that are promised", error.what());
    return false;
  }
}

}  // namespace hwid::fuzz

// libFuzzer's two entry points; replay.cpp calls them, too. Whatever leaves the first is a finding.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments);
