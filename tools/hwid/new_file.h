// A file that is made beside the one that it is to become.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "tools/hwid/files.h"

namespace hwid::tool {

// Its content lies in a temporary file in the same directory, synced, until place() gives it its
// name in one step: a power loss leaves the old file or the whole new one. What was not placed is
// removed. Throws kNotPermitted. One thread.
class NewFile {
 public:
  NewFile(std::string path, std::string_view content, mode_t mode);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Owner, group, mode, access lists and labels of another file, as far as the user may set them.
  void take_attributes_of(const std::string& other);
  // Where the content is until it is placed.
  const std::string& temporary() const noexcept { return temporary_; }
  // False if the name is taken and must not be. REQUIRES: not placed yet; what is at the path was
  // looked at (require_writable).
  bool place(Existing existing);

 private:
  const std::string path_;
  std::string temporary_;  // empty: placed
};

// Gives the file another name, in place of what has it, and syncs the directory of `to`. Throws
// kNotPermitted.
void rename_synced(const std::string& from, const std::string& to);

}  // namespace hwid::tool
