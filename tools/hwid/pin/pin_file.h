// The file that holds a PIN, while the PIN is changed.
#pragma once

#include <string>

#include "provider/core/log.h"
#include "provider/core/secret.h"
#include "tools/hwid/directory_lock.h"

namespace hwid::tool {

// PATH has the PIN that was valid before the change, PATH.new the one that comes: it is there
// before the token learns of it and takes PATH's name after, so at each moment one of the two is
// right. Whoever finds a PATH.new knows that a change was interrupted. Symbolic links are followed.
// Holds the directory against other runs. Throws kNotPermitted, kBadParameter. One thread.
class PinFile {
 public:
  PinFile(const std::string& path, const core::Log& log);

  const std::string& path() const noexcept { return path_; }
  const std::string& next_path() const noexcept { return next_path_; }

  bool has_next() const;
  core::Secret next() const;  // the PIN in PATH.new; throws what read_pin_source throws

  // Writes PATH.new, synced: the PIN, and what PATH has behind its own (an end of line, as a rule).
  // Owner, group and mode are PATH's, or 0600 where that is not there. Throws kNotPermitted where
  // the owner cannot be the same: programs could not read it.
  void write_next(const core::Secret& pin);
  void drop_next() noexcept;
  // PATH.new becomes PATH, synced.
  void take_next();

 private:
  const std::string path_;
  const std::string next_path_;
  const core::Log& log_;
  const DirectoryLock lock_;
};

// Throws kBadParameter for a PIN that a file cannot hold (what is read from it is its first line).
void require_fit_for_file(const core::Secret& pin);

}  // namespace hwid::tool
