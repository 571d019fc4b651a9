// A TCTI that passes everything on, counts, records, and can do what a TPM never does.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/bytes.h"
#include "provider/tpm2/tcti.h"

namespace hwid::test {

// Shared by all TCTIs that opener() opens. Thread-safe but for the hooks, which are set while no
// command is under way.
class Spy {
 public:
  // Every TCTI is opened with tpm2::open_tcti and what the caller gives.
  tpm2::OpenTcti opener();

  std::vector<TPM2_CC> take_commands();  // since the last take
  int opened() const;
  bool saw(core::ByteView bytes) const;  // on the way in either direction

  // Called before a command is passed on; a code that is not TSS2_RC_SUCCESS is what transmit
  // answers.
  std::function<TSS2_RC(TPM2_CC)> before;
  // Called with the command, which may be changed before it is passed on.
  std::function<void(TPM2_CC, core::Bytes& command)> change;
  // Called with the answer, which may be changed; what it returns is what receive answers.
  std::function<TSS2_RC(TPM2_CC, core::Bytes& answer)> after;
  // Asked before a command is passed on: what it returns is the answer, and the TPM never knows.
  std::function<std::optional<core::Bytes>(TPM2_CC)> instead;
  void reset() { before = nullptr, change = nullptr, after = nullptr, instead = nullptr; }
  int descriptor = -1;  // what the TCTI says it polls

 private:
  friend struct SpyTcti;
  mutable std::mutex mutex_;
  std::vector<TPM2_CC> commands_;
  std::string bytes_;
  int opened_ = 0;
};

}  // namespace hwid::test
