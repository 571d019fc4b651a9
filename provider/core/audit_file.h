// The audit trail in a file.
#pragma once

#include <string>

#include "provider/core/audit_line.h"
#include "provider/core/log.h"
#include "provider/core/process.h"

namespace hwid::core {

// A line an event, each by one write to the end of a regular file (never through a symbolic link;
// made with mode 0640), so several processes may write one file. It is opened at once, for programs
// that give up privileges later, and anew when another file has its name (rotation); where that
// fails, the old file is written on as long as it has a name. A line that cannot be written is
// counted, and what a full disk took of it is taken back. Thread-safe, usable after fork.
class AuditFile final : public AuditSink {
 public:
  AuditFile(std::string path, const Log& log);
  ~AuditFile() override;
  void record(const AuditEvent& event) noexcept override;

 private:
  struct Opened;
  struct State;
  int open(Opened& opened) const noexcept;
  int ready(State& state);
  int append(State& state, const AuditLine& line);
  void say(int error, const char* consequence) const;

  const std::string path_;
  const std::string exe_;
  const Log& log_;
  EpochLocal<State> state_;
};

}  // namespace hwid::core
