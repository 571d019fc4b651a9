#include "tools/hwid/greengrass/check.h"

#include <cstdlib>

#include "tools/hwid/doctor/report.h"

namespace hwid::tool::greengrass {

using doctor::Probe;
using doctor::Weight;

po::variables_map Check::options(const std::string& openssl_conf) {
  po::variables_map options;
  if (!openssl_conf.empty())
    options.insert({"openssl-conf", po::variable_value(openssl_conf, false)});
  return options;
}

Check::Check(const std::string& text, const std::string& file, const std::string& openssl_conf)
    : file_(file), invocation_(options(openssl_conf), {}), examination_(invocation_) {
  ::setenv("HWID_LOG", "off", 0);  // what it would say is the answer
  examination_.greengrass_file = file;
  examination_.greengrass = Config::parse(text, file);
  examination_.skip({Probe::kNetwork});  // a device is set up before it is where it works
  doctor::examine(examination_);
}

bool Check::is_good() const { return doctor::is_healthy(examination_); }

Exit Check::refuse(Output& out) const {
  Output::note("hwid greengrass: " + printable(file_) +
               " is not written: with what it would say Greengrass does not start");
  return doctor::report(out, examination_);
}

void Check::tell(Output& out, Json& document) const {
  out.field("checked", doctor::passed_text(examination_));
  doctor::print(out, Weight::kRisk, examination_);
  document["checked"] = examination_.passed();
  document["risks"] = doctor::json_of(Weight::kRisk, examination_);
}

}  // namespace hwid::tool::greengrass
