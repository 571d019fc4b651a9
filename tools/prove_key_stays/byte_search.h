// Finding a secret number in files, however it is written there.
#pragma once

#include <bitset>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "provider/core/secret.h"

namespace hwid::prove {

// Looks for numbers as big-endian bytes (so in DER, too), little-endian bytes, machine words of a
// big-endian machine, hexadecimal digits and base64. Each number is looked for in pieces of 32
// bytes, since a copy that was overwritten in part is a leak all the same. Immutable once all is
// added.
class ByteSearch {
 public:
  ByteSearch() : seen_(std::make_unique<std::bitset<kPrefixes>>()) {}

  // `number`: big-endian.
  void add(const std::string& name, core::ByteView number);

  // Where in the file something was found ("CKA_PRIME_1 as little-endian bytes at 0x1234"); one
  // entry for each form. Throws if the file cannot be read.
  std::vector<std::string> search(const std::filesystem::path& file) const;

 private:
  enum Kind { kBinary, kHex, kBase64 };
  static constexpr std::size_t kPrefixSize = 3;
  static constexpr std::size_t kPrefixes = std::size_t{1} << (8 * kPrefixSize);

  struct Pattern {
    core::Secret bytes;
    std::string what;
    Kind kind;
  };

  void add_pattern(Kind kind, core::ByteView bytes, const std::string& what);
  void add_base64(core::ByteView piece, const std::string& what);
  void search_in(core::ByteView text, bool binary, std::vector<std::string>& found) const;
  static std::size_t prefix(const std::uint8_t* at) noexcept {
    return at[0] | std::size_t{at[1]} << 8 | std::size_t{at[2]} << 16;
  }

  std::vector<Pattern> patterns_;
  std::unordered_multimap<std::size_t, std::size_t> by_prefix_;  // to an index of patterns_
  std::unique_ptr<std::bitset<kPrefixes>> seen_;
};

}  // namespace hwid::prove
