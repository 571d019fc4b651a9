#include "tools/hwid/doctor/report.h"

namespace hwid::tool::doctor {
namespace {

std::vector<const Finding*> of_weight(Weight weight, const Examination& examination) {
  std::vector<const Finding*> all;
  for (const Finding& finding : examination.findings()) {
    if (finding.cause->weight == weight) all.push_back(&finding);
  }
  return all;
}

Json json_of(const Finding& finding) {
  return {{"id", finding.cause->id},
          {"part", title_of(finding.cause->probe)},
          {"weight", finding.cause->weight == Weight::kBroken ? "broken" : "risk"},
          {"cause", finding.text()},
          {"evidence", finding.evidence()},
          {"fix", finding.fix()}};
}

void print(Output& out, const Finding& finding, bool is_first) {
  const bool is_risk = finding.cause->weight == Weight::kRisk;
  const std::string text = printable(finding.text()) + " [" + finding.cause->id + "]";
  out.line(out.coloured(is_risk ? Colour::kYellow : Colour::kRed, is_risk    ? "risk: "
                                                                  : is_first ? "cause: "
                                                                             : "then: ") +
           text);
  out.field("seen", finding.evidence());
  out.field("fix", finding.fix());
}

}  // namespace

bool is_healthy(const Examination& examination) {
  return of_weight(Weight::kBroken, examination).empty();
}

void print(Output& out, Weight weight, const Examination& examination) {
  bool is_first = true;
  for (const Finding* const finding : of_weight(weight, examination)) {
    print(out, *finding, is_first);
    is_first = false;
  }
}

Json json_of(Weight weight, const Examination& examination) {
  Json all = Json::array();
  for (const Finding* const finding : of_weight(weight, examination))
    all.push_back(json_of(*finding));
  return all;
}

std::string passed_text(const Examination& examination) {
  std::string text;
  for (const std::string& part : examination.passed())
    text.append(text.empty() ? "" : ", ").append(part);
  return text;
}

Exit report(Output& out, const Examination& examination) {
  const bool healthy = is_healthy(examination);
  print(out, Weight::kBroken, examination);
  if (healthy)
    out.line(out.coloured(Colour::kGreen, "nothing is broken") + ": " +
             printable(passed_text(examination)));
  print(out, Weight::kRisk, examination);
  Json others = json_of(Weight::kBroken, examination);
  const Json cause = healthy ? Json() : others.front();
  if (!healthy) others.erase(0);
  out.document({{"healthy", healthy},
                {"cause", cause},
                {"others", others},
                {"risks", json_of(Weight::kRisk, examination)},
                {"passed", examination.passed()}});
  return healthy ? kGood : kAnswerIsNo;
}

}  // namespace hwid::tool::doctor
