#include "tools/hwid/verify/software_device.h"

#include <string_view>

namespace hwid::tool::verify {
namespace {

struct Known {
  std::string_view manufacturer;  // each is contained; empty: any
  std::string_view model;
  const char* why;
};

// A TPM's words are those of its GetCapability, also where a PKCS#11 module passes them on.
constexpr Known kKnown[] = {
    {"SoftHSM", "", "SoftHSM keeps its keys in files, encrypted under the PIN"},
    {"Mozilla", "NSS", "NSS keeps its keys in a database file, encrypted under the password"},
    {"Gnome Keyring", "", "GNOME Keyring keeps its keys in files"},
    {"Kryoptic", "", "Kryoptic keeps its keys in a database file"},
    {"IBM", "Soft", "openCryptoki's soft token keeps its keys in files"},
    {"IBM", "SW",
     "the TPM calls itself \"SW TPM\" by IBM: it is libtpms (swtpm), whose state is in "
     "a file, or in the host of a virtual machine"},
    {"MSFT", "xCG fTPM",
     "the TPM calls itself Microsoft's reference implementation, which is a "
     "simulator or the host of a virtual machine"},
    {"VMW", "", "the TPM is one of VMware's virtual ones, which the host keeps in a file"},
    {"AMZN", "NitroTPM", "the TPM is a virtual one (NitroTPM), which the host keeps"},
};

// TCTIs of programs that are a TPM.
constexpr std::string_view kProgramTctis[] = {"swtpm", "mssim", "libtpms"};

bool leads_to_program(std::string_view tcti) {
  for (const std::string_view name : kProgramTctis) {
    if (tcti == name || tcti.starts_with(std::string(name) + ":")) return true;
    const std::string library = "libtss2-tcti-" + std::string(name);
    if (tcti.find(library) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

std::string why_software(const core::TokenInfo& device) {
  for (const Known& known : kKnown) {
    if (device.manufacturer.find(known.manufacturer) != std::string::npos &&
        device.model.find(known.model) != std::string::npos)
      return known.why;
  }
  if (device.kind == "tpm2")
    return leads_to_program(device.module)
               ? "the TPM is reached by tcti " + device.module + ": it is a program"
               : "";
  if (device.hardware == false)
    return "the module says of its slot that it is no hardware (CKF_HW_SLOT is not set)";
  return "";
}

}  // namespace hwid::tool::verify
