// hwid ca revoke: a certificate of the CA's is good no longer.
#include <algorithm>
#include <cctype>

#include "provider/core/error.h"
#include "tools/hwid/ca/authority.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/files.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool {
namespace {

using ca::Authority;
using core::Error;
using core::Reason;

void add_options(po::options_description& options) {
  ca::add_directory_option(options);
  options.add_options()("reason", po::value<std::string>()->value_name("REASON"),
                        "keyCompromise, superseded, cessationOfOperation, ... (default: not said)");
}

// "0x4A:b1" as the index has it; empty if it is no serial number.
std::string normal_serial(std::string text) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.erase(0, 2);
  text.erase(std::remove(text.begin(), text.end(), ':'), text.end());
  const bool good =
      !text.empty() && text.size() <= 40 &&
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (!good) return "";
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text.size() % 2 == 0 ? text : "0" + text;
}

// A file before a number: one may be called so.
std::string serial_meant(Invocation& invocation, const Authority& ca) {
  const std::string& argument = invocation.arguments()[0];
  if (!file_exists(argument) && argument != "-") {
    std::string serial = normal_serial(argument);
    if (serial.empty())
      throw UsageError("\"" + argument + "\" is neither a file nor a serial number");
    return serial;
  }
  const x509::Certificate certificate = std::move(
      x509::parse_certificates(read_file(argument), argument, invocation.software().get()).front());
  const core::ErrorMark mark;
  if (X509_verify(certificate.get(), X509_get0_pubkey(ca.certificate())) != 1)
    throw Error(Reason::kUnsupported, "file=" + argument +
                                          ": this CA (directory=" + ca.directory() +
                                          ") did not issue it; name the one that did with --dir");
  return x509::serial_text(X509_get0_serialNumber(certificate.get()));
}

Exit run(Invocation& invocation) {
  const std::string reason = invocation.text("reason");
  if (invocation.has("reason") && ca::find_reason(reason) == nullptr)
    throw UsageError("--reason: \"" + reason + "\" is none of " + ca::reason_names());
  Authority ca(invocation);
  const std::string serial = serial_meant(invocation, ca);
  ca::Entry* const entry = ca.index().find(serial);
  if (entry == nullptr)
    throw Error(Reason::kNoObject, "serial=" + serial + ": not issued by the CA in " +
                                       ca.directory() + "; `hwid ca list` shows what was");
  if (entry->revoked)
    throw Error(Reason::kExists, "serial=" + serial + ": revoked already, at " +
                                     x509::time_text(ca::time_of(entry->revoked_at).get()) +
                                     "; `hwid ca crl` makes the list of what is revoked");
  entry->revoked = true;
  entry->revoked_at = ca::current_time();
  entry->reason = reason;
  ca.index().write();
  const std::string at = x509::time_text(ca::time_of(entry->revoked_at).get());
  Output& out = invocation.out();
  out.heading("Revoked");
  out.field("serial", serial);
  out.field("subject", entry->subject);
  out.field("at", at);
  if (!reason.empty()) out.field("reason", reason);
  if (!out.json()) Output::note("Nobody knows of it before the next CRL: hwid ca crl.");
  out.document(
      {{"serial", serial}, {"subject", entry->subject}, {"revoked_at", at}, {"reason", reason}});
  return kGood;
}

}  // namespace

const Command kCaRevoke = {
    "ca revoke",
    "SERIAL|CERT [--reason REASON]",
    "revoke a certificate that the CA issued",
    "Marks the certificate as revoked, by its serial number (hexadecimal) or its file. The next\n"
    "`hwid ca crl` has it.",
    "  hwid ca revoke device.pem --reason superseded\n"
    "  hwid ca revoke 5B0E6C3A2F41D7908E15A6C4B2D3F071 --reason keyCompromise\n",
    1,
    1,
    add_options,
    run,
    false};

}  // namespace hwid::tool
