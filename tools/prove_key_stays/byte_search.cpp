#include "tools/prove_key_stays/byte_search.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "provider/core/error.h"

namespace hwid::prove {
namespace {

constexpr std::size_t kPieceSize = 32;
constexpr std::size_t kWordSize = 8;

// A file's contents, mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (file >= 0 && fstat(file, &status) == 0 && status.st_size > 0) {
      size_ = static_cast<std::size_t>(status.st_size);
      memory_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    }
    const int error = errno;
    if (file >= 0) close(file);
    if (file < 0 || memory_ == MAP_FAILED)
      throw core::Error(core::Reason::kInternal, "read " + path.string() + ": " +
                                                     std::strerror(error) +
                                                     "; make it readable, or leave it out");
  }
  ~MappedFile() {
    if (memory_ != nullptr) munmap(memory_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  core::ByteView bytes() const noexcept {
    return {static_cast<const std::uint8_t*>(memory_), size_};
  }

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

// What separates the digits of one number in text: blanks, line ends, "ab:cd", "ab-cd".
bool is_separator(std::uint8_t c) noexcept { return std::isspace(c) != 0 || c == ':'; }

// The text of a file as one line; `lower`: in small letters, as hexadecimal digits are searched.
core::Bytes joined(core::ByteView text, bool lower) {
  core::Bytes line;
  line.reserve(text.size());
  for (const std::uint8_t c : text) {
    if (is_separator(c)) continue;
    line.push_back(lower ? static_cast<std::uint8_t>(std::tolower(c)) : c);
  }
  return line;
}

}  // namespace

void ByteSearch::add(const std::string& name, core::ByteView number) {
  while (!number.empty() && number.front() == 0) number = number.subspan(1);
  for (std::size_t at = 0; at + kPieceSize <= number.size(); at += kPieceSize) {
    const core::ByteView piece = number.subspan(at, kPieceSize);
    core::Secret turned(piece);
    const auto bytes = turned.writable();
    add_pattern(kBinary, piece, name + " as big-endian bytes");
    std::reverse(bytes.begin(), bytes.end());
    add_pattern(kBinary, bytes, name + " as little-endian bytes");
    // Words in little-endian order, their bytes in big-endian order.
    for (std::size_t word = 0; word < kPieceSize; word += kWordSize)
      std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(word),
                   bytes.begin() + static_cast<std::ptrdiff_t>(word + kWordSize));
    add_pattern(kBinary, bytes, name + " as machine words");
    add_pattern(kHex, core::as_bytes(core::to_hex(piece)), name + " in hexadecimal");
    add_base64(piece, name + " in base64");
  }
}

void ByteSearch::add_base64(core::ByteView piece, const std::string& what) {
  for (std::size_t shift = 0; shift < 3; ++shift) {
    core::Bytes shifted(shift);
    shifted.insert(shifted.end(), piece.begin(), piece.end());
    core::Bytes text(4 * ((shifted.size() + 2) / 3) + 1);
    EVP_EncodeBlock(text.data(), shifted.data(), static_cast<int>(shifted.size()));
    // Characters that depend on the piece alone.
    const std::size_t first = (8 * shift + 5) / 6;
    const std::size_t last = 8 * shifted.size() / 6;
    add_pattern(kBase64, core::ByteView(text).subspan(first, last - first), what);
  }
}

void ByteSearch::add_pattern(Kind kind, core::ByteView bytes, const std::string& what) {
  by_prefix_.emplace(prefix(bytes.data()), patterns_.size());
  seen_->set(prefix(bytes.data()));
  patterns_.push_back({core::Secret(bytes), what, kind});
}

void ByteSearch::search_in(core::ByteView text, bool binary,
                           std::vector<std::string>& found) const {
  for (std::size_t at = 0; at + kPrefixSize <= text.size(); ++at) {
    if (!seen_->test(prefix(&text[at]))) continue;
    const auto [begin, end] = by_prefix_.equal_range(prefix(&text[at]));
    for (auto candidate = begin; candidate != end; ++candidate) {
      const Pattern& pattern = patterns_[candidate->second];
      const auto bytes = pattern.bytes.reveal();
      if ((pattern.kind == kBinary) != binary || bytes.size() > text.size() - at ||
          std::memcmp(bytes.data(), &text[at], bytes.size()) != 0)
        continue;
      if (std::find(found.begin(), found.end(), pattern.what) == found.end())
        found.push_back(pattern.what);
    }
  }
}

std::vector<std::string> ByteSearch::search(const std::filesystem::path& file) const {
  std::vector<std::string> found;
  const MappedFile contents(file);
  search_in(contents.bytes(), true, found);
  search_in(joined(contents.bytes(), true), false, found);   // hexadecimal digits
  search_in(joined(contents.bytes(), false), false, found);  // base64
  return found;
}

}  // namespace hwid::prove
