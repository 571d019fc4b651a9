// What a CA has issued: index.txt in the form of `openssl ca`, which `openssl ocsp -index` reads
// too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/x509/owners.h"

namespace hwid::tool::ca {

// RFC 5280, section 5.3.1, by OpenSSL's names ("keyCompromise"). removeFromCRL is for delta CRLs.
struct RevocationReason {
  const char* name;
  int code;
};
const RevocationReason* find_reason(const std::string& name) noexcept;  // null if it is none
std::string reason_names();                                             // for messages

// One line: six fields with tabs between. Times are ASN.1's, "261128223105Z".
struct Entry {
  bool revoked = false;
  std::string end;         // notAfter
  std::string revoked_at;  // empty unless revoked
  std::string reason;      // may be empty
  std::string serial;      // upper case hexadecimal, whole bytes
  std::string subject;     // as X509_NAME_oneline writes it

  bool is_over() const;  // its end is past
};

class Index {
 public:
  // Throws core::Error (kBadParameter) with the line that is damaged.
  static Index read(const std::string& path);
  // The whole file, synced, or nothing.
  void write() const;

  const std::vector<Entry>& entries() const noexcept { return entries_; }
  Entry* find(const std::string& serial);  // null if it was not issued here
  void add(const X509* certificate);

 private:
  std::string path_;
  std::vector<Entry> entries_;
};

x509::Time time_of(const std::string& asn1_time);  // null if it is none
std::string current_time();                        // as an entry has it

}  // namespace hwid::tool::ca
