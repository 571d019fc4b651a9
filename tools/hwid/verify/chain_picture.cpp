#include "tools/hwid/verify/chain_picture.h"

#include <algorithm>
#include <array>

#include "provider/core/utf8.h"
#include "tools/hwid/verify/html.h"
#include "transport/certificate_text.h"

namespace hwid::tool::verify {
namespace {

// In pixels of the picture.
constexpr int kBoxWidth = 152;
constexpr int kBoxHeight = 92;
constexpr int kGap = 44;
constexpr int kTop = 4;
constexpr int kMiddle = kTop + kBoxHeight / 2;
constexpr int kWidth = 4 * kBoxWidth + 3 * kGap;
constexpr int kHeight = 134;
constexpr int kPadding = 9;
constexpr double kTitleSize = 12.5 * 1.12;  // it is bold
constexpr double kLineSize = 10;
constexpr double kCaptionSize = 9.5;

// Of a wide font (DejaVu Sans), as a part of its size; what is not known is wider.
double width_of(std::uint32_t code_point) noexcept {
  constexpr std::string_view kNarrow = "fijlrtI!|.,:;'()[] /\\-";
  constexpr std::string_view kWide = "mwMW@%";
  constexpr std::uint32_t kLatin = 0x250;
  constexpr std::uint32_t kPictures = 0x1f000;
  if (code_point >= 0x80) return code_point < kLatin ? 0.75 : code_point < kPictures ? 1.05 : 1.4;
  const char c = static_cast<char>(code_point);
  if (kNarrow.find(c) != std::string_view::npos) return 0.41;
  if (kWide.find(c) != std::string_view::npos) return 1.0;
  return c >= 'A' && c <= 'Z' ? 0.76 : 0.64;
}

struct Box {
  const char* kind;
  std::string title;
  std::array<std::string, 2> lines;
  bool is_there = true;
};

struct Link {
  Finding finding;
  std::array<std::string, 2> caption;
};

std::string number(int value) { return std::to_string(value); }

std::string text_at(int x, int y, const char* style, std::string_view text, double size,
                    double room) {
  if (text.empty()) return "";
  const std::string shown = printable(text);
  const std::string cut = fitted(shown, room, size);
  std::string element =
      "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" class=\"" + style + "\">";
  if (cut != shown) element += "<title>" + html_text(text) + "</title>";
  return element + html_text(cut) + "</text>\n";
}

std::string drawn(const Box& box, int index) {
  const int left = index * (kBoxWidth + kGap);
  const double room = kBoxWidth - 2 * kPadding;
  std::string svg = "<g class=\"box\"><rect x=\"" + number(left + 1) + "\" y=\"" + number(kTop) +
                    "\" width=\"" + number(kBoxWidth - 2) + "\" height=\"" + number(kBoxHeight) +
                    "\" rx=\"5\" class=\"" + (box.is_there ? "there" : "missing") + "\"/>\n";
  const int x = left + kPadding;
  svg += text_at(x, kTop + 19, "kind", box.kind, kLineSize, room);
  svg += text_at(x, kTop + 42, box.is_there ? "title" : "none", box.title, kTitleSize, room);
  svg += text_at(x, kTop + 61, "line", box.lines[0], kLineSize, room);
  svg += text_at(x, kTop + 77, "line", box.lines[1], kLineSize, room);
  return svg + "</g>\n";
}

std::string drawn(const Link& link, int index) {
  const int from = (index + 1) * kBoxWidth + index * kGap;
  const int centre = from + kGap / 2;
  const bool holds = link.finding == Finding::kGood;
  std::string svg = "<g class=\"link\"><line x1=\"" + number(from) + "\" y1=\"" + number(kMiddle) +
                    "\" x2=\"" + number(from + kGap) + "\" y2=\"" + number(kMiddle) +
                    "\" class=\"" + (holds ? "holds" : "open") + "\"/>\n<use href=\"#mark-" +
                    finding_text(link.finding) + "\" x=\"" + number(centre - 9) + "\" y=\"" +
                    number(kMiddle - 9) + "\" width=\"18\" height=\"18\"/>\n";
  constexpr double kRoom = 150;
  svg += text_at(centre, kTop + kBoxHeight + 18, "caption", link.caption[0], kCaptionSize, kRoom);
  svg += text_at(centre, kTop + kBoxHeight + 31, "caption", link.caption[1], kCaptionSize, kRoom);
  return svg + "</g>\n";
}

std::string date_of(std::time_t time) { return transport::utc_text(time).substr(0, 10); }

Box certificate_box(const Report& report) {
  if (!report.certificate)
    return {"CERTIFICATE", "none was given", {"", "--cert FILE checks it"}, false};
  const CertificateFacts& facts = *report.certificate;
  return {"CERTIFICATE", facts.subject, {"by " + facts.issuer, "until " + date_of(facts.ends)}};
}

Box key_box(const Report& report) {
  const std::string print = report.key.fingerprint.substr(0, 12);
  return {
      "PRIVATE KEY", report.key.name, {report.key.type, print.empty() ? "" : "SHA-256 " + print}};
}

Box device_box(const Report& report) {
  const core::TokenInfo& info = report.device.info;
  switch (report.device.kind) {
    case Device::Kind::kFile:
      return {"FILE", info.module, {"an ordinary file", "no device"}};
    case Device::Kind::kTpm2:
      return {"TPM 2.0",
              info.label.empty() ? info.module : info.label,
              {info.manufacturer + " " + info.model, "firmware " + info.firmware}};
    case Device::Kind::kPkcs11:
      break;
  }
  return {"TOKEN (PKCS#11)", info.label, {info.manufacturer, info.model}};
}

Box evidence_box(const Report& report) {
  if (worst(report, Group::kEvidence) == Finding::kBad)
    return {"EVIDENCE", "does not hold", {"what was given", "proves nothing"}, false};
  if (report.evidence.empty())
    return {"EVIDENCE", "none", {"nobody else attests", "where the key is"}, false};
  const Evidence& evidence = report.evidence.front();
  return {"EVIDENCE", evidence.by, {evidence.kind, ""}};
}

Link certificate_link(const Report& report) {
  const Finding worst_of = worst(report, Group::kCertificate).value_or(Finding::kNote);
  if (!report.certificate) return {Finding::kNote, {"no certificate", "to compare"}};
  if (worst_of == Finding::kBad) return {worst_of, {"does not fit,", "or is not valid now"}};
  return {worst_of, {"same public key,", report.signature ? "fresh signature" : "in use now"}};
}

Link device_link(const Report& report) {
  const std::size_t refused = count(report, Group::kAttempts, Finding::kGood);
  if (verdict_of(report) == Verdict::kCanLeave) return {Finding::kBad, {"the key", "can leave"}};
  const bool is_doubtful = worst(report, Group::kAttributes) == Finding::kWarning ||
                           worst(report, Group::kAttempts) == Finding::kWarning;
  return {is_doubtful ? Finding::kWarning : Finding::kGood,
          {std::to_string(refused) + (refused == 1 ? " attempt" : " attempts"), "to leave failed"}};
}

Link evidence_link(const Report& report) {
  if (worst(report, Group::kEvidence) == Finding::kBad)
    return {Finding::kBad, {"evidence that", "does not hold"}};
  if (!report.evidence.empty()) return {Finding::kGood, {"attested", "by another key"}};
  if (report.device.kind == Device::Kind::kFile) return {Finding::kBad, {"no hardware", ""}};
  if (!report.device.software.empty()) return {Finding::kWarning, {"software,", "no hardware"}};
  return {Finding::kNote, {"the device's", "own word"}};
}

// A circle with a tick, a dash, an exclamation mark or a cross: told apart without colours, too.
constexpr std::string_view kSymbols =
    R"(<symbol id="mark-good" viewBox="0 0 18 18"><circle cx="9" cy="9" r="8" fill="#1a7f4b"/><path d="M5 9.4 8 12.3 13.2 6.4" fill="none" stroke="#fff" stroke-width="2"/></symbol>
<symbol id="mark-note" viewBox="0 0 18 18"><circle cx="9" cy="9" r="7.2" fill="#fff" stroke="#7a8594" stroke-width="1.6"/><path d="M5.6 9h6.8" stroke="#7a8594" stroke-width="1.8"/></symbol>
<symbol id="mark-warning" viewBox="0 0 18 18"><path d="M9 1.2 17.2 16.4H.8Z" fill="#c77700"/><path d="M9 6.4v5M9 13v1.8" stroke="#fff" stroke-width="1.9"/></symbol>
<symbol id="mark-bad" viewBox="0 0 18 18"><rect x="1" y="1" width="16" height="16" rx="2" fill="#b3202a"/><path d="M5.4 5.4l7.2 7.2m0-7.2-7.2 7.2" stroke="#fff" stroke-width="2"/></symbol>
)";

}  // namespace

std::string fitted(std::string_view text, double width, double size) {
  constexpr std::string_view kEllipsis = "\xe2\x80\xa6";
  double used = 0;
  std::size_t cut_at = 0;  // the last place where the ellipsis still fits
  for (std::size_t at = 0; at < text.size();) {
    const core::CodePoint point = core::first_code_point(text.substr(at));
    if (used + size <= width) cut_at = at;
    used += width_of(point.value) * size;
    if (used > width) return std::string(text.substr(0, cut_at)) + std::string(kEllipsis);
    at += std::max<std::size_t>(point.size, 1);
  }
  return std::string(text);
}

std::string chain_picture(const Report& report) {
  const Box boxes[] = {certificate_box(report), key_box(report), device_box(report),
                       evidence_box(report)};
  const Link links[] = {certificate_link(report), device_link(report), evidence_link(report)};
  std::string svg = "<svg class=\"chain\" viewBox=\"0 0 " + number(kWidth) + " " + number(kHeight) +
                    "\" role=\"img\" aria-label=\"certificate, key, device and evidence\" "
                    "xmlns=\"http://www.w3.org/2000/svg\">\n<defs>";
  svg.append(kSymbols).append("</defs>\n");
  for (int index = 0; index < 3; ++index) svg += drawn(links[index], index);
  for (int index = 0; index < 4; ++index) svg += drawn(boxes[index], index);
  return svg + "</svg>\n";
}

}  // namespace hwid::tool::verify
