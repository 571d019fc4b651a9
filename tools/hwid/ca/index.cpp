#include "tools/hwid/ca/index.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool::ca {
namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;
constexpr std::array<RevocationReason, 8> kReasons = {{{"unspecified", 0},
                                                       {"keyCompromise", 1},
                                                       {"CACompromise", 2},
                                                       {"affiliationChanged", 3},
                                                       {"superseded", 4},
                                                       {"cessationOfOperation", 5},
                                                       {"certificateHold", 6},
                                                       {"privilegeWithdrawn", 9}}};

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  for (const char c : line) {
    if (c == '\t')
      fields.emplace_back();
    else
      fields.back() += c;
  }
  return fields;
}

bool is_serial(const std::string& text) {
  return !text.empty() && text.size() % 2 == 0 &&
         text.find_first_not_of("0123456789ABCDEF") == std::string::npos;
}

// nullopt if it is damaged. (E: `openssl ca -updatedb` marks what is over.)
std::optional<Entry> parse(const std::string& line) {
  const std::vector<std::string> fields = fields_of(line);
  if (fields.size() != 6 || (fields[0] != "V" && fields[0] != "R" && fields[0] != "E"))
    return std::nullopt;
  Entry entry;
  entry.revoked = fields[0] == "R";
  entry.end = fields[1];
  const std::size_t comma = std::min(fields[2].find(','), fields[2].size());
  entry.revoked_at = fields[2].substr(0, comma);
  if (comma < fields[2].size()) entry.reason = fields[2].substr(comma + 1);
  entry.serial = fields[3];
  entry.subject = fields[5];
  const bool good = time_of(entry.end) && is_serial(entry.serial) &&
                    (!entry.revoked || time_of(entry.revoked_at)) &&
                    (entry.reason.empty() || find_reason(entry.reason) != nullptr);
  return good ? std::optional(entry) : std::nullopt;
}

std::string line_of(const Entry& entry) {
  const std::string revocation =
      entry.revoked_at + (entry.reason.empty() ? "" : "," + entry.reason);
  return (entry.revoked ? "R\t" : "V\t") + entry.end + "\t" + revocation + "\t" + entry.serial +
         "\tunknown\t" + entry.subject + "\n";
}

std::string bytes_of(const ASN1_TIME* time) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(time)),
          static_cast<std::size_t>(ASN1_STRING_length(time))};
}

}  // namespace

const RevocationReason* find_reason(const std::string& name) noexcept {
  const auto* const found =
      std::find_if(kReasons.begin(), kReasons.end(),
                   [&](const RevocationReason& reason) { return name == reason.name; });
  return found != kReasons.end() ? found : nullptr;
}

std::string reason_names() {
  std::string names;
  for (const RevocationReason& reason : kReasons)
    names.append(names.empty() ? "" : ", ").append(reason.name);
  return names;
}

x509::Time time_of(const std::string& asn1_time) {
  x509::Time time = x509::made(x509::Time(ASN1_TIME_new()));
  if (ASN1_TIME_set_string(time.get(), asn1_time.c_str()) != 1) return nullptr;
  return time;
}

std::string current_time() { return bytes_of(x509::time_from_now(0, 0).get()); }

bool Entry::is_over() const { return x509::is_past(time_of(end).get()); }

Index Index::read(const std::string& path) {
  Index index;
  index.path_ = path;
  std::istringstream lines(read_file(path, kMostBytes));
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    const std::optional<Entry> entry = parse(line);
    if (!entry)
      throw core::Error(core::Reason::kBadParameter,
                        "file=" + path + ": line " + std::to_string(number) +
                            " is damaged; mend it, or take the file from a backup: who is "
                            "revoked must not be forgotten");
    index.entries_.push_back(*entry);
  }
  return index;
}

void Index::write() const {
  std::string content;
  for (const Entry& entry : entries_) content += line_of(entry);
  write_file(path_, content, 0600, Existing::kReplace);
}

Entry* Index::find(const std::string& serial) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.serial == serial; });
  return found != entries_.end() ? &*found : nullptr;
}

void Index::add(const X509* certificate) {
  Entry entry;
  entry.end = bytes_of(X509_get0_notAfter(certificate));
  entry.serial = x509::serial_text(X509_get0_serialNumber(certificate));
  char* const subject = X509_NAME_oneline(X509_get_subject_name(certificate), nullptr, 0);
  if (subject == nullptr) throw std::bad_alloc();
  entry.subject = subject;  // control characters are \xNN in it
  OPENSSL_free(subject);
  entries_.push_back(entry);
}

}  // namespace hwid::tool::ca
