#include "provider/tpm2/connection.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "provider/tpm2/cleansed_bytes.h"

namespace hwid::tpm2 {

using core::Secret;

namespace {

bool is_busy(TSS2_RC rc) noexcept {
  return rc == TPM2_RC_RETRY || rc == TPM2_RC_YIELDED || rc == TPM2_RC_TESTING;
}

// The code in an answer's header; what the rest is like is Response's business.
TSS2_RC peek_code(core::ByteView answer) noexcept {
  constexpr std::size_t kCodeAt = 6;
  if (answer.size() < kCodeAt + 4) return TPM2_RC_SUCCESS;
  TSS2_RC rc = 0;
  for (std::size_t i = 0; i < 4; ++i) rc = rc << 8 | answer[kCodeAt + i];
  return rc;
}

}  // namespace

Response Connection::transact(Command& command, std::span<const SessionUse> uses,
                              const core::Libcrypto* crypto, bool has_handle) {
  AuthorizationArea area(command, uses, crypto);
  core::Bytes authorizations = area.write();
  // Where the user wants no sessions, auth values stand in these as they are.
  const CleansedAtEnd authorizations_guard(authorizations);
  command.assemble(authorizations, wire_);
  const CleansedAtEnd wire_guard(wire_);
  Response response(command, submit(command), has_handle, uses.size());
  area.read(response);
  return response;
}

Secret Connection::submit(const Command& command) {
  constexpr int kMostTries = 13;  // 0, 1, 2, 4 ... 1024 ms between them
  std::chrono::milliseconds pause{0};
  for (int tries = 1;; ++tries) {
    Secret answer = exchange(command);
    if (!is_busy(peek_code(answer.reveal())) || tries == kMostTries) return answer;
    std::this_thread::sleep_for(pause);
    pause = std::max(pause * 2, std::chrono::milliseconds(1));
  }
}

Secret Connection::exchange(const Command& command) {
  check(Tss2_Tcti_Transmit(tcti_.get(), wire_.size(), wire_.data()), command.call(),
        command.place());
  Secret answer(kMostBytes);
  std::size_t size = answer.size();
  TSS2_RC rc = TSS2_TCTI_RC_TRY_AGAIN;
  while (rc == TSS2_TCTI_RC_TRY_AGAIN) {  // making an RSA key takes as long as it takes
    size = answer.size();
    rc = Tss2_Tcti_Receive(tcti_.get(), &size, answer.writable().data(), TSS2_TCTI_TIMEOUT_BLOCK);
    if (rc == TSS2_TCTI_RC_TRY_AGAIN) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  check(rc, command.call(), command.place());
  if (size > answer.size()) raise(kMalformedResponse, command.call(), command.place());
  answer.truncate(size);
  return answer;
}

}  // namespace hwid::tpm2
