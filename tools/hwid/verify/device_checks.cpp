#include "tools/hwid/verify/device_checks.h"

#include "provider/core/error.h"
#include "tools/hwid/verify/software_device.h"

namespace hwid::tool::verify {
namespace {

// What an attribute means when it is true, and when it is false.
struct Attribute {
  std::optional<bool> core::Protection::*value;
  const char* name;
  const char* true_means;
  const char* false_means;
  Finding if_true;
  Finding if_false;
};

constexpr Attribute kOfTokens[] = {
    {&core::Protection::sensitive, "CKA_SENSITIVE", "its value is not given out in clear",
     "nothing promises that its value is not read", Finding::kGood, Finding::kBad},
    {&core::Protection::extractable, "CKA_EXTRACTABLE",
     "it can be taken out, wrapped by another key", "it is not given out wrapped", Finding::kBad,
     Finding::kGood},
    {&core::Protection::always_sensitive, "CKA_ALWAYS_SENSITIVE", "and never was in clear",
     "it was readable before: copies may be elsewhere", Finding::kGood, Finding::kWarning},
    {&core::Protection::never_extractable, "CKA_NEVER_EXTRACTABLE", "and never was wrapped",
     "it was extractable before: copies may be elsewhere", Finding::kGood, Finding::kWarning},
    {&core::Protection::local, "CKA_LOCAL", "it was made on this token",
     "it was not made on this token: copies may be elsewhere", Finding::kGood, Finding::kWarning},
    {&core::Protection::always_authenticate, "CKA_ALWAYS_AUTHENTICATE", "each use asks for the PIN",
     "one login is good for many uses", Finding::kGood, Finding::kNote},
};

constexpr Attribute kOfTpms[] = {
    {&core::Protection::fixed_tpm, "fixedTPM", "neither it nor a parent of it can leave the TPM",
     "it can be taken to another TPM or into a file, by itself or with a parent", Finding::kGood,
     Finding::kBad},
    {&core::Protection::fixed_parent, "fixedParent", "it cannot be given another parent",
     "it can be given another parent", Finding::kGood, Finding::kBad},
    {&core::Protection::sensitive_data_origin, "sensitiveDataOrigin", "it was made in this TPM",
     "it was made outside: copies may be elsewhere", Finding::kGood, Finding::kWarning},
    {&core::Protection::restricted, "restricted", "it signs only what the TPM itself has hashed",
     "it signs any digest", Finding::kNote, Finding::kNote},
};

// Of these nothing said is worth a word.
bool must_be_said(const Attribute& attribute) noexcept {
  return attribute.value != &core::Protection::always_authenticate &&
         attribute.value != &core::Protection::restricted;
}

// Without these nothing promises that the key stays.
bool keeps_key(const Attribute& attribute) noexcept {
  return attribute.if_true == Finding::kBad || attribute.if_false == Finding::kBad;
}

template <std::size_t N>
void add_attributes(const Attribute (&attributes)[N], const core::Protection& protection,
                    Report& report) {
  for (const Attribute& attribute : attributes) {
    const std::optional<bool>& value = protection.*attribute.value;
    if (value)
      report.add(Group::kAttributes, attribute.name, *value ? "true" : "false",
                 *value ? attribute.if_true : attribute.if_false,
                 *value ? attribute.true_means : attribute.false_means);
    else if (must_be_said(attribute))
      report.add(Group::kAttributes, attribute.name, kNoAnswer,
                 keeps_key(attribute) ? Finding::kWarning : Finding::kNote,
                 keeps_key(attribute) ? "the device does not say, so it promises nothing"
                                      : "the device does not say");
  }
}

std::string or_nothing(const std::string& text) { return text.empty() ? "(nothing)" : text; }

}  // namespace

void examine_attributes(const core::Protection& protection, Report& report) {
  if (protection.fixed_tpm)
    add_attributes(kOfTpms, protection, report);
  else
    add_attributes(kOfTokens, protection, report);
}

void describe_device(core::TokenInfo info, Report& report) {
  const bool is_tpm = info.kind == "tpm2";
  report.device.kind = is_tpm ? Device::Kind::kTpm2 : Device::Kind::kPkcs11;
  report.device.software = why_software(info);
  const bool is_software = !report.device.software.empty();
  const char* const call = is_tpm ? "TPM2_GetCapability " : "C_GetTokenInfo ";
  const auto add = [&](const std::string& asked, const std::string& answer) {
    report.add(Group::kToken, asked, or_nothing(answer), Finding::kNote, "its own word");
  };
  add(std::string(call) + (is_tpm ? "manufacturer" : "manufacturerID"), info.manufacturer);
  add(std::string(call) + (is_tpm ? "vendor string" : "model"), info.model);
  if (!is_tpm) add(std::string(call) + "serialNumber", info.serial);
  add(std::string(call) + (is_tpm ? "firmware" : "firmwareVersion"), info.firmware);
  if (info.hardware)
    report.add(Group::kToken, "C_GetSlotInfo CKF_HW_SLOT", *info.hardware ? "true" : "false",
               Finding::kNote,
               *info.hardware ? "the module says that it is hardware"
                              : "the module says that it is software");
  report.add(
      Group::kToken, "hardware", is_software ? "no" : "claimed",
      is_software ? Finding::kWarning : Finding::kNote,
      is_software ? report.device.software : "nothing here says otherwise, and nothing proves it");
  report.device.info = std::move(info);
}

void examine(const core::Libcrypto& crypto, const core::Key& key, Report& report) {
  if (const auto* const on_token = dynamic_cast<const pkcs11::Key*>(&key)) {
    examine_attributes(key.protection(), report);
    attempt_on_token(crypto, *on_token, report);
    describe_device(on_token->device_info(), report);
    return;
  }
  const auto* const in_tpm = dynamic_cast<const tpm2::Key*>(&key);
  if (in_tpm == nullptr)
    throw core::Error(core::Reason::kUnsupported,
                      key.description().uri + ": a key of backend " + key.description().backend +
                          " cannot be examined; name a key of a PKCS#11 token or a TPM");
  attempt_on_tpm(*in_tpm, report);  // with the attributes as they are now
  describe_device(in_tpm->device_info(), report);
}

}  // namespace hwid::tool::verify
