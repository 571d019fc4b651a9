#include "tests/tpm/spy.h"

#include <cstring>
#include <utility>

namespace hwid::test {

// Begins as every TCTI context does, which is how tpm2-tss finds its functions.
struct SpyTcti {
  TSS2_TCTI_CONTEXT_COMMON_V2 common{};
  tpm2::Tcti real;
  Spy& spy;
  TPM2_CC code = 0;
  std::optional<core::Bytes> answer;  // not the TPM's

  SpyTcti(tpm2::Tcti opened, Spy& owner) : real(std::move(opened)), spy(owner) {
    common.v1.version = 2;
    common.v1.transmit = &SpyTcti::transmit;
    common.v1.receive = &SpyTcti::receive;
    common.v1.getPollHandles = &SpyTcti::poll_handles;
  }
  static SpyTcti& of(TSS2_TCTI_CONTEXT* context) { return *reinterpret_cast<SpyTcti*>(context); }

  static TSS2_RC transmit(TSS2_TCTI_CONTEXT* context, std::size_t size,
                          const std::uint8_t* command) {
    SpyTcti& self = of(context);
    self.code = static_cast<TPM2_CC>(command[6]) << 24 | static_cast<TPM2_CC>(command[7]) << 16 |
                static_cast<TPM2_CC>(command[8]) << 8 | command[9];
    {
      const std::lock_guard lock(self.spy.mutex_);
      self.spy.commands_.push_back(self.code);
      self.spy.bytes_.append(reinterpret_cast<const char*>(command), size);
    }
    if (self.spy.before) {
      const TSS2_RC rc = self.spy.before(self.code);
      if (rc != TSS2_RC_SUCCESS) return rc;
    }
    self.answer = self.spy.instead ? self.spy.instead(self.code) : std::nullopt;
    if (self.answer) return TSS2_RC_SUCCESS;
    core::Bytes passed(command, command + size);
    if (self.spy.change) self.spy.change(self.code, passed);
    return Tss2_Tcti_Transmit(self.real.get(), passed.size(), passed.data());
  }

  static TSS2_RC receive(TSS2_TCTI_CONTEXT* context, std::size_t* size, std::uint8_t* response,
                         std::int32_t timeout) {
    SpyTcti& self = of(context);
    TSS2_RC rc = TSS2_RC_SUCCESS;
    core::Bytes answer(4096);
    if (self.answer) {
      answer = *std::exchange(self.answer, std::nullopt);
    } else {
      std::size_t received = answer.size();
      rc = Tss2_Tcti_Receive(self.real.get(), &received, answer.data(), timeout);
      if (rc != TSS2_RC_SUCCESS) return rc;
      answer.resize(received);
      if (self.spy.after) rc = self.spy.after(self.code, answer);
    }
    {
      const std::lock_guard lock(self.spy.mutex_);
      self.spy.bytes_.append(answer.begin(), answer.end());
    }
    if (answer.size() > *size) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    std::memcpy(response, answer.data(), answer.size());
    *size = answer.size();
    return rc;
  }

  static TSS2_RC poll_handles(TSS2_TCTI_CONTEXT* context, TSS2_TCTI_POLL_HANDLE* handles,
                              std::size_t* count) {
    const int descriptor = of(context).spy.descriptor;
    if (descriptor < 0) return TSS2_TCTI_RC_NOT_IMPLEMENTED;
    if (handles != nullptr) handles->fd = descriptor;
    *count = 1;
    return TSS2_RC_SUCCESS;
  }
};

tpm2::OpenTcti Spy::opener() {
  return [this](const std::string& configuration) {
    auto opened = std::make_unique<SpyTcti>(tpm2::open_tcti(configuration), *this);
    {
      const std::lock_guard lock(mutex_);
      ++opened_;
    }
    return tpm2::Tcti(reinterpret_cast<TSS2_TCTI_CONTEXT*>(opened.release()),
                      [](TSS2_TCTI_CONTEXT* context) { delete &SpyTcti::of(context); });
  };
}

std::vector<TPM2_CC> Spy::take_commands() {
  const std::lock_guard lock(mutex_);
  return std::exchange(commands_, {});
}

int Spy::opened() const {
  const std::lock_guard lock(mutex_);
  return opened_;
}

bool Spy::saw(core::ByteView bytes) const {
  const std::lock_guard lock(mutex_);
  return bytes_.find(std::string(bytes.begin(), bytes.end())) != std::string::npos;
}

}  // namespace hwid::test
