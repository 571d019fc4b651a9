#include "tools/hwid/verify/report.h"

#include <algorithm>

#include "tools/attest/structures.h"
#include "tools/hwid/table.h"
#include "transport/certificate_text.h"

namespace hwid::tool::verify {
namespace {

bool is_about_key(const Check& check) noexcept {
  return check.group == Group::kAttributes || check.group == Group::kAttempts;
}

bool can_leave(const Report& report) {
  return std::ranges::any_of(report.checks, [](const Check& check) {
    return is_about_key(check) && check.finding == Finding::kBad;
  });
}

bool is_unsaid(const Check& check) {
  return check.group == Group::kAttributes && check.finding == Finding::kWarning &&
         check.answer == kNoAnswer;
}

// A copy may be elsewhere: other warnings about attributes are about the key's past.
bool was_elsewhere(const Report& report) {
  return std::ranges::any_of(report.checks, [](const Check& check) {
    return check.group == Group::kAttributes && check.finding == Finding::kWarning &&
           !is_unsaid(check);
  });
}

// Nothing says yes, and nothing says no.
bool is_open(const Report& report) {
  return std::ranges::any_of(report.checks, is_unsaid) ||
         count(report, Group::kAttempts, Finding::kWarning) != 0;
}

Colour colour_of(Finding finding) noexcept {
  switch (finding) {
    case Finding::kGood:
      return Colour::kGreen;
    case Finding::kWarning:
      return Colour::kYellow;
    case Finding::kBad:
      return Colour::kRed;
    case Finding::kNote:
      break;
  }
  return Colour::kNone;
}

std::string number(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + (count == 1 ? one : many);
}

// The first few of what let the key out.
std::string ways_out(const Report& report) {
  constexpr std::size_t kMostShown = 3;
  std::string text;
  std::size_t all = 0;
  for (const Check& check : report.checks) {
    if (!is_about_key(check) || check.finding != Finding::kBad) continue;
    if (++all > kMostShown) continue;
    text += (text.empty() ? "" : "; ") + check.asked + " (" + check.answer + ")";
  }
  return all > kMostShown ? text + "; and " + std::to_string(all - kMostShown) + " more" : text;
}

// By its attributes the key stays, and an attempt had it all the same.
bool says_otherwise(const Report& report) {
  return count(report, Group::kAttributes, Finding::kBad) == 0 &&
         count(report, Group::kAttempts, Finding::kBad) != 0;
}

// What the device says, and what it did.
std::string why_kept(const Report& report) {
  const std::string open = unsaid(report);
  const std::size_t failed = count(report, Group::kAttempts, Finding::kGood);
  const std::string says =
      open.empty()
          ? "The device says that the key cannot leave it, and "
          : "The device does not say that the key cannot leave it (no answer to " + open + "); ";
  if (failed == 0) return says + "no attempt to get it out was clearly refused.";
  return says + number(failed, " attempt", " attempts") + " to get it out failed.";
}

std::string first_reason(const Report& report, Verdict verdict) {
  const std::string kept = why_kept(report);
  switch (verdict) {
    case Verdict::kCanLeave:
      return report.device.kind == Device::Kind::kFile
                 ? "The private key stands in a file: whoever reads the file has the key."
                 : "The private key can leave its device: " + ways_out(report) + "." +
                       (says_otherwise(report)
                            ? " What the device says of the key, that it cannot, does not hold."
                            : "");
    case Verdict::kSoftwareToken:
      return kept + " But that device is software: " + report.device.software +
             ". Good for development; it proves no hardware.";
    case Verdict::kTokenClaims:
      return kept + (unsaid(report).empty()
                         ? " That is the device's own word: no evidence by anybody else says so."
                         : " No evidence by anybody else says so either.");
    case Verdict::kHardwareAttested:
      break;
  }
  return kept + " That the key is in that hardware is attested by " + report.evidence.front().by +
         ".";
}

Json fact(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json device_json(const Device& device) {
  if (device.kind == Device::Kind::kFile)
    return {{"kind", "file"}, {"file", device.info.module}, {"software", device.software}};
  Json json = {{"kind", device.info.kind},
               {"label", device.info.label},
               {"manufacturer", device.info.manufacturer},
               {"model", device.info.model},
               {"serial", fact(device.info.serial)},
               {"firmware", fact(device.info.firmware)},
               {"module", device.info.module}};
  json["software"] = fact(device.software);
  return json;
}

}  // namespace

const char* finding_text(Finding finding) noexcept {
  switch (finding) {
    case Finding::kGood:
      return "good";
    case Finding::kWarning:
      return "warning";
    case Finding::kBad:
      return "bad";
    case Finding::kNote:
      break;
  }
  return "note";
}

const char* group_text(Group group) noexcept {
  switch (group) {
    case Group::kCertificate:
      return "certificate";
    case Group::kAttributes:
      return "attributes";
    case Group::kAttempts:
      return "attempts";
    case Group::kToken:
      return "token";
    case Group::kEvidence:
      break;
  }
  return "evidence";
}

const char* group_heading(Group group) noexcept {
  switch (group) {
    case Group::kCertificate:
      return "Use of the key, and its certificate";
    case Group::kAttributes:
      return "What the device says of the key";
    case Group::kAttempts:
      return "Attempts to get the key out";
    case Group::kToken:
      return "What the device says of itself";
    case Group::kEvidence:
      break;
  }
  return "Evidence by somebody else";
}

const char* verdict_text(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kHardwareAttested:
      return "hardware-attested";
    case Verdict::kTokenClaims:
      return "token-claims";
    case Verdict::kSoftwareToken:
      return "software-token";
    case Verdict::kCanLeave:
      break;
  }
  return "can-leave";
}

const char* kind_text(Device::Kind kind) noexcept {
  switch (kind) {
    case Device::Kind::kPkcs11:
      return "PKCS#11 token";
    case Device::Kind::kTpm2:
      return "TPM 2.0";
    case Device::Kind::kFile:
      break;
  }
  return "file";
}

std::size_t count(const Report& report, Group group, Finding finding) {
  return static_cast<std::size_t>(std::ranges::count_if(report.checks, [&](const Check& check) {
    return check.group == group && check.finding == finding;
  }));
}

std::optional<Finding> worst(const Report& report, Group group) {
  std::optional<Finding> found;
  for (const Check& check : report.checks) {
    if (check.group == group) found = std::max(found.value_or(Finding::kGood), check.finding);
  }
  return found;
}

std::string unsaid(const Report& report) {
  std::string names;
  for (const Check& check : report.checks)
    if (is_unsaid(check)) names += (names.empty() ? "" : ", ") + check.asked;
  return names;
}

Verdict verdict_of(const Report& report) {
  if (report.device.kind == Device::Kind::kFile || can_leave(report)) return Verdict::kCanLeave;
  if (!report.device.software.empty()) return Verdict::kSoftwareToken;
  return report.evidence.empty() ? Verdict::kTokenClaims : Verdict::kHardwareAttested;
}

std::vector<std::string> reasons_of(const Report& report) {
  const Verdict verdict = verdict_of(report);
  std::vector<std::string> reasons = {first_reason(report, verdict)};
  if (was_elsewhere(report))
    reasons.emplace_back(
        "The key was not always kept so: a copy of it may be elsewhere, which nothing here can "
        "rule out.");
  const std::size_t open = count(report, Group::kAttempts, Finding::kWarning);
  if (open != 0 && verdict != Verdict::kCanLeave)
    reasons.push_back(number(open, " attempt has", " attempts have") +
                      " no clear answer, and prove nothing.");
  if (worst(report, Group::kCertificate) == Finding::kBad)
    reasons.emplace_back("The certificate, or the signature made now, does not fit the key.");
  if (worst(report, Group::kEvidence) == Finding::kBad)
    reasons.emplace_back("The evidence that was given does not hold.");
  if (report.require_hardware && verdict == Verdict::kSoftwareToken)
    reasons.emplace_back("Hardware is required, and this is none.");
  else if (report.require_hardware && verdict != Verdict::kCanLeave && is_open(report))
    reasons.emplace_back("Hardware that keeps the key is required, and whether this does is open.");
  return reasons;
}

bool is_good(const Report& report) {
  const Verdict verdict = verdict_of(report);
  if (verdict == Verdict::kCanLeave) return false;
  for (const Group group : {Group::kCertificate, Group::kEvidence})
    if (worst(report, group) == Finding::kBad) return false;
  return !report.require_hardware ||
         (verdict != Verdict::kSoftwareToken && !was_elsewhere(report) && !is_open(report));
}

std::string command_to_check(const Signature& signature) {
  if (signature.digest.empty())
    return "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in message.txt -sigfile "
           "signature.bin";
  const bool is_pss = signature.algorithm.starts_with("RSA-PSS");
  return "openssl dgst -" + signature.digest + " -verify key.pem " +
         (is_pss ? "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest " : "") +
         "-signature signature.bin message.txt";
}

void print(Output& out, const Report& report) {
  const Verdict verdict = verdict_of(report);
  out.heading("key " + report.key.name);
  out.field("uri", report.key.uri);
  if (!report.key.type.empty()) out.field("type", report.key.type);
  if (!report.key.fingerprint.empty()) out.field("SHA-256", report.key.fingerprint);
  const core::TokenInfo& info = report.device.info;
  out.field("kept in", std::string(kind_text(report.device.kind)) +
                           (info.label.empty() ? "" : " " + info.label));
  out.field(report.device.kind == Device::Kind::kFile ? "file" : "by", info.module);
  if (report.certificate) {
    out.field("certificate", report.certificate->subject);
    out.field("", "ends " + end_text(report.certificate->ends, report.time));
  }
  for (const Group group : {Group::kCertificate, Group::kAttributes, Group::kAttempts,
                            Group::kToken, Group::kEvidence}) {
    std::vector<TableRow> rows;
    for (const Check& check : report.checks) {
      if (check.group != group) continue;
      rows.push_back({{finding_text(check.finding), printable(check.asked), printable(check.answer),
                       printable(check.meaning)},
                      colour_of(check.finding)});
    }
    if (rows.empty()) continue;
    out.line();
    out.heading(group_heading(group));
    print_table(out, rows);
  }
  out.line();
  const bool good = is_good(report);
  const Colour colour = !good                                ? Colour::kRed
                        : verdict == Verdict::kSoftwareToken ? Colour::kYellow
                                                             : Colour::kGreen;
  out.line("verdict " + out.coloured(colour, verdict_text(verdict)));
  for (const std::string& reason : reasons_of(report)) out.line("  " + printable(reason));
}

Json to_json(const Report& report) {
  Json json = {{"verdict", verdict_text(verdict_of(report))},
               {"good", is_good(report)},
               {"reasons", reasons_of(report)},
               {"require_hardware", report.require_hardware},
               {"time", transport::utc_text(report.time)},
               {"host", report.host}};
  json["key"] = {{"uri", report.key.uri},
                 {"label", report.key.name},
                 {"type", fact(report.key.type)},
                 {"sha256", fact(report.key.fingerprint)},
                 {"public_key", fact(report.key.public_key)}};
  json["device"] = device_json(report.device);
  if (report.certificate) json["certificate"] = to_json(*report.certificate);
  if (report.signature)
    json["signature"] = {
        {"algorithm", report.signature->algorithm},
        {"digest", fact(report.signature->digest)},
        {"message", report.signature->message},
        {"message_base64", attest::base64(core::as_bytes(report.signature->message))},
        {"value", attest::base64(report.signature->value)},
        {"check", command_to_check(*report.signature)}};
  json["checks"] = Json::array();
  for (const Check& check : report.checks)
    json["checks"].push_back({{"group", group_text(check.group)},
                              {"asked", check.asked},
                              {"answer", check.answer},
                              {"finding", finding_text(check.finding)},
                              {"meaning", check.meaning}});
  json["evidence"] = Json::array();
  for (const Evidence& evidence : report.evidence)
    json["evidence"].push_back({{"kind", evidence.kind}, {"by", evidence.by}});
  return json;
}

}  // namespace hwid::tool::verify
