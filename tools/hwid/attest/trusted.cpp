#include "tools/hwid/attest/trusted.h"

#include <algorithm>
#include <filesystem>

#include "provider/core/error.h"
#include "tools/hwid/attest/device.h"
#include "tools/hwid/ca/index.h"
#include "tools/hwid/files.h"

namespace hwid::tool::attestation {

namespace fs = std::filesystem;
using core::Error;
using core::Reason;

namespace {

// One of `hwid ca`: what else is there is not for others to trust.
attest::Anchors of_ca(Invocation& invocation, const std::string& directory) {
  std::vector<std::string> contents = {read_file(directory + "/ca.pem")};
  const std::string crl = directory + "/crl.pem";
  if (file_exists(crl)) contents.push_back(read_file(crl));
  attest::Anchors anchors = attest::make_anchors(invocation.software(), contents, directory);
  const std::string index = directory + "/index.txt";
  if (!file_exists(index)) return anchors;
  const ca::Index issued = ca::Index::read(index);
  for (const ca::Entry& entry : issued.entries()) {
    if (entry.revoked) anchors.revoked.push_back(entry.serial);
  }
  return anchors;
}

}  // namespace

attest::Anchors anchors_at(Invocation& invocation, const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error))
    return attest::make_anchors(invocation.software(), {read_file(path)}, path);
  if (file_exists(path + "/ca.pem")) return of_ca(invocation, path);
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    const std::string extension = entry.path().extension().string();
    const bool is_certificate = extension == ".pem" || extension == ".crt" || extension == ".cer" ||
                                extension == ".der" || extension == ".crl";
    if (is_certificate && entry.is_regular_file(error)) files.push_back(entry.path().string());
  }
  if (error)
    throw Error(Reason::kNotPermitted,
                "opendir: directory=" + path + ": " + error.message() + "; see who may read it");
  std::ranges::sort(files);
  std::vector<std::string> contents;
  for (const std::string& file : files) {
    std::string content = read_file(file);
    const core::Cleansed guard(content);  // a CA's key may lie beside its certificate
    if (content.find("PRIVATE KEY") == std::string::npos) contents.push_back(content);
  }
  return attest::make_anchors(invocation.software(), contents, path);
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
    // One of an EK is a mistake that must have its answer: it leaves nobody to believe.
    if (content.starts_with("-----BEGIN CERTIFICATE")) {
      const core::Bytes der = certificate_in(invocation, file);
      const core::Certificate given = core::parse_certificate(invocation.software(), der);
      if (given && attest::has_purpose(given.get(), attest::kEkPurpose)) return;
    }
    expected.ak = attest::parse_trusted(content, file);
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
