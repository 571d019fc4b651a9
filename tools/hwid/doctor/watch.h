// An examination in a process of its own: a module that hangs or crashes at C_OpenSession, at
// C_Login or in a signature is a finding, and harms nobody.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "tools/hwid/descriptor.h"
#include "tools/hwid/doctor/examination.h"

namespace hwid::tool::doctor {

// Forks where it is made: the child examines, reports and ends as a program does, with all that it
// must give back (a TPM's objects); the parent waits. Not for several threads.
class Watch final : public Progress {
 public:
  // REQUIRES: the process has one thread, and has loaded no module. Throws kNotPermitted where no
  // process can be made.
  explicit Watch(Examination& examination);
  ~Watch() override;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  bool is_examiner() const noexcept { return child_ == 0; }
  // Of the examiner: the answer is written, and only the end of the process is left.
  void answered(int exit_code);

  // Of the parent: the exit code of an examiner that has told all itself. nullopt: it came to no
  // end, and the examination has what it had found, and that it stopped. Where a signal from
  // outside ended it (Ctrl-C, a reader that went away), this process ends by the same.
  std::optional<int> wait();

  void begins(const Step& step) override;
  void found(const Finding& finding) override;
  void passed(const std::string& what) override;

 private:
  using Milliseconds = std::chrono::milliseconds;

  void tell(const Json& message) const;
  void take(const Json& message);
  void take_messages();            // that are there
  bool wait_for_end(int& status);  // false: it is at one step for too long
  void report_stop(const std::string& how, bool is_at_device);

  Examination& examination_;
  pid_t child_ = -1;
  Descriptor pipe_{-1};  // the parent's end, or the child's
  std::string unread_;
  Step step_;
  Milliseconds waited_{0};  // at this step
  std::optional<int> answer_;
  bool has_failed_ = false;  // an exception ends it, which it tells itself
};

}  // namespace hwid::tool::doctor
