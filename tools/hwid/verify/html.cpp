#include "tools/hwid/verify/html.h"

#include "tools/attest/structures.h"
#include "tools/hwid/verify/chain_picture.h"
#include "tools/hwid/verify/style.h"
#include "transport/certificate_text.h"

namespace hwid::tool::verify {
namespace {

// "2026-11-29 13:35:39 UTC"
std::string time_words(std::time_t time) {
  std::string text = transport::utc_text(time);
  if (text.size() == 20) text = text.substr(0, 10) + " " + text.substr(11, 8) + " UTC";
  return text;
}

std::string mark(Finding finding) {
  const std::string name = finding_text(finding);
  return "<svg class=\"mark\" role=\"img\" aria-label=\"" + name + "\"><use href=\"#mark-" + name +
         "\"/></svg>";
}

std::string fact(const char* name, const std::string& value, const char* style = "") {
  if (value.empty()) return "";
  return std::string("<div><dt>") + name + "</dt><dd class=\"" + style + "\">" + html_text(value) +
         "</dd></div>\n";
}

std::string facts_of_key(const Report& report) {
  return "<section><h2>Key</h2><dl>\n" + fact("Name", report.key.name) +
         fact("Type", report.key.type) + fact("Named by", report.key.uri, "code") +
         fact("Public key, SHA-256", report.key.fingerprint, "code") + "</dl></section>\n";
}

std::string facts_of_device(const Report& report) {
  const core::TokenInfo& info = report.device.info;
  const bool is_file = report.device.kind == Device::Kind::kFile;
  const char* const by = report.device.kind == Device::Kind::kTpm2 ? "TCTI" : "Module";
  return "<section><h2>Kept in</h2><dl>\n" + fact("Kind", kind_text(report.device.kind)) +
         fact("Label", info.label) + fact("Maker", info.manufacturer) + fact("Model", info.model) +
         fact("Serial number", info.serial) + fact("Firmware", info.firmware) +
         fact(is_file ? "File" : by, info.module, "code") + "</dl></section>\n";
}

std::string facts_of_certificate(const Report& report) {
  if (!report.certificate) return "";
  const CertificateFacts& facts = *report.certificate;
  return "<section><h2>Certificate</h2><dl>\n" + fact("Subject", facts.subject) +
         fact("Issuer", facts.issuer) + fact("Serial number", facts.serial, "code") +
         fact("Valid", time_words(facts.begins) + " to " + time_words(facts.ends)) +
         fact("SHA-256", facts.fingerprint, "code") + "</dl></section>\n";
}

std::string table_of(const Report& report, Group group) {
  std::string rows;
  // Of what is about use and certificate the questions are ours, not the device's language.
  const std::string code = group == Group::kCertificate ? "" : " class=\"code\"";
  for (const Check& check : report.checks) {
    if (check.group != group) continue;
    rows.append("<tr class=\"").append(finding_text(check.finding)).append("\"><td>");
    rows.append(mark(check.finding));
    rows.append("</td><td").append(code).append(">").append(html_text(check.asked));
    rows.append("</td><td").append(code).append(">").append(html_text(check.answer));
    rows.append("</td><td>").append(html_text(check.meaning)).append("</td></tr>\n");
  }
  if (rows.empty()) return "";
  return std::string("<section class=\"checks\"><h2>") + group_heading(group) +
         "</h2>\n<table><colgroup><col><col><col><col></colgroup><thead><tr><th></th><th>Asked</"
         "th><th>Answer</th><th>Meaning</th></tr>"
         "</thead>\n<tbody>\n" +
         rows + "</tbody></table></section>\n";
}

std::string verdict_section(const Report& report) {
  const Verdict verdict = verdict_of(report);
  std::string section = std::string("<section class=\"verdict ") + verdict_class(verdict) +
                        "\"><div><h2>" + verdict_title(report) + "</h2><p class=\"word\">" +
                        verdict_text(verdict) + "</p></div>\n";
  for (const std::string& reason : reasons_of(report))
    section += "<p>" + html_text(reason) + "</p>\n";
  return section + "</section>\n";
}

// A file that the reader makes.
std::string block(const char* name, const char* id, const std::string& content) {
  return std::string("<p>") + name + ":</p>\n<pre id=\"" + id + "\">" + html_text(content) +
         "</pre>\n";
}

// What anybody can check again, by this page alone: the key, the message, the signature, and how.
std::string signature_section(const Report& report) {
  if (!report.signature) return "";
  const Signature& signature = *report.signature;
  const std::size_t end = report.key.public_key.find_last_not_of('\n') + 1;
  return "<section class=\"signature\"><h2>The signature that the key made for this report</h2>\n"
         "<p>" +
         html_text(signature.algorithm) + ". To check it: <code>" +
         html_text(command_to_check(signature)) +
         "</code>, with the files below, the last two through <code>base64 -d</code>.</p>\n" +
         block("Public key, key.pem", "key", report.key.public_key.substr(0, end)) +
         block("Message, message.txt, in base64", "message",
               attest::base64(core::as_bytes(signature.message))) +
         block("Signature, signature.bin, in base64", "signature",
               attest::base64(signature.value)) +
         "</section>\n";
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string lines;
  std::string out;
  for (std::size_t at = 0; at <= text.size();) {  // a line feed of ours may stay
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines += printable(text.substr(at, end - at));
    if (end < text.size()) lines += '\n';
    at = end + 1;
  }
  for (const char c : lines) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

const char* verdict_title(const Report& report) {
  switch (verdict_of(report)) {
    case Verdict::kHardwareAttested:
      return "The key is in hardware, cannot leave it, and another key attests that";
    case Verdict::kTokenClaims:
      return unsaid(report).empty() ? "The device claims that the key cannot leave it"
                                    : "The key did not leave, and the device does not say that it "
                                      "cannot";
    case Verdict::kSoftwareToken:
      return "The key is kept by software: no hardware protects it";
    case Verdict::kCanLeave:
      break;
  }
  return "The key can leave";
}

const char* verdict_class(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kHardwareAttested:
      return "attested";
    case Verdict::kTokenClaims:
      return "claimed";
    case Verdict::kSoftwareToken:
      return "software";
    case Verdict::kCanLeave:
      break;
  }
  return "leaves";
}

std::string html_page(const Report& report) {
  const std::string name = html_text(report.key.name);
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Key "
      "protection report: " +
      name + "</title>\n<style>" + std::string(kStyle) +
      "</style></head>\n<body>\n<header><p>Key "
      "protection report</p><h1>" +
      name + "</h1><p class=\"when\">" + time_words(report.time) + ", on " +
      html_text(report.host) + "</p></header>\n";
  page += verdict_section(report);
  page += "<figure>" + chain_picture(report) + "</figure>\n<div class=\"facts\">\n";
  page +=
      facts_of_key(report) + facts_of_device(report) + facts_of_certificate(report) + "</div>\n";
  for (const Group group :
       {Group::kCertificate, Group::kAttributes, Group::kAttempts, Group::kToken, Group::kEvidence})
    page += table_of(report, group);
  page += signature_section(report);
  return page +
         "<footer><p>Made by <code>hwid verify</code>, which asked the device at the time above, "
         "and tried for real what is listed. What came out, if anything, was wiped at once.</p>"
         "</footer>\n</body></html>\n";
}

}  // namespace hwid::tool::verify
