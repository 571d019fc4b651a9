// The way to a TPM: a TCTI of tpm2-tss.
#pragma once

#include <tss2/tss2_tcti.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "provider/tpm2/errors.h"

namespace hwid::tpm2 {

// Owns an open TCTI context. Not thread-safe. Belongs to the process that opened it: a forked
// child abandons it.
class Tcti {
 public:
  using Close = void (*)(TSS2_TCTI_CONTEXT*);
  Tcti(TSS2_TCTI_CONTEXT* context, Close close) noexcept : context_(context), close_(close) {}
  Tcti(Tcti&& other) noexcept
      : context_(std::exchange(other.context_, nullptr)), close_(other.close_) {}
  Tcti& operator=(Tcti&&) = delete;
  ~Tcti() {
    if (context_ != nullptr) close_(context_);
  }

  TSS2_TCTI_CONTEXT* get() const noexcept { return context_; }
  int descriptor() const noexcept;  // the first of what can be polled; -1 if nothing can

 private:
  TSS2_TCTI_CONTEXT* context_;
  Close close_;
};

// How a Tcti is opened: open_tcti, or what a test puts in its place.
using OpenTcti = std::function<Tcti(const std::string& configuration)>;

// Opens what `configuration` says ("device:/dev/tpmrm0", "swtpm:port=2321"; empty: the default of
// tpm2-tss) with its descriptors closed at exec. (The device TCTI opens its file without
// O_CLOEXEC: a program that another thread starts at that very moment still inherits it; so does
// one started during a command of the swtpm TCTI, which connects for each.)
// Throws kNoToken, kNotPermitted, kBadConfiguration; the message says what was tried, and of a
// device file why.
Tcti open_tcti(const std::string& configuration);

// The configuration as messages show it.
std::string tcti_text(const std::string& configuration);

// Whether a connection that was opened with `configuration` goes to tpm2-abrmd over D-Bus. GLib's
// connection to the bus is one a process and dies in a forked child: there, opening another one
// waits for 25 seconds and fails.
bool uses_dbus(const std::string& configuration) noexcept;

// Which of the TPMs that tpm2-tss looks for by itself a connection leads to, by its descriptor (-1:
// it has none between commands): "device:/dev/tpmrm0", "tabrmd", "swtpm". A literal; nullptr if it
// is none of them, or `configuration` names one.
const char* found_by_default(const std::string& configuration, int descriptor) noexcept;

// The way to the same TPM for a forked child of a process that used D-Bus: `found`, if that is what
// the parent's default led to, and tpm2-abrmd through a process of its own, tpm2_send of
// tpm2-tools. Throws kNoToken where that is needed and not installed.
std::string tcti_without_dbus(const std::string& configuration, const char* found);

// Nobody else can have anything loaded in this TPM while we do: the kernel lets only one open
// /dev/tpm0, and the resource manager beside it saves what its clients have. (Of the default
// nothing is known; found_by_default says where it led.)
bool is_exclusive(const std::string& configuration) noexcept;

// tpm2-tss writes warnings and errors to stderr, expected ones too (a TPM that is not there), and
// only the environment stops it, read at the first line that each of its parts writes. NAME=VALUE
// for core::set_environment in OSSL_provider_init, which leaves what the user set; never later,
// as setenv is not thread-safe. Without it the program works the same, with noise where a TPM
// cannot be reached or answers nonsense: errors that a TPM answers are not written by the parts
// that we use (tss2-mu and the TCTIs).
std::vector<std::string> quiet_environment();

}  // namespace hwid::tpm2
