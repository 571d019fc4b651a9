#include "provider/tpm2/nv.h"

#include <algorithm>
#include <exception>

namespace hwid::tpm2 {

using core::Bytes;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

bool allows(const NvPublic& nv, TPMA_NV attribute) noexcept {
  return (nv.area.attributes & attribute) != 0;
}

// One reading.
class Reader {
 public:
  Reader(Tpm& tpm, const Caller& caller, const NvPublic& nv, const NvSecrets& secrets)
      : tpm_(tpm), caller_(caller), nv_(nv), secrets_(secrets) {}

  Bytes read() {
    require_content();
    if (secrets_.policy) {
      if (!allows(nv_, TPMA_NV_POLICYREAD))
        refuse(Reason::kNotPermitted,
               "it cannot be read by a policy, and one was named; leave ?policy= out of the URI");
      return by_index(borrowed(secrets_.value), secrets_.policy.get());
    }
    const bool by_value = allows(nv_, TPMA_NV_AUTHREAD);
    if (by_value && secrets_.value) return by_index(&*secrets_.value);
    const bool is_harmless = allows(nv_, TPMA_NV_NO_DA);
    if (by_value && is_harmless && try_without()) return std::move(data_);
    if (allows(nv_, TPMA_NV_OWNERREAD) &&
        (has_value(borrowed(secrets_.owner)) || !tpm_.owner_has_value(caller_)))
      return tpm_.nv_read(caller_, nv_,
                          {NvAuth::By::kOwner, borrowed(secrets_.owner), secrets_.protect});
    if (by_value && secrets_.configured && is_harmless) {
      if (const std::optional<Secret> value = secrets_.configured()) return by_index(&*value);
    }
    if (by_value && !is_harmless && !secrets_.only_harmless) return by_index(nullptr);
    if (refused_) std::rethrow_exception(refused_);
    refuse_all();
  }

 private:
  [[noreturn]] void refuse(Reason reason, const std::string& why) const {
    throw Error(reason,
                "TPM2_NV_Read:" + place_text(tpm_.place(hex(nv_.area.nvIndex))) + ": " + why);
  }

  void require_content() const {
    if (nv_type(nv_.area) != TPM2_NT_ORDINARY)
      refuse(Reason::kUnsupported,
             "it is an " + nv_kind_text(nv_.area) + ", which holds no certificate; name another");
    if (!allows(nv_, TPMA_NV_WRITTEN))
      refuse(Reason::kNoObject,
             "nothing was written to the NV index yet; write a certificate there: hwid import "
             "'tpm2:nv=" +
                 hex(nv_.area.nvIndex) + "' FILE --force");
    if (allows(nv_, TPMA_NV_READLOCKED))
      refuse(Reason::kNotPermitted, "the NV index is locked; it can be read after the next reboot");
  }

  Bytes by_index(const Secret* value, const KeyPolicy* policy = nullptr) {
    const bool lacks_value = policy != nullptr && !has_value(value) &&
                             std::ranges::all_of(policy->alternatives, needs_value);
    if (lacks_value && !allows(nv_, TPMA_NV_NO_DA))
      tpm_.require_no_failures(caller_, hex(nv_.area.nvIndex),
                               "the NV index's policy asks for its auth value");
    return tpm_.nv_read(caller_, nv_, {NvAuth::By::kIndex, value, secrets_.protect, policy});
  }

  // False where it has a value.
  bool try_without() {
    try {
      data_ = by_index(nullptr);
      return true;
    } catch (const Error& error) {
      if (error.reason != Reason::kPinMissing) throw;
      refused_ = std::current_exception();
      return false;
    }
  }

  [[noreturn]] void refuse_all() const {
    if (allows(nv_, TPMA_NV_AUTHREAD))
      refuse(Reason::kPinMissing,
             "it may have an auth value, and a try without one counts against the TPM's lockout; "
             "name it with ?pin-source=file:PATH to read it");
    if (allows(nv_, TPMA_NV_OWNERREAD))
      refuse(Reason::kPinMissing,
             "the owner hierarchy has an auth value, which reading the NV index needs, and none "
             "was given; give ?parent-pin-source=file:PATH in the URI, or TPM2OPENSSL_PARENT_AUTH "
             "in the environment");
    if (allows(nv_, TPMA_NV_POLICYREAD))
      refuse(Reason::kNotPermitted,
             "it is read by a policy only; name one of openssl.cnf in the URI: ?policy=NAME");
    refuse(Reason::kNotPermitted,
           "only the platform (the firmware) may read it; use another NV index");
  }

  Tpm& tpm_;
  const Caller& caller_;
  const NvPublic& nv_;
  const NvSecrets& secrets_;
  Bytes data_;
  std::exception_ptr refused_;
};

}  // namespace

Bytes read_nv(Tpm& tpm, const Caller& caller, const NvPublic& nv, const NvSecrets& secrets) {
  return Reader(tpm, caller, nv, secrets).read();
}

std::optional<Bytes> read_public_nv(Tpm& tpm, const Caller& caller, TPM2_HANDLE index) {
  try {
    NvSecrets nothing;
    nothing.only_harmless = true;
    return read_nv(tpm, caller, tpm.nv_public(caller, index), nothing);
  } catch (const Error& error) {
    if (error.reason == Reason::kNoObject) return std::nullopt;
    if (error.reason != Reason::kPinMissing) throw;
    throw Error(Reason::kNotPermitted,
                "TPM2_NV_Read:" + place_text(tpm.place(hex(index))) +
                    ": not everybody may read the NV index, as the makers of TPMs write them; "
                    "read it by itself, with its auth value: tpm2:nv=" +
                    hex(index));
  }
}

TPM2_NT nv_type(const TPMS_NV_PUBLIC& area) noexcept {
  return static_cast<TPM2_NT>((area.attributes & TPMA_NV_TPM2_NT_MASK) >> TPMA_NV_TPM2_NT_SHIFT);
}

std::string nv_kind_text(const TPMS_NV_PUBLIC& area) {
  switch (nv_type(area)) {
    case TPM2_NT_ORDINARY:
      return "NV data of " + std::to_string(area.dataSize) + " bytes";
    case TPM2_NT_COUNTER:
      return "NV counter";
    case TPM2_NT_BITS:
      return "NV bit field";
    case TPM2_NT_EXTEND:
      return "NV extend index";
    case TPM2_NT_PIN_FAIL:
    case TPM2_NT_PIN_PASS:
      return "NV PIN index";
    default:
      return "NV index of a kind of its own";
  }
}

}  // namespace hwid::tpm2
