#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "provider/tpm2/nv_certificates.h"
#include "tests/fixture/command.h"
#include "tests/fixture/pki.h"

using namespace hwid;
using core::Bytes;

namespace {

Bytes der_of(const std::string& pem_file) {
  const core::Bio file(BIO_new_file(pem_file.c_str(), "r"));
  const core::Certificate certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate.get(), &der);
  Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

struct Samples {
  test::Pki pki;
  std::string pem = test::read_file(pki.ca_file());
  std::string other_pem = test::read_file(pki.issue("other", {}).certificate_file);
  Bytes der = der_of(pki.ca_file());
  Bytes other = der_of(pki.file("other.pem"));
};

const Samples& samples() {
  static const Samples made;
  return made;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes bytes_of(std::string_view text) {
  const core::ByteView view = core::as_bytes(text);
  return {view.begin(), view.end()};
}

tpm2::NvCertificates in(const Bytes& content) {
  const core::Libcrypto crypto;
  tpm2::NvCertificates found = tpm2::certificates_in(crypto, content);
  CHECK(found.all.empty() != found.problem.empty());
  CHECK(ERR_peek_error() == 0);
  return found;
}

using All = std::vector<Bytes>;
bool mentions(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("nv certificates: DER, with what fills the index up") {
  const Samples& s = samples();
  for (const Bytes& filler :
       {Bytes(), Bytes(1, 0xff), Bytes(700, 0xff), Bytes(1, 0), Bytes(300, 0)}) {
    const auto found = in(s.der + filler);
    CHECK(found.all == All{s.der});
    CHECK(found.rest.empty());
    CHECK(in(s.der + s.other + filler).all == All{s.der, s.other});
  }
  const auto more = in(s.der + Bytes{1, 2, 3});
  CHECK(more.all == All{s.der});
  CHECK(mentions(more.rest, "3 bytes"));
  CHECK(mentions(in(s.der + Bytes(100, 0xff) + Bytes(1, 0)).rest, "101 bytes"));
}

TEST_CASE("nv certificates: PEM, several, with words around them") {
  const Samples& s = samples();
  for (const Bytes& filler : {Bytes(), Bytes(500, 0xff), Bytes(500, 0)}) {
    CHECK(in(bytes_of(s.pem) + filler).all == All{s.der});
    CHECK(in(bytes_of("device:\n" + s.pem + "\nits CA\n" + s.other_pem) + filler).all ==
          All{s.der, s.other});
  }
  const auto cut = in(bytes_of(s.pem + s.other_pem.substr(0, s.other_pem.size() / 2)));
  CHECK(cut.all == All{s.der});
  CHECK(mentions(cut.rest, "cut off"));
  CHECK(in(bytes_of("0 is its number\n" + s.pem)).all == All{s.der});
  const auto der_first = in(s.der + bytes_of(s.other_pem));
  CHECK(der_first.all == All{s.der});
  CHECK(mentions(der_first.rest, "no certificate"));
  const std::string key = test::read_file(s.pki.ca_key_file());
  const auto with_key = in(bytes_of(key + s.pem));
  CHECK(with_key.all == All{s.der});
  CHECK(mentions(with_key.rest, "PRIVATE KEY"));
}

TEST_CASE("nv certificates: OpenSSL's own form with trust") {
  const Samples& s = samples();
  const std::string file = s.pki.file("trusted.pem");
  test::run_checked({"openssl", "x509", "-in", s.pki.ca_file(), "-addtrust", "clientAuth",
                     "-trustout", "-out", file});
  CHECK(in(bytes_of(test::read_file(file))).all == All{s.der});
}

TEST_CASE("nv certificates: the header of TCG's PC Client profile is taken off") {
  const Samples& s = samples();
  for (const std::size_t counted : {s.der.size(), s.der.size() + 2}) {
    const Bytes header = {
        0x10, 0x01, 0, static_cast<std::uint8_t>(counted >> 8), static_cast<std::uint8_t>(counted),
        0x10, 0x02};
    CHECK(in(header + s.der).all == All{s.der});
    const auto filled = in(header + s.der + Bytes(200, 0xff));
    CHECK(filled.all == All{s.der});
    CHECK(filled.rest.empty());
  }
  CHECK(mentions(in(Bytes{0x10, 0x01, 1, 0, 20, 0x10, 0x03} + Bytes(20, 7)).problem, "PC Client"));
  CHECK(mentions(in(Bytes{0x10, 0x01, 0, 0, 20, 0x10, 0x02} + Bytes(20, 7)).problem, "PC Client"));
}

TEST_CASE("nv certificates: a public key in their place") {
  const Samples& s = samples();
  const auto written = [&](const std::string& name, std::vector<std::string> arguments) {
    const std::string file = s.pki.file(name);
    arguments.insert(arguments.begin(), {"openssl", "pkey", "-pubout", "-out", file});
    test::run_checked(arguments);
    return bytes_of(test::read_file(file));
  };
  const std::string rsa = s.pki.file("nv-rsa.key");
  test::run_checked({"openssl", "genpkey", "-algorithm", "RSA", "-out", rsa});
  for (const std::string& key : {s.pki.ca_key_file(), rsa}) {
    const Bytes der = written("key.der", {"-in", key, "-outform", "DER"});
    const Bytes pem = written("key.pem", {"-in", key});
    for (const Bytes& filler : {Bytes(), Bytes(60, 0xff), Bytes(60, 0)}) {
      for (const Bytes& content : {der, pem, bytes_of("of the peer\n") + pem}) {
        const auto found = in(content + filler);
        CHECK(found.public_key == der);
        CHECK(mentions(found.problem, "a public key, and no certificate"));
      }
    }
    CHECK(in(Bytes(der.begin(), der.end() - 1)).public_key.empty());
    CHECK(in(s.der + pem).public_key.empty());
    CHECK(in(bytes_of(test::read_file(key))).public_key.empty());  // not that of a private key
  }
  const std::string pkcs1 = s.pki.file("pkcs1.pem");
  test::run_checked({"openssl", "rsa", "-in", rsa, "-RSAPublicKey_out", "-out", pkcs1});
  CHECK(in(bytes_of(test::read_file(pkcs1))).public_key ==
        written("key.der", {"-in", rsa, "-outform", "DER"}));
}

TEST_CASE("nv certificates: what is none, and why") {
  const Samples& s = samples();
  const auto problem = [](const Bytes& content) { return in(content).problem; };
  for (const Bytes& empty : {Bytes(), Bytes(32, 0), Bytes(1600, 0xff)})
    CHECK(mentions(problem(empty), "empty"));
  CHECK(mentions(problem(Bytes{0x1f, 0x8b, 8, 0, 1, 2, 3}), "gunzip"));
  CHECK(mentions(problem(Bytes(s.der.begin(), s.der.end() - 1)), "cut off"));
  CHECK(mentions(problem(Bytes(s.der.begin(), s.der.begin() + 2)), "cut off"));
  CHECK(mentions(problem(bytes_of(s.pem.substr(0, s.pem.size() / 2))), "damaged or cut off"));
  CHECK(mentions(problem(Bytes{0x30, 3, 2, 1, 5} + Bytes(10, 0xff)), "no X.509"));
  CHECK(mentions(problem(Bytes{0x30}), "cut off"));
  CHECK(mentions(problem(Bytes{0x30, 0x80, 0, 0}), "cut off"));
  CHECK(mentions(problem(bytes_of("hello")), "DER or PEM"));
  CHECK(mentions(problem(Bytes{0x10, 0x01}), "DER or PEM"));
  CHECK(mentions(problem(bytes_of(test::read_file(s.pki.ca_key_file()))), "PRIVATE KEY"));
  CHECK(
      mentions(problem(bytes_of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
               "no certificate"));
}
