#include "tools/hwid/attest/trusted.h"

#include <algorithm>
#include <cctype>
#include <deque>
#include <filesystem>
#include <initializer_list>

#include "provider/core/error.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/ca/index.h"
#include "tools/hwid/files.h"
#include "tools/hwid/x509/encoding.h"

namespace hwid::tool::attestation {

namespace fs = std::filesystem;
using core::Error;
using core::Reason;

namespace {

attest::Anchors read_anchors(Invocation& invocation, const std::vector<std::string>& paths,
                             const std::string& from) {
  std::vector<attest::AnchorFile> files(paths.size());
  std::deque<core::Cleansed> guards;  // a CA's key may lie beside its certificate
  for (std::size_t i = 0; i < paths.size(); ++i) {
    files[i] = {paths[i], read_file(paths[i])};
    guards.emplace_back(files[i].content);
  }
  return attest::make_anchors(invocation.software(), files, from);
}

bool has_all(const std::string& directory, std::initializer_list<const char*> names) {
  return std::ranges::all_of(names,
                             [&](const char* name) { return file_exists(directory + "/" + name); });
}

// Who is revoked where a CA has its index beside its certificate, the first one in ca.pem.
void add_revoked(Invocation& invocation, attest::Anchors& anchors, const std::string& directory) {
  const std::string file = directory + "/ca.pem";
  std::string content = read_file(file);
  const core::Cleansed guard(content);  // its key may lie beside it
  anchors.index_issuer =
      std::move(x509::parse_certificates(content, file, invocation.software().get()).front());
  const ca::Index issued = ca::Index::read(directory + "/index.txt");
  for (const ca::Entry& entry : issued.entries()) {
    if (entry.revoked) anchors.revoked.push_back(entry.serial);
  }
}

// As makers, people and c_rehash (HASH.0, HASH.r0) name them.
bool is_of_anchors(const fs::path& file) {
  std::string extension = file.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string stem = file.stem().string();
  const std::size_t number = extension.starts_with(".r") ? 2 : 1;
  const bool is_hashed = stem.size() == 8 &&
                         stem.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos &&
                         extension.size() > number &&
                         extension.find_first_not_of("0123456789", number) == std::string::npos;
  return is_hashed || extension == ".pem" || extension == ".crt" || extension == ".cer" ||
         extension == ".der" || extension == ".crl";
}

// A CRL that is not read would revoke nobody: each is a file, or an error.
std::vector<std::string> files_in(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> files;
  for (fs::directory_iterator at(directory, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    if (!is_of_anchors(at->path())) continue;
    std::error_code fault;
    const fs::file_status status = at->status(fault);
    if (fs::is_directory(status)) continue;
    if (!fs::is_regular_file(status))
      throw Error(Reason::kBadParameter,
                  "stat: file=" + at->path().string() + ": " +
                      (fault ? fault.message() : std::string("it is no file")) +
                      "; get it anew, or take it away");
    files.push_back(at->path().string());
  }
  if (error)
    throw Error(Reason::kNotPermitted, "opendir: directory=" + directory + ": " + error.message() +
                                           "; see who may read it");
  std::ranges::sort(files);
  return files;
}

bool is_ek_certificate(Invocation& invocation, const std::string& content,
                       const std::string& file) {
  try {
    const auto given = x509::parse_certificates(content, file, invocation.software().get());
    return attest::has_purpose(given.front().get(), attest::kEkPurpose);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

attest::Anchors anchors_at(Invocation& invocation, const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return read_anchors(invocation, {path}, path);
  // One of `hwid ca`: what else is there is not for others to trust. Its index says who is revoked,
  // so that its CRL, which may be over, says no more. Makers' certificates may be called ca.pem
  // too.
  const bool is_own = has_all(path, {"ca.pem", "ca.key", "index.txt"});
  attest::Anchors anchors = read_anchors(
      invocation, is_own ? std::vector<std::string>{path + "/ca.pem"} : files_in(path), path);
  if (has_all(path, {"ca.pem", "index.txt"})) add_revoked(invocation, anchors, path);
  return anchors;
}

void add_trust_options(po::options_description& options) {
  auto add = options.add_options();
  add("trusted-ak", po::value<std::string>()->value_name("FILE"),
      "the attestation key (AK) that is believed: what `hwid attest accept` wrote, or its public "
      "area (tpm2_readpublic -o)");
  add("ak-ca", po::value<std::string>()->value_name("DIR"),
      "or: who certifies AKs that are believed: a directory of `hwid ca`, or certificates in a "
      "directory or file");
  add("ak-cert", po::value<std::string>()->value_name("FILE"),
      "the AK's certificate, where the evidence does not have it");
}

void add_nonce_option(po::options_description& options, const char* text) {
  options.add_options()("nonce", po::value<std::string>()->value_name("HEX"), text);
}

Trust::Trust(Invocation& invocation, const std::string& ca_directory) {
  if (invocation.has("trusted-ak") && invocation.has("ak-ca"))
    throw UsageError("--trusted-ak and --ak-ca: give one of them");
  if (invocation.has("ak-cert"))
    ak_certificate = certificate_in(invocation, invocation.text("ak-cert"));
  if (invocation.has("trusted-ak")) {
    const std::string file = invocation.text("trusted-ak");
    const std::string content = read_file(file);
    try {
      expected.ak = attest::parse_trusted(content, file);
    } catch (const Error&) {
      // One of an EK is a mistake that must have its answer: it leaves nobody to believe.
      if (is_ek_certificate(invocation, content, file)) return;
      throw;
    }
    expected.ek_certificate = attest::trusted_ek_certificate(content, file);
    text = "AK of " + file;
    return;
  }
  const std::string path = invocation.has("ak-ca") ? invocation.text("ak-ca") : ca_directory;
  if (path.empty()) return;
  ak_anchors_ = anchors_at(invocation, path);
  expected.ak_anchors = &*ak_anchors_;
  text = "AKs certified by " + path;
}

}  // namespace hwid::tool::attestation
