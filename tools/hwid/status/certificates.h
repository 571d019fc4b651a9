// Certificates and CRLs: when they end.
#pragma once

#include <chrono>
#include <ctime>
#include <set>
#include <string>

#include "tools/hwid/facts.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/status/report.h"

namespace hwid::tool::status {

// Before a certificate ends. Of a short life no more counts than a quarter (warning) or an eighth
// (critical), unless somebody has asked for these times.
struct Limits {
  std::chrono::seconds warning;
  std::chrono::seconds critical;
  bool is_warning_asked = false;
  bool is_critical_asked = false;
};

// Puts a row for each into a report. What cannot be read is a row, too: nothing is thrown but what
// is wrong with openssl.cnf. Never logs in. One thread.
class Certificates {
 public:
  Certificates(Invocation& invocation, Report& report, Limits limits, std::time_t now)
      : invocation_(invocation), report_(report), limits_(limits), now_(now) {}

  // Each certificate once, at the place that is given first. `place`: a file (PEM or DER) or a URI.
  void look_at(const std::string& place);
  // All that the token shows without a login.
  void look_at(const core::TokenInfo& token);
  // A file of CRLs. One is due soon when a quarter of its time is left, or `critical` days if that
  // is less: many live shorter than certificates' warnings are.
  void look_at_crls(const std::string& file);

  // 0 where there are none.
  std::time_t newest_begin() const noexcept { return newest_begin_; }

 private:
  void add_file(const std::string& file);
  enum class Makers { kToo, kNot };
  std::size_t add_objects(const std::string& uri, Makers makers);
  void add(const std::string& place, core::ByteView der);
  void add(const std::string& place, const CertificateFacts& certificate);
  void add_crl(const std::string& file, const X509_CRL* crl);

  Invocation& invocation_;
  Report& report_;
  const Limits limits_;
  const std::time_t now_;
  std::set<std::string> seen_;  // fingerprints
  std::time_t newest_begin_ = 0;
};

}  // namespace hwid::tool::status
