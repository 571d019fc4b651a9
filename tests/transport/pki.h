#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace hwid::test {

// A directory of its own, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  std::filesystem::path path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// Writes DIR/NAME.key and DIR/NAME.pem, an EC P-256 software key and a certificate with CN=NAME,
// signed by DIR/ISSUER, or a CA signed by itself where `issuer` is empty. `san` is what openssl
// takes as subjectAltName, e.g. "DNS:localhost".
void make_certificate(const std::filesystem::path& directory, const std::string& name,
                      const std::string& issuer, const std::string& san = {});

// The same with what is seldom wanted.
struct CertificateOptions {
  std::string issuer;
  std::string san;
  std::string organization;
  long valid_from = -24L * 3600;  // seconds from now
  long valid_until = 24L * 3600;
  bool ca = false;                                      // also without `issuer`
  std::vector<std::pair<int, std::string>> extensions;  // NID, and what openssl takes as value
  std::string key;  // NAME of a key that is there; empty: a new one
};
void make_certificate(const std::filesystem::path& directory, const std::string& name,
                      const CertificateOptions& options);

void write_file(const std::filesystem::path& file, const std::string& text);
std::string read_file(const std::filesystem::path& file);

}  // namespace hwid::test
