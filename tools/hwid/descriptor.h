// Calls on files.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

namespace hwid::tool {

// Closed at its end, unless it is one of the three standard ones.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ > STDERR_FILENO) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// Throws kNotPermitted with what a call that failed on `path` with that errno says: no file is the
// fault of the machine or its keeper, whichever it is.
[[noreturn]] void fail_on_file(const char* call, const std::string& path, int error,
                               const char* next = "see that the directory is there and is yours");

}  // namespace hwid::tool
