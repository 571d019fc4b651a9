// One command to a TPM and its answer, as bytes (TPM 2.0 Part 1, 18).
//
// Marshalled with tss2-mu and sent straight to the TCTI. tpm2-tss's own layers above have what we
// cannot use: the ESAPI costs 5 ms a command in a session and fetches from OpenSSL's default
// context; the SAPI unmarshals against the size of its buffer and not of the answer, so a short
// answer would be completed with what an earlier one left there.
#pragma once

#include <tss2/tss2_mu.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "provider/core/bytes.h"
#include "provider/core/secret.h"
#include "provider/tpm2/errors.h"

namespace hwid::tpm2 {

inline constexpr std::size_t kMostBytes = 4096;  // TPM2_MAX_COMMAND_SIZE, TPM2_MAX_RESPONSE_SIZE

// An object, hierarchy or NV index that a command names. `name` goes into what sessions
// authenticate (handle_name for what is its own name); without a session it may be empty.
struct Entity {
  TPM2_HANDLE handle = TPM2_RH_NULL;
  core::Bytes name;
};

// A command being written. What it holds may be secret, so the memory is.
class Command {
 public:
  // `call`: "TPM2_Sign", a literal. `place` is borrowed.
  Command(TPM2_CC code, const char* call, const Place& place)
      : code_(code), call_(call), place_(place), parameters_(kMostBytes) {}

  Command& handle(const Entity& entity) {
    handles_.push_back(entity.handle);
    names_.insert(names_.end(), entity.name.begin(), entity.name.end());
    return *this;
  }
  Command& handle(TPM2_HANDLE handle) { return this->handle(Entity{handle, {}}); }

  // Parameters, in the order of the standard: `marshal` is a Tss2_MU_TYPE_Marshal.
  template <typename T>
  Command& put(TSS2_RC (*marshal)(const T*, std::uint8_t[], std::size_t, std::size_t*),
               const T& value) {
    check(marshal(&value, parameters_.writable().data(), kMostBytes, &size_), call_, place_);
    return *this;
  }
  Command& put8(std::uint8_t value) { return put_big_endian(value, 1); }
  Command& put16(std::uint16_t value) { return put_big_endian(value, 2); }
  Command& put32(std::uint32_t value) { return put_big_endian(value, 4); }
  Command& put_sized(core::ByteView bytes);  // a TPM2B

  TPM2_CC code() const noexcept { return code_; }
  const char* call() const noexcept { return call_; }
  const Place& place() const noexcept { return place_; }
  const std::vector<TPM2_HANDLE>& handles() const noexcept { return handles_; }
  core::ByteView names() const noexcept { return names_; }
  core::ByteView parameters() const noexcept { return parameters_.reveal().subspan(0, size_); }
  // The bytes of the first parameter, which is a TPM2B, for encryption.
  std::span<std::uint8_t> first_parameter();

  // Header, handles, authorization area (none if empty), parameters.
  void assemble(core::ByteView authorizations, std::vector<std::uint8_t>& wire) const;

 private:
  Command& put_big_endian(std::uint32_t value, std::size_t size);

  TPM2_CC code_;
  const char* call_;
  const Place& place_;
  std::vector<TPM2_HANDLE> handles_;
  core::Bytes names_;
  core::Secret parameters_;
  std::size_t size_ = 0;
};

// What stands in a session's part of an answer.
struct ResponseAuth {
  core::Bytes nonce;
  std::uint8_t attributes = 0;
  core::Bytes hmac;
};

// The answer to a command. Nothing is read beyond its end, and whoever has read it all says so:
// every method throws kMalformedResponse where the bytes do not fit.
class Response {
 public:
  // `bytes`: of the whole answer. `has_handle`: the command answers with one.
  Response(const Command& command, core::Secret bytes, bool has_handle, std::size_t sessions);

  TPM2_HANDLE handle() const noexcept { return handle_; }
  core::ByteView parameters() const noexcept {
    return bytes_.reveal().subspan(parameters_at_, end_ - parameters_at_);
  }
  const std::vector<ResponseAuth>& authorizations() const noexcept { return authorizations_; }
  std::span<std::uint8_t> first_parameter();  // for decryption

  template <typename T>
  T take(TSS2_RC (*unmarshal)(const std::uint8_t[], std::size_t, std::size_t*, T*)) {
    T value{};
    if (unmarshal(bytes_.reveal().data(), end_, &at_, &value) != TSS2_RC_SUCCESS) fail();
    return value;
  }
  // A TPM2B around a structure, which must fill it.
  template <typename T>
  T take_sized(TSS2_RC (*unmarshal)(const std::uint8_t[], std::size_t, std::size_t*, T*)) {
    const std::size_t outer_end = end_;
    const std::size_t size = take16();
    if (size > end_ - at_) fail();
    end_ = at_ + size;
    T value = take(unmarshal);
    finish();
    end_ = outer_end;
    return value;
  }
  core::ByteView take_sized_bytes();  // of a TPM2B
  core::Bytes take_rest();            // whatever it is, to be handed back as it is
  std::uint8_t take8() { return static_cast<std::uint8_t>(take_big_endian(1)); }
  std::uint16_t take16() { return static_cast<std::uint16_t>(take_big_endian(2)); }
  std::uint32_t take32() { return take_big_endian(4); }
  void finish() const {  // nothing is left over
    if (at_ != end_) fail();
  }
  [[noreturn]] void fail() const { raise(kMalformedResponse, call_, place_); }

 private:
  std::uint32_t take_big_endian(std::size_t size);

  const char* call_;
  const Place& place_;
  core::Secret bytes_;
  TPM2_HANDLE handle_ = TPM2_RH_NULL;
  std::size_t at_ = 0;
  std::size_t end_;
  std::size_t parameters_at_ = 0;
  std::vector<ResponseAuth> authorizations_;
};

}  // namespace hwid::tpm2
