// hwid ca list: what the CA issued.
#include "tools/hwid/ca/authority.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/x509/name.h"

namespace hwid::tool {
namespace {

using ca::Entry;

const char* state_of(const Entry& entry) {
  return entry.revoked ? "revoked" : entry.is_over() ? "expired" : "valid";
}

Json as_json(const Entry& entry) {
  Json json = {{"serial", entry.serial},
               {"state", state_of(entry)},
               {"not_after", x509::time_text(ca::time_of(entry.end).get())},
               {"subject", entry.subject}};
  if (entry.revoked) {
    json["revoked_at"] = x509::time_text(ca::time_of(entry.revoked_at).get());
    json["reason"] = entry.reason;
  }
  return json;
}

void print(Output& out, const Entry& entry) {
  std::string state = state_of(entry);
  state.resize(9, ' ');
  std::string line = "  " + entry.serial + "  " + state +
                     x509::time_text(ca::time_of(entry.end).get()) + "  " +
                     printable(entry.subject);
  if (entry.revoked) {
    line += "  (since " + x509::time_text(ca::time_of(entry.revoked_at).get());
    if (!entry.reason.empty()) line += ", " + entry.reason;
    line += ")";
  }
  out.line(line);
}

Exit run(Invocation& invocation) {
  ca::Authority ca(invocation);
  const std::string subject = x509::name_text(X509_get_subject_name(ca.certificate()));
  const std::string end = x509::time_text(X509_get0_notAfter(ca.certificate()));
  Output& out = invocation.out();
  Json certificates = Json::array();
  out.heading(subject);
  out.field("directory", ca.directory());
  out.field("ends", end);
  out.line(ca.index().entries().empty() ? "No certificates." : "Certificates");
  for (const Entry& entry : ca.index().entries()) {
    print(out, entry);
    certificates.push_back(as_json(entry));
  }
  out.document({{"subject", subject},
                {"directory", ca.directory()},
                {"not_after", end},
                {"certificates", certificates}});
  return kGood;
}

}  // namespace

const Command kCaList = {"ca list",
                         "[--dir DIR]",
                         "show what the CA issued",
                         "Shows the certificates with their serial number, state (valid, expired, "
                         "revoked), end and\nsubject.",
                         "  hwid ca list\n"
                         "  hwid ca list --dir ./ca --json\n",
                         0,
                         0,
                         ca::add_directory_option,
                         run,
                         false};

}  // namespace hwid::tool
