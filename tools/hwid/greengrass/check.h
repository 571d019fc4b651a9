// A config.yaml that is not in its place yet, as `hwid doctor` sees it.
#pragma once

#include <string>

#include "tools/hwid/doctor/examination.h"

namespace hwid::tool::greengrass {

// Looks at all but the network. `file` is its name to be, for messages.
class Check {
 public:
  // `openssl_conf`: what a nucleus that goes by OpenSSL will read; empty: the Java one, which does
  // not.
  Check(const std::string& text, const std::string& file, const std::string& openssl_conf);

  bool is_good() const;
  // The answer of hwid doctor, and that the file was not written.
  Exit refuse(Output& out) const;
  // What is in order, and what is a risk all the same: into the answer of who wrote it.
  void tell(Output& out, Json& document) const;

 private:
  static po::variables_map options(const std::string& openssl_conf);

  const std::string file_;
  Invocation invocation_;  // of its own: what the file says is in force, and nothing else
  doctor::Examination examination_;
};

}  // namespace hwid::tool::greengrass
