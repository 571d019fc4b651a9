// CRLs and OCSP responses as a CA of the test would give them out.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hwid::test {

// Seconds from now.
struct Period {
  long from = -60;
  long until = 3600;  // 0: it does not say
};

// Appends a CRL of DIR/CA to DIR/FILE, with the certificates DIR/NAME.pem of `revoked`.
void append_crl(const std::filesystem::path& directory, const std::string& file,
                const std::string& ca, const std::vector<std::string>& revoked, Period period = {});

enum class OcspStatus { good, revoked, unknown };

// Writes DIR/FILE, what DIR/SIGNER says about the certificate DIR/ABOUT.pem, which DIR/CA issued.
void write_ocsp_response(const std::filesystem::path& directory, const std::string& file,
                         const std::string& ca, const std::string& signer, const std::string& about,
                         OcspStatus status, Period period = {});

}  // namespace hwid::test
