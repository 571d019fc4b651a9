#include "provider/tpm2/command.h"

#include <algorithm>

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Secret;

namespace {

constexpr std::size_t kHeader = 10;  // tag, size, code

void append(std::vector<std::uint8_t>& to, std::uint32_t value, std::size_t size) {
  while (size-- > 0) to.push_back(static_cast<std::uint8_t>(value >> (8 * size)));
}

// The bytes of the TPM2B at the beginning of `area`; empty if there is none.
std::span<std::uint8_t> sized_part(std::span<std::uint8_t> area) noexcept {
  if (area.size() < 2) return {};
  const std::size_t size = static_cast<std::size_t>(area[0]) << 8 | area[1];
  return size <= area.size() - 2 ? area.subspan(2, size) : std::span<std::uint8_t>();
}

}  // namespace

Command& Command::put_big_endian(std::uint32_t value, std::size_t size) {
  if (size > kMostBytes - size_) raise(TSS2_MU_RC_INSUFFICIENT_BUFFER, call_, place_);
  const std::span<std::uint8_t> out = parameters_.writable();
  while (size-- > 0) out[size_++] = static_cast<std::uint8_t>(value >> (8 * size));
  return *this;
}

Command& Command::put_sized(ByteView bytes) {
  if (bytes.size() + 2 > kMostBytes - size_) raise(TSS2_MU_RC_INSUFFICIENT_BUFFER, call_, place_);
  put16(static_cast<std::uint16_t>(bytes.size()));
  std::ranges::copy(bytes, parameters_.writable().subspan(size_).begin());
  size_ += bytes.size();
  return *this;
}

std::span<std::uint8_t> Command::first_parameter() {
  return sized_part(parameters_.writable().subspan(0, size_));
}

void Command::assemble(ByteView authorizations, std::vector<std::uint8_t>& wire) const {
  const std::size_t auth_size = authorizations.empty() ? 0 : 4 + authorizations.size();
  const std::size_t total = kHeader + 4 * handles_.size() + auth_size + size_;
  if (total > kMostBytes) raise(TSS2_MU_RC_INSUFFICIENT_BUFFER, call_, place_);
  wire.clear();
  wire.reserve(total);
  append(wire, authorizations.empty() ? TPM2_ST_NO_SESSIONS : TPM2_ST_SESSIONS, 2);
  append(wire, static_cast<std::uint32_t>(total), 4);
  append(wire, code_, 4);
  for (const TPM2_HANDLE handle : handles_) append(wire, handle, 4);
  if (!authorizations.empty()) {
    append(wire, static_cast<std::uint32_t>(authorizations.size()), 4);
    wire.insert(wire.end(), authorizations.begin(), authorizations.end());
  }
  const ByteView parameters = this->parameters();
  wire.insert(wire.end(), parameters.begin(), parameters.end());
}

Response::Response(const Command& command, Secret bytes, bool has_handle, std::size_t sessions)
    : call_(command.call()),
      place_(command.place()),
      bytes_(std::move(bytes)),
      end_(bytes_.size()) {
  const std::uint16_t tag = take16();
  const std::uint32_t size = take32();
  const TSS2_RC rc = take32();
  if (size != bytes_.size()) fail();
  if (rc != TPM2_RC_SUCCESS) {
    if ((tag != TPM2_ST_NO_SESSIONS && tag != TPM2_ST_RSP_COMMAND) || at_ != end_) fail();
    // A TPM's code has no layer, except where a resource manager speaks.
    raise(rc, call_, place_);
  }
  if (tag != (sessions == 0 ? TPM2_ST_NO_SESSIONS : TPM2_ST_SESSIONS)) fail();
  if (has_handle) handle_ = take32();
  if (sessions == 0) {
    parameters_at_ = at_;
    return;
  }
  const std::size_t parameters_size = take32();
  if (parameters_size > end_ - at_) fail();
  parameters_at_ = at_;
  at_ += parameters_size;
  for (std::size_t i = 0; i < sessions; ++i) {
    ResponseAuth auth;
    const ByteView nonce = take_sized_bytes();
    auth.nonce.assign(nonce.begin(), nonce.end());
    auth.attributes = take8();
    const ByteView hmac = take_sized_bytes();
    auth.hmac.assign(hmac.begin(), hmac.end());
    authorizations_.push_back(std::move(auth));
  }
  finish();
  at_ = parameters_at_;
  end_ = parameters_at_ + parameters_size;
}

std::span<std::uint8_t> Response::first_parameter() {
  const auto part = sized_part(bytes_.writable().subspan(parameters_at_, end_ - parameters_at_));
  if (part.data() == nullptr) fail();
  return part;
}

ByteView Response::take_sized_bytes() {
  const std::size_t size = take16();
  if (size > end_ - at_) fail();
  const ByteView bytes = bytes_.reveal().subspan(at_, size);
  at_ += size;
  return bytes;
}

Bytes Response::take_rest() {
  const ByteView rest = bytes_.reveal().subspan(at_, end_ - at_);
  at_ = end_;
  return {rest.begin(), rest.end()};
}

std::uint32_t Response::take_big_endian(std::size_t size) {
  if (size > end_ - at_) fail();
  const ByteView bytes = bytes_.reveal();
  std::uint32_t value = 0;
  while (size-- > 0) value = value << 8 | bytes[at_++];
  return value;
}

}  // namespace hwid::tpm2
