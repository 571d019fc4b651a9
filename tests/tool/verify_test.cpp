// The verdict of hwid verify, what counts as software, and pages that hostile texts go into.
#include <doctest/doctest.h>

#include <string>

#include "tools/hwid/verify/chain_picture.h"
#include "tools/hwid/verify/device_checks.h"
#include "tools/hwid/verify/html.h"
#include "tools/hwid/verify/report.h"
#include "tools/hwid/verify/software_device.h"

namespace {

using namespace hwid;
using namespace hwid::tool::verify;

Report kept_in_hardware() {
  Report report;
  report.device.kind = Device::Kind::kPkcs11;
  report.add(Group::kAttributes, "CKA_SENSITIVE", "true", Finding::kGood, "");
  report.add(Group::kAttempts, "C_WrapKey", "CKR_KEY_UNEXTRACTABLE", Finding::kGood, "refused");
  return report;
}

std::string all_reasons(const Report& report) {
  std::string text;
  for (const std::string& reason : reasons_of(report)) text += reason + "\n";
  return text;
}

TEST_CASE("verify: without evidence it is the device's word, and with it attested") {
  Report report = kept_in_hardware();
  CHECK(verdict_of(report) == Verdict::kTokenClaims);
  CHECK(is_good(report));
  CHECK(all_reasons(report).find("the device's own word") != std::string::npos);
  report.evidence.push_back({"TPM2_Certify", "an endorsement key by a maker"});
  CHECK(verdict_of(report) == Verdict::kHardwareAttested);
  CHECK(all_reasons(report).find("by an endorsement key by a maker") != std::string::npos);
}

TEST_CASE("verify: evidence that does not hold makes the answer no") {
  Report report = kept_in_hardware();
  report.add(Group::kEvidence, "certify: nonce", "does not hold", Finding::kBad, "it is old");
  CHECK(verdict_of(report) == Verdict::kTokenClaims);
  CHECK_FALSE(is_good(report));
  CHECK(all_reasons(report).find("The evidence that was given does not hold.") !=
        std::string::npos);
}

TEST_CASE("verify: a key that came out can leave, whatever else there is") {
  for (const Group group : {Group::kAttempts, Group::kAttributes}) {
    Report report = kept_in_hardware();
    report.evidence.push_back({"TPM2_Certify", "somebody"});
    report.add(group, "asked", "answer", Finding::kBad, "");
    CHECK(verdict_of(report) == Verdict::kCanLeave);
    CHECK_FALSE(is_good(report));
    CHECK(all_reasons(report).find("asked (answer)") != std::string::npos);
  }
}

TEST_CASE("verify: software is never attested, and no hardware") {
  Report report = kept_in_hardware();
  report.device.software = "it is a program";
  report.evidence.push_back({"TPM2_Certify", "somebody"});
  CHECK(verdict_of(report) == Verdict::kSoftwareToken);
  CHECK(is_good(report));
  report.require_hardware = true;
  CHECK_FALSE(is_good(report));
}

TEST_CASE("verify: a past outside counts where hardware is required") {
  Report report = kept_in_hardware();
  report.require_hardware = true;
  CHECK(is_good(report));
  report.add(Group::kAttributes, "CKA_LOCAL", "false", Finding::kWarning, "");
  CHECK(verdict_of(report) == Verdict::kTokenClaims);
  CHECK_FALSE(is_good(report));
  CHECK(all_reasons(report).find("may be elsewhere") != std::string::npos);
  report.require_hardware = false;
  CHECK(is_good(report));
}

TEST_CASE("verify: a certificate that does not fit is no verdict, but no good answer") {
  Report report = kept_in_hardware();
  report.add(Group::kCertificate, "certificate's dates", "", Finding::kBad, "");
  CHECK(verdict_of(report) == Verdict::kTokenClaims);
  CHECK_FALSE(is_good(report));
}

core::TokenInfo device(const char* kind, const char* manufacturer, const char* model,
                       const char* module = "", std::optional<bool> hardware = std::nullopt) {
  core::TokenInfo info;
  info.kind = kind;
  info.manufacturer = manufacturer;
  info.model = model;
  info.module = module;
  info.hardware = hardware;
  return info;
}

TEST_CASE("verify: software tokens and TPMs are known by their word") {
  for (const core::TokenInfo& info : {
           device("pkcs11", "SoftHSM project", "SoftHSM v2", "/lib/libsofthsm2.so", false),
           device("pkcs11", "Mozilla Foundation", "NSS 3", "", true),
           device("pkcs11", "IBM", "SW   TPM", "/lib/libtpm2_pkcs11.so", true),
           device("pkcs11", "Acme", "Vault 9", "", false),
           device("tpm2", "IBM", "SW   TPM", "device:/dev/tpmrm0"),
           device("tpm2", "STM", "", "swtpm:port=2321"),
           device("tpm2", "STM", "", "mssim"),
           device("tpm2", "STM", "", "/usr/lib/libtss2-tcti-swtpm.so.0:port=1"),
           device("tpm2", "MSFT", "xCG fTPM", "device:/dev/tpm0"),
       }) {
    INFO(info.manufacturer, " ", info.model, " ", info.module);
    CHECK_FALSE(why_software(info).empty());
  }
  for (const core::TokenInfo& info : {
           device("pkcs11", "Yubico (www.yubico.com)", "YubiKey YK5", "", true),
           device("pkcs11", "Acme", "Vault 9"),  // a module that was not asked
           device("pkcs11", "STMicro", "", "", true),
           device("tpm2", "IFX", "SLB9670", "device:/dev/tpmrm0"),
           device("tpm2", "INTC", "Intel", "default"),
           device("tpm2", "IBM", "Power TPM", "device:/dev/tpm0"),
       }) {
    INFO(info.manufacturer, " ", info.model, " ", info.module);
    CHECK(why_software(info) == "");
  }
}

TEST_CASE("verify: attributes by what they mean") {
  Report report;
  core::Protection protection;
  protection.sensitive = true;
  protection.extractable = false;
  protection.local = false;
  examine_attributes(protection, report);
  CHECK(count(report, Group::kAttributes, Finding::kBad) == 0);
  CHECK(count(report, Group::kAttributes, Finding::kWarning) == 1);  // CKA_LOCAL
  CHECK(count(report, Group::kAttributes, Finding::kNote) == 2);     // of its past nothing is said
  Report of_tpm;
  core::Protection duplicable;
  duplicable.fixed_tpm = false;
  duplicable.fixed_parent = true;
  duplicable.sensitive_data_origin = true;
  examine_attributes(duplicable, of_tpm);
  CHECK(worst(of_tpm, Group::kAttributes) == Finding::kBad);
}

TEST_CASE("verify: what the device does not say is not said for it") {
  Report report;
  report.device.kind = Device::Kind::kPkcs11;
  core::Protection silent;
  silent.local = silent.always_sensitive = silent.never_extractable = true;
  examine_attributes(silent, report);
  report.add(Group::kAttempts, "C_WrapKey", "CKR_KEY_UNEXTRACTABLE", Finding::kGood, "refused");
  CHECK(unsaid(report) == "CKA_SENSITIVE, CKA_EXTRACTABLE");
  CHECK(verdict_of(report) == Verdict::kTokenClaims);
  CHECK(all_reasons(report).find("The device says") == std::string::npos);
  CHECK(all_reasons(report).find("does not say that the key cannot leave it (no answer to "
                                 "CKA_SENSITIVE, CKA_EXTRACTABLE); 1 attempt") !=
        std::string::npos);
  CHECK(all_reasons(report).find("may be elsewhere") == std::string::npos);
  CHECK(html_page(report).find("The device claims") == std::string::npos);
  CHECK(is_good(report));
  report.require_hardware = true;
  CHECK_FALSE(is_good(report));
  CHECK(all_reasons(report).find("is open") != std::string::npos);
}

TEST_CASE("verify: an attempt without a clear answer is no hardware that keeps the key") {
  Report report = kept_in_hardware();
  report.require_hardware = true;
  report.add(Group::kAttempts, "C_CopyObject", "CKR_DEVICE_ERROR", Finding::kWarning, "");
  CHECK_FALSE(is_good(report));
  CHECK(all_reasons(report).find("is open") != std::string::npos);
  report.require_hardware = false;
  CHECK(is_good(report));
}

TEST_CASE("verify: texts of others are no markup") {
  CHECK(html_text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#39;");
  CHECK(html_text("\x1b[31m") == "\\x1b[31m");
  CHECK(html_text("two\nlines") == "two\nlines");
  CHECK(html_text("bad \xff") == "bad \\xff");
  const char* const kHostile = "</title><script>alert(1)</script>\"'><img src=x onerror=a()>";
  Report report = kept_in_hardware();
  report.key = {kHostile, kHostile, kHostile, "", kHostile};
  report.device.info.label = report.device.info.manufacturer = report.device.info.model = kHostile;
  report.device.info.module = report.device.info.serial = report.device.info.firmware = kHostile;
  report.device.software = kHostile;
  report.host = kHostile;
  report.certificate.emplace();
  report.certificate->subject = report.certificate->issuer = kHostile;
  report.certificate->serial = kHostile;
  report.signature = Signature{kHostile, "", kHostile, {1, 2, 3}};
  report.evidence.push_back({kHostile, kHostile});
  report.add(Group::kAttempts, kHostile, kHostile, Finding::kBad, kHostile);
  const std::string page = html_page(report);
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("<img") == std::string::npos);
  CHECK(page.find("onerror=a()&gt;") != std::string::npos);
  CHECK(page.find("src=x") != std::string::npos);
  CHECK(page.find("http://") == page.find("http://www.w3.org/2000/svg"));
}

TEST_CASE("verify: texts are cut to the room that there is") {
  CHECK(fitted("short", 100, 10) == "short");
  const std::string cut = fitted(std::string(100, 'x'), 100, 10);
  CHECK(cut.size() < 25);
  CHECK(cut.ends_with("\xe2\x80\xa6"));
  // Between characters, not within one.
  std::string umlauts;
  for (int i = 0; i < 50; ++i) umlauts += "\xc3\xa4";
  const std::string shown = fitted(umlauts, 100, 10);
  CHECK(shown.substr(0, 2) == "\xc3\xa4");
  CHECK((shown.size() - 3) % 2 == 0);
  CHECK(fitted("", 0, 10) == "");
}

}  // namespace
