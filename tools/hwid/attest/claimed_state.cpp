#include "tools/hwid/attest/claimed_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "provider/core/error.h"
#include "tools/hwid/descriptor.h"
#include "tools/hwid/files.h"
#include "tools/hwid/new_file.h"
#include "tools/hwid/output.h"
#include "tools/hwid/paths.h"

namespace hwid::tool::attestation {

using core::Error;
using core::Reason;

namespace {

[[noreturn]] void refuse(const std::string& path) {
  throw Error(Reason::kNoObject,
              "rename: file=" + path +
                  ": another run uses the state, or has used it up: it serves once; begin anew "
                  "with `hwid attest request`");
}

}  // namespace

ClaimedState::ClaimedState(const std::string& path, const std::string& content)
    : path_(absolute(path)) {
  const std::string claimed = path_ + ".accepting-" + std::to_string(::getpid());
  if (::rename(path_.c_str(), claimed.c_str()) != 0) {
    if (errno == ENOENT) refuse(path);
    fail_on_file("rename", path, errno);
  }
  claimed_ = claimed;
  bool is_same = false;
  try {
    rename_synced(claimed_, claimed_);  // it has that name: this syncs the directory
    is_same = read_file(claimed_) == content;
  } catch (...) {
    give_back();
    throw;
  }
  if (is_same) return;
  give_back();  // somebody else's
  refuse(path);
}

ClaimedState::~ClaimedState() {
  if (!claimed_.empty()) give_back();
}

// What has taken the name meanwhile is another challenge's.
void ClaimedState::give_back() const {
  const char* const from = claimed_.c_str();
  const char* const to = path_.c_str();
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return;
  const bool is_taken = errno == EEXIST;  // else a file system without that flag
  if (is_taken || ::link(from, to) != 0 || ::unlink(from) != 0)
    Output::note("The state was not used up, and is now " + claimed_ + ".");
}

void ClaimedState::use_up() {
  if (::unlink(claimed_.c_str()) != 0)
    Output::note("The state " + claimed_ + " could not be removed: do that, it is used up.");
  claimed_.clear();
}

}  // namespace hwid::tool::attestation
