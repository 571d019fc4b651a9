#include "tools/hwid/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "provider/core/error.h"
#include "tools/hwid/output.h"

namespace hwid::tool {

using core::Error;
using core::Reason;

DirectoryLock::DirectoryLock(const std::string& directory, const char* whose, const char* next_step)
    : fd_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  const auto fail = [&](const char* call, int error) {
    throw Error(Reason::kNotPermitted, std::string(call) + ": directory=" + directory + ": " +
                                           std::strerror(error) + "; " + next_step);
  };
  if (fd_ < 0) fail("open", errno);
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  if (errno == EWOULDBLOCK)
    Output::note(std::string("waiting for another ") + whose + " in " + directory);
  while (::flock(fd_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    ::close(fd_);
    fail("flock", error);
  }
}

DirectoryLock::~DirectoryLock() { ::close(fd_); }

}  // namespace hwid::tool
