// Directories with all that a token for development needs.
#pragma once

#include <string>
#include <vector>

#include "tools/hwid/invocation.h"

namespace hwid::tool {

// One directory that `hwid init` fills. What was made is removed unless it is kept. Throws kExists
// where something of it is there already. One thread.
class Development {
 public:
  // `name` is that of the default directory, below the user's data (XDG Base Directories).
  Development(Invocation& invocation, const char* name);
  ~Development();
  Development(const Development&) = delete;
  Development& operator=(const Development&) = delete;

  const std::string& directory() const noexcept { return directory_; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  void write(const std::string& name, std::string_view content, mode_t mode);
  void make_directory(const std::string& name);
  // hwid.cnf with the settings, openssl.cnf that includes it, and device.conf.
  void write_configuration(const std::string& settings);
  void keep() noexcept { kept_ = true; }

  // What is made, and how to go on; `facts` are told in both forms.
  void show(Output& out, const std::string& heading,
            const std::vector<std::pair<std::string, std::string>>& facts,
            const std::vector<std::string>& commands) const;

 private:
  std::string directory_;
  std::vector<std::string> made_;
  bool kept_ = false;
};

// `text` as one word of a shell.
std::string shell_word(const std::string& text);

}  // namespace hwid::tool
