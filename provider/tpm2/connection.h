// An open TPM: commands go in, answers come out.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "provider/core/libcrypto.h"
#include "provider/tpm2/auth_session.h"
#include "provider/tpm2/command.h"
#include "provider/tpm2/tcti.h"

namespace hwid::tpm2 {

// Not thread-safe. Belongs to the process that opened it.
class Connection {
 public:
  explicit Connection(Tcti tcti) noexcept : tcti_(std::move(tcti)) {}

  // Sends the command and checks the answer. A TPM that is busy (RETRY, YIELDED, TESTING) is asked
  // again for about two seconds. `crypto` may be null where no session takes part. Throws TpmError.
  Response transact(Command& command, std::span<const SessionUse> uses,
                    const core::Libcrypto* crypto, bool has_handle = false);

  // The file or socket that is open between commands; -1 if there is none.
  int descriptor() const noexcept { return tcti_.descriptor(); }

 private:
  core::Secret submit(const Command& command);
  core::Secret exchange(const Command& command);

  Tcti tcti_;
  std::vector<std::uint8_t> wire_;
};

}  // namespace hwid::tpm2
