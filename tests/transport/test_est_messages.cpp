// What an EST server may answer, and what is made of it.
#include <doctest/doctest.h>
#include <hwid/transport_error.h>

#include "openssl_owners.h"
#include "pki.h"
#include "tls_server.h"
#include "transport/base64.h"
#include "transport/certificate_text.h"
#include "transport/cloud/est_anchors.h"
#include "transport/cloud/est_messages.h"

using namespace hwid::test;            // NOLINT(google-build-using-namespace)
using namespace hwid::transport;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport::est;  // NOLINT(google-build-using-namespace)

namespace {

std::string why_not(const std::string& body) {
  try {
    certificates_in(body);
  } catch (const Garbage& error) {
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// ca, device by it, and what openssl makes of them.
class Authority {
 public:
  Authority() {
    make_certificate(path(), "ca", "");
    make_certificate(path(), "device", "ca");
    make_certificate(path(), "other-ca", "");
    make_certificate(path(), "stranger", "other-ca");
  }
  std::filesystem::path path() const { return directory_.path(); }

  std::string certs_only(const std::vector<std::string>& names) const {
    std::vector<std::string> arguments = {"crl2pkcs7", "-nocrl", "-outform", "DER", "-out", "p7"};
    for (const auto& name : names) {
      arguments.emplace_back("-certfile");
      arguments.push_back(name + ".pem");
    }
    openssl(path(), arguments);
    return to_base64(read_file(directory_ / "p7"));
  }
  std::vector<X509Ptr> certificates(const std::string& name) const {
    return read_certificates((directory_ / (name + ".pem")).string());
  }
  std::vector<X509Ptr> certificates(const std::string& one, const std::string& two) const {
    auto all = certificates(one);
    for (auto& more : certificates(two)) all.push_back(std::move(more));
    return all;
  }

 private:
  TemporaryDirectory directory_;
};

std::string lines_of(const std::string& text) {
  std::string lines;
  for (std::size_t at = 0; at < text.size(); at += 64) lines += text.substr(at, 64) + "\r\n";
  return lines;
}

}  // namespace

TEST_CASE("est: base64 with line ends, without, and nothing else") {
  for (const std::string bytes : {"a", "ab", "abc", "abcd"}) {
    CHECK(from_base64(to_base64(bytes)) == bytes);
    CHECK(from_base64(" " + to_base64(bytes) + "\r\n") == bytes);
  }
  CHECK(from_base64("YW Jj\nZA==") == "abcd");
  for (const std::string bad :
       {"", "\r\n", "YWJ", "YWJj=", "=YWJ", "Y=Jj", "YW===", "YWJj-A==", "<html>", "YWJjZA==YWJj"})
    CHECK_THROWS_AS(from_base64(bad), Garbage);
  CHECK_THROWS_AS(from_base64(std::string("YWJj\0ZGVm", 9)), Garbage);
}

TEST_CASE("est: certificates of a certs-only message") {
  const Authority authority;
  const std::string body = authority.certs_only({"device", "ca"});
  for (const std::string& form : {body, lines_of(body)}) {
    const auto found = certificates_in(form);
    REQUIRE(found.size() == 2);
    CHECK(same_certificates(found, authority.certificates("ca", "device")));
  }
}

TEST_CASE("est: what is no certs-only message is refused with the reason") {
  const Authority authority;
  const std::string body = authority.certs_only({"ca"});
  CHECK(contains(why_not("<html>Welcome</html>"), "not base64"));
  CHECK(contains(why_not(""), "empty"));
  CHECK(contains(why_not(body.substr(0, body.size() / 8 * 4)), "no PKCS#7"));
  CHECK(contains(why_not(to_base64(from_base64(body) + "x")), "no PKCS#7"));
  CHECK(contains(why_not(to_base64("garbage, but base64")), "no PKCS#7"));
  CHECK(contains(why_not(authority.certs_only({})), "no certificate"));
  openssl(authority.path(), {"smime", "-sign", "-nodetach", "-outform", "DER", "-signer", "ca.pem",
                             "-inkey", "ca.key", "-in", "ca.pem", "-out", "signed"});
  CHECK(contains(why_not(to_base64(read_file(authority.path() / "signed"))), "signed"));
  openssl(authority.path(),
          {"cms", "-data_create", "-outform", "DER", "-in", "ca.pem", "-out", "data"});
  CHECK(contains(why_not(to_base64(read_file(authority.path() / "data"))), "not SignedData"));
  // Whatever is changed in it, nothing but Garbage is thrown.
  const std::string der = from_base64(body);
  for (std::size_t at = 0; at < der.size(); ++at) {
    std::string changed = der;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    (void)why_not(to_base64(changed));
    (void)why_not(to_base64(der.substr(0, at)));
  }
}

TEST_CASE("est: the attributes that a server wants of a request") {
  SUBCASE("RFC 7030's own example (section 4.5.2)") {
    const auto wanted = csr_attributes_in(
        "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJ\n"
        "BgcrBgEBAQEWBggqhkjOPQQDAw==\n");
    CHECK(wanted.challenge_password);
    CHECK(wanted.key_type == "EC");
    CHECK(wanted.group == "secp384r1");
    CHECK(wanted.digest == "SHA384");
    CHECK(wanted.extensions == std::vector<std::string>{"1.3.6.1.1.1.1.22"});
    CHECK(wanted.others.empty());
  }
  SUBCASE("an RSA key of a length") {
    // SEQUENCE { SEQUENCE { rsaEncryption, SET { 3072 } }, sha256 }
    const auto wanted = csr_attributes_in(to_base64(std::string(
        "\x30\x1e\x30\x11\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x31\x04\x02\x02\x0c\x00"
        "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01",
        32)));
    CHECK(wanted.key_type == "RSA");
    CHECK(wanted.rsa_bits == 3072);
    CHECK(wanted.digest == "SHA256");
    CHECK(!wanted.challenge_password);
  }
  SUBCASE("nothing") {
    const auto wanted = csr_attributes_in("MAA=");
    CHECK(wanted.key_type.empty());
    CHECK(!wanted.challenge_password);
  }
  for (const std::string bad : {"", "MAAA", "MAECAQE=", "MAMCAQE=", "AgEB", "MAIwAA==", "text"})
    CHECK_THROWS_AS(csr_attributes_in(bad), Garbage);
}

TEST_CASE("est: a fingerprint is the only anchor where it is given") {
  const Authority authority;
  const auto offered = authority.certificates("ca", "other-ca");
  const std::string digits = fingerprint_of(offered[1].get());
  std::string written = "SHA256:";
  for (std::size_t at = 0; at < digits.size(); at += 2)
    written += (at == 0 ? "" : ":") + digits.substr(at, 2);
  CHECK(parse_fingerprint(written) == digits);
  CHECK(parse_fingerprint(digits) == digits);
  const auto anchor = pinned_anchor(offered, digits, nullptr, "https://ca.example");
  REQUIRE(anchor.size() == 1);
  CHECK(X509_cmp(anchor[0].get(), offered[1].get()) == 0);
  const auto server = authority.certificates("device");
  const auto refusal_of = [&](const std::string& fingerprint) -> std::string {
    try {
      pinned_anchor(offered, fingerprint, server[0].get(), "https://ca.example");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::string unknown = refusal_of(std::string(64, '0'));
  CHECK(unknown.find("it offers: CN=ca ") != std::string::npos);
  CHECK(unknown.find("own certificate") == std::string::npos);
  const std::string own = refusal_of(fingerprint_of(server[0].get()));
  CHECK(own.find("the server's own certificate, CN=device") != std::string::npos);
  CHECK(own.find("it offers: CN=ca ") != std::string::npos);
  for (const std::string& bad : {std::string(), std::string("12"), std::string("SHA1:00"),
                                 std::string(63, '0'), std::string("zz")})
    CHECK_THROWS_AS(parse_fingerprint(bad), Error);
}

TEST_CASE("est: what was issued is ours, valid, and of the CA that cacerts names") {
  const Authority authority;
  const auto ca = authority.certificates("ca");
  const auto device = authority.certificates("device");
  const EVP_PKEY* const key = X509_get0_pubkey(device[0].get());
  const auto judged = [&](const std::vector<X509Ptr>& answer, const std::vector<X509Ptr>& cas) {
    return judge_issued(answer, key, cas, "https://ca.example");
  };
  const Issued issued = judged(device, ca);
  CHECK(X509_cmp(issued.certificate.get(), device[0].get()) == 0);
  CHECK(issued.chain.empty());
  CHECK_THROWS_WITH(judged(authority.certificates("stranger"), ca),
                    doctest::Contains("another key"));
  CHECK_THROWS_WITH(judged(device, authority.certificates("other-ca")),
                    doctest::Contains("no CA of cacerts vouches"));

  CertificateOptions options;
  options.issuer = "ca";
  options.key = "device";
  options.valid_from = -7200;
  options.valid_until = -3600;
  make_certificate(authority.path(), "ended", options);
  CHECK_THROWS_WITH(judged(authority.certificates("ended"), ca),
                    doctest::Contains("has ended already"));
  CHECK_THROWS_WITH(judged(authority.certificates("device", "ended"), ca),
                    doctest::Contains("several certificates"));
  options.valid_until = 3600;
  options.ca = true;
  make_certificate(authority.path(), "authority", options);
  CHECK_THROWS_WITH(judged(authority.certificates("authority"), ca),
                    doctest::Contains("that of a CA"));
}

TEST_CASE("est: the chain of what was issued goes up to the root, without it") {
  const Authority authority;
  CertificateOptions options;
  options.issuer = "ca";
  options.ca = true;
  make_certificate(authority.path(), "middle", options);
  make_certificate(authority.path(), "leaf", "middle");
  const auto leaf = authority.certificates("leaf");
  const EVP_PKEY* const key = X509_get0_pubkey(leaf[0].get());
  const Issued issued =
      judge_issued(leaf, key, authority.certificates("middle", "ca"), "https://ca.example");
  REQUIRE(issued.chain.size() == 1);
  CHECK(subject_of(issued.chain[0].get()) == "CN=middle");
  // A CA whose cacerts does not go up to a root.
  const Issued partial =
      judge_issued(leaf, key, authority.certificates("middle"), "https://ca.example");
  CHECK(pem_of(partial) == pem_of(issued));
  write_file(authority.path() / "chain.pem", pem_of(issued));
  const auto written = authority.certificates("chain");
  REQUIRE(written.size() == 2);
  CHECK(subject_of(written[0].get()) == "CN=leaf");
}
