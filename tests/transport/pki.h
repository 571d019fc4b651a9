#pragma once

#include <filesystem>
#include <string>

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

void write_file(const std::filesystem::path& file, const std::string& text);
std::string read_file(const std::filesystem::path& file);

}  // namespace hwid::test
