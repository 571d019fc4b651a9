#include "tools/hwid/enrol/result.h"

#include "tools/hwid/delivery.h"

namespace hwid::tool::enrol {

void print(Invocation& invocation, const std::string& heading, const Facts& facts) {
  Output& out = invocation.out();
  out.heading(heading);
  Json document = Json::object();
  for (const auto& [name, value] : facts) {
    out.field(label_of(name), value.is_string() ? value.get<std::string>() : value.dump());
    document[name] = value;
  }
  out.document(document);
}

}  // namespace hwid::tool::enrol
