// An examination in a process of its own: a module that hangs or crashes at C_OpenSession, at
// C_Login or in a signature is a finding, and harms nobody.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

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
  // Of the examiner: the answer is printed, and only the end of the process is left.
  void answered(int exit_code);

  // Of the parent: the exit code of an examiner that has told all itself. nullopt: it came to no
  // end, and the examination has what it had found, and that it stopped. Throws kInternal where it
  // did at something that is no device's.
  std::optional<int> wait();

  void begins(Probe probe, const std::string& step, std::chrono::seconds patience) override;
  void found(const Finding& finding) override;
  void passed(const std::string& what) override;

 private:
  void tell(const Json& message) const;
  bool read_message();  // false: the examiner has ended, or is at one step for too long
  void take(const Json& message);
  std::string end_of_child();
  void report_stop(const std::string& how);

  Examination& examination_;
  pid_t child_ = -1;
  int pipe_ = -1;  // the parent's end, or the child's
  std::string unread_;
  Probe probe_ = Probe::kConfFile;
  std::string step_;
  std::chrono::seconds patience_{0};
  bool is_late_ = false;
  std::optional<int> answer_;
};

}  // namespace hwid::tool::doctor
