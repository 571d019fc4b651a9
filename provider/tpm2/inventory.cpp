#include "provider/tpm2/inventory.h"

namespace hwid::tpm2 {

using core::PinState;

namespace {

using Properties = std::map<TPM2_PT, std::uint32_t>;

std::uint32_t value_of(const Properties& properties, TPM2_PT property) {
  const auto found = properties.find(property);
  return found != properties.end() ? found->second : 0;
}

// Four characters to a property, the first in the highest byte; what is not needed is NUL or blank.
std::string text_of(const Properties& properties, TPM2_PT first, TPM2_PT last) {
  std::string text;
  for (TPM2_PT property = first; property <= last; ++property) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      const char c = static_cast<char>(value_of(properties, property) >> shift & 0xff);
      if (c != '\0') text += c;
    }
  }
  while (text.ends_with(' ')) text.pop_back();
  return core::one_line(text);
}

std::string firmware_of(const Properties& properties) {
  std::string text;
  for (const TPM2_PT property : {TPM2_PT_FIRMWARE_VERSION_1, TPM2_PT_FIRMWARE_VERSION_2}) {
    const std::uint32_t value = value_of(properties, property);
    text += (text.empty() ? "" : ".") + std::to_string(value >> 16) + "." +
            std::to_string(value & 0xffff);
  }
  return text;
}

PinState state_of(const core::Lockout& lockout) {
  if (lockout.locked) return PinState::kLocked;
  if (lockout.failures + 1 >= lockout.most_failures) return PinState::kLastTry;
  return lockout.failures != 0 ? PinState::kLow : PinState::kOk;
}

}  // namespace

void inspect(Tpm& tpm, const Caller& caller, core::TokenInfo& token) {
  Properties fixed;
  core::Lockout lockout;
  bool owner_has_value = false;
  tpm.with_connection(caller, {}, [&](Tpm::Work& work) {
    constexpr TPM2_PT kFirst = TPM2_PT_MANUFACTURER;
    fixed = work.commands.properties(kFirst, TPM2_PT_FIRMWARE_VERSION_2 - kFirst + 1);
    lockout = work.commands.lockout();
    owner_has_value = work.commands.owner_has_value();
  });
  token.manufacturer = text_of(fixed, TPM2_PT_MANUFACTURER, TPM2_PT_MANUFACTURER);
  token.model = text_of(fixed, TPM2_PT_VENDOR_STRING_1, TPM2_PT_VENDOR_STRING_4);
  token.firmware = firmware_of(fixed);
  token.present = true;
  token.initialized = true;
  token.lockout = lockout;
  token.user_pin = state_of(lockout);
  token.so_pin = owner_has_value ? PinState::kOk : PinState::kNotSet;
}

}  // namespace hwid::tpm2
