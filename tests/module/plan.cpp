#include "tests/module/plan.h"

#include <algorithm>

namespace hwid::test {

Strikes Plan::strikes(Function function) const {
  Strikes found;
  for (const Watch& watch : watches) {
    if (!watch.functions[index_of(function)] || !watch.rule->strikes()) continue;
    const Rule* const rule = watch.rule.get();
    switch (rule->kind) {
      case Rule::Kind::kFault:
        if (found.fault == nullptr) found.fault = rule;
        break;
      case Rule::Kind::kLie:
        if (found.lie == nullptr) found.lie = rule;
        break;
      case Rule::Kind::kDelay:
        found.delay += rule->delay;
        break;
      case Rule::Kind::kEvent:
        found.events.push_back(rule);
        break;
    }
  }
  return found;
}

void Plan::forget(Rule::Kind kind, const FunctionSet& functions) {
  for (Watch& watch : watches) {
    if (watch.rule->kind == kind) watch.functions &= ~functions;
  }
  std::erase_if(watches, [](const Watch& watch) { return watch.functions.none(); });
}

bool Plan::hides_mechanism(CK_MECHANISM_TYPE type) const noexcept {
  return std::ranges::find(hidden_mechanisms, type) != hidden_mechanisms.end();
}

bool Plan::hides_attribute(CK_ATTRIBUTE_TYPE type) const noexcept {
  return std::ranges::find(hidden_attributes, type) != hidden_attributes.end();
}

}  // namespace hwid::test
