// A directory that one process at a time changes.
#pragma once

#include <string>

namespace hwid::tool {

// Holds the directory against other processes that do the same; they wait, and say so. Nothing is
// left in it. Throws kNotPermitted; messages end with `next_step`.
class DirectoryLock {
 public:
  // `whose`: what is waited for ("`hwid ca`").
  DirectoryLock(const std::string& directory, const char* whose, const char* next_step);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int fd_;
};

}  // namespace hwid::tool
