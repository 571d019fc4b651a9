#include "tools/hwid/doctor/file_access.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/hwid/descriptor.h"

namespace hwid::tool::doctor {
namespace {

std::string numbered(const char* name, unsigned long number) {
  const std::string text = std::to_string(number);
  return name != nullptr ? std::string(name) + " (" + text + ")" : text;
}

std::string user_name(uid_t user) {
  const passwd* const entry = ::getpwuid(user);
  return numbered(entry != nullptr ? entry->pw_name : nullptr, user);
}

std::string group_text(gid_t id) {
  const group* const entry = ::getgrgid(id);
  return numbered(entry != nullptr ? entry->gr_name : nullptr, id);
}

}  // namespace

int read_error(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  return file.get() >= 0 ? 0 : errno;
}

std::string user_text() { return "user " + user_name(::geteuid()); }

std::string owner_text(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::strerror(errno);
  std::array<char, 8> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o", status.st_mode & 07777U);
  return "owner " + user_name(status.st_uid) + ", group " + group_text(status.st_gid) + ", mode " +
         mode.data();
}

}  // namespace hwid::tool::doctor
