// Lines of a file that may be huge, damaged, or no text at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hwid::tool::audit {

// Reads a file, or the standard input ("-"), from its beginning, in constant memory. One thread.
class Lines {
 public:
  // Throws core::Error (kNotPermitted) where it cannot be opened, is a directory, or is compressed.
  explicit Lines(std::string path);
  ~Lines();
  Lines(Lines&& other) noexcept;
  Lines& operator=(Lines&&) = delete;

  // The next line without its end, valid until the next call; false at the end. Of a line longer
  // than kLongestLine only a part comes, which is longer still, so that it is told apart. Throws
  // as the constructor does.
  bool next(std::string_view& line);
  // Anew from the beginning. REQUIRES: can_rewind().
  void rewind();
  bool can_rewind() const noexcept { return regular_; }  // false of a pipe
  // The same file under whatever name. False of the standard input and of pipes.
  bool same_file(const Lines& other) const noexcept;
  const std::string& path() const noexcept { return path_; }

 private:
  bool fill();
  [[noreturn]] void fail(const char* call, int error) const;

  std::string path_;
  int fd_ = -1;
  bool regular_ = false;
  unsigned long long device_ = 0;
  unsigned long long inode_ = 0;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool first_ = true;
  std::string line_;
};

}  // namespace hwid::tool::audit
