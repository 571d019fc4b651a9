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

#include "provider/core/error.h"
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

std::string no_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return "";
  if (S_ISDIR(status.st_mode)) return "it is a directory";
  if (S_ISFIFO(status.st_mode)) return "it is a FIFO";
  if (S_ISSOCK(status.st_mode)) return "it is a socket";
  struct stat null {};
  const bool is_null = ::stat("/dev/null", &null) == 0 && null.st_rdev == status.st_rdev;
  return is_null ? "" : "it is a device";
}

void require_file(const std::string& path) {
  if (const std::string kind = no_file(path); !kind.empty())
    throw core::Error(core::Reason::kNotPermitted,
                      "open " + path + ": " + kind + "; name an ordinary file");
}

std::string group_of(const std::string& path) {
  struct stat status {};
  constexpr mode_t kBoth = S_IRGRP | S_IWGRP;
  if (::stat(path.c_str(), &status) != 0 || status.st_gid == 0 || (status.st_mode & kBoth) != kBoth)
    return "";
  const group* const entry = ::getgrgid(status.st_gid);
  return entry != nullptr ? entry->gr_name : std::to_string(status.st_gid);
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
