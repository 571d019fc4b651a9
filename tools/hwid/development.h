// Directories with all that a token for development needs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/hwid/directory_lock.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

// One directory that `hwid init` fills, held against other runs. What was made is removed unless it
// is kept, and by the next run where this one was killed: a file in it tells what that is. Throws
// kExists where something of it is there already. One thread.
class Development {
 public:
  // `name` is that of the default directory, below the user's data (XDG Base Directories);
  // `bad_characters` cannot be in the directory's own name.
  Development(Invocation& invocation, const char* name, std::string_view bad_characters);
  ~Development();
  Development(const Development&) = delete;
  Development& operator=(const Development&) = delete;

  const std::string& directory() const noexcept { return directory_; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  void write(const std::string& name, std::string_view content, mode_t mode);
  void make_directory(const std::string& name);
  // Somebody else is about to make that file.
  void announce(const std::string& name);
  // hwid.cnf with the settings, device.conf, and at last openssl.cnf, which includes hwid.cnf: once
  // it is there, the directory is of use, and no later run removes anything.
  void write_configuration(const std::string& settings);
  void keep() noexcept;

  // What is made, and how to go on; `facts` are told in both forms.
  void show(Output& out, const std::string& heading,
            const std::vector<std::pair<std::string, std::string>>& facts,
            const std::vector<std::string>& commands) const;

 private:
  void remove_unfinished();

  std::string directory_;
  std::optional<DirectoryLock> lock_;
  std::vector<std::string> made_;  // names in the directory
  bool kept_ = false;
};

}  // namespace hwid::tool
