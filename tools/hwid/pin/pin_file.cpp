#include "tools/hwid/pin/pin_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "provider/core/error.h"
#include "provider/core/pin.h"
#include "tools/hwid/files.h"
#include "tools/hwid/new_file.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {

using core::Error;
using core::Reason;
using core::Secret;

namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 10;

// What follows the PIN: from the end of the first line on.
std::string_view tail_of(std::string_view content) {
  const std::size_t end = content.find('\n');
  if (end == std::string_view::npos) return {};
  return content.substr(end > 0 && content[end - 1] == '\r' ? end - 1 : end);
}

Secret joined(const Secret& pin, std::string_view tail) {
  Secret content(pin.size() + tail.size());
  std::ranges::copy(pin.reveal(), content.writable().begin());
  std::ranges::copy(tail, content.writable().begin() + static_cast<std::ptrdiff_t>(pin.size()));
  return content;
}

void require_same_owner(const std::string& path, const std::string& next) {
  struct stat of_path {
  }, of_next{};
  if (::stat(path.c_str(), &of_path) == 0 && ::stat(next.c_str(), &of_next) == 0 &&
      of_path.st_uid == of_next.st_uid && of_path.st_gid == of_next.st_gid)
    return;
  throw Error(Reason::kNotPermitted,
              "fchown: file=" + next +
                  ": EPERM: it cannot have the owner and group of the PIN's file, whose programs "
                  "could then not read it; run this as root or as the owner");
}

}  // namespace

PinFile::PinFile(const std::string& path, const core::Log& log)
    : path_(absolute(path)),
      next_path_(path_ + ".new"),
      log_(log),
      lock_(std::filesystem::path(path_).parent_path().string(), "change of a PIN",
            "make the directory, or name another file") {
  if (file_exists(path_)) require_readable(path_);
  require_writable(path_, Existing::kReplace);
  require_writable(next_path_, Existing::kReplace);
}

bool PinFile::has_next() const { return file_exists(next_path_); }

Secret PinFile::next() const { return core::read_pin_source("file:" + next_path_, log_); }

void PinFile::write_next(const Secret& pin) {
  const bool replaces = file_exists(path_);
  std::string old = replaces ? read_file(path_, kMostBytes) : "\n";
  const core::Cleansed guard(old);
  const Secret content = joined(pin, tail_of(old));
  const std::string_view text(reinterpret_cast<const char*>(content.reveal().data()),
                              content.size());
  NewFile file(next_path_, text, 0600);
  if (replaces) {
    file.take_attributes_of(path_);
    require_same_owner(path_, file.temporary());
  }
  file.place(Existing::kReplace);
}

void PinFile::drop_next() noexcept { ::unlink(next_path_.c_str()); }

void PinFile::take_next() { rename_synced(next_path_, path_); }

void require_fit_for_file(const Secret& pin) {
  constexpr std::size_t kMostOfPin = 256;  // core::read_pin_source
  const auto bytes = pin.reveal();
  const auto has = [&](char c) {
    return std::ranges::find(bytes, static_cast<std::uint8_t>(c)) != bytes.end();
  };
  if (!pin.empty() && pin.size() <= kMostOfPin && !has('\n') && !has('\r')) return;
  throw Error(Reason::kBadParameter,
              "the new PIN: a file holds one of 1 to 256 bytes on one line; choose another PIN");
}

}  // namespace hwid::tool
