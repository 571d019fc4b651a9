#include "provider/core/uri.h"

#include <doctest/doctest.h>

#include <string>

#include "provider/core/error.h"

using hwid::core::Error;
using hwid::core::KeyUri;
using hwid::core::ObjectClass;
using hwid::core::Reason;

namespace {

std::string rejection(const std::string& uri) {
  try {
    (void)KeyUri::parse(uri);
  } catch (const Error& error) {
    CHECK(error.reason == Reason::kBadUri);
    return error.what();
  }
  return "accepted";
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string pin_of(const KeyUri& uri) {
  REQUIRE(uri.pin_value().has_value());
  const auto pin = uri.pin_value()->reveal();
  return {pin.begin(), pin.end()};
}

}  // namespace

TEST_CASE("uri: the tutorials' URI is read, its PIN kept apart") {
  const KeyUri uri = KeyUri::parse(
      "pkcs11:object=mqtt-mtls-key-rsa;type=private;token=softhsm2-token?pin-value=1111");
  CHECK(uri.scheme() == KeyUri::Scheme::kPkcs11);
  CHECK(uri.object() == "mqtt-mtls-key-rsa");
  CHECK(uri.token() == "softhsm2-token");
  CHECK(uri.type() == ObjectClass::kPrivateKey);
  CHECK(pin_of(uri) == "1111");
  CHECK(uri.text() == "pkcs11:token=softhsm2-token;object=mqtt-mtls-key-rsa;type=private");
}

TEST_CASE("uri: what users write beyond RFC 7512 is understood") {
  CHECK(pin_of(KeyUri::parse("pkcs11:token=t;object=k;pin-value=12%3b34")) == "12;34");
  CHECK(KeyUri::parse("pkcs11:object=a b;token=t").object() == "a b");
  CHECK(KeyUri::parse("pkcs11:object=a b").text() == "pkcs11:object=a%20b");
  CHECK(KeyUri::parse("pkcs11:object=k;object-type=cert").type() == ObjectClass::kCertificate);
  CHECK(KeyUri::parse("PKCS11:token=t&object=k").object() == "k");
  CHECK(KeyUri::parse("pkcs11:token=t?pin-source=file:/p&module-path=/m.so").module_path() ==
        "/m.so");
  CHECK(KeyUri::parse("pkcs11:").text() == "pkcs11:");
  CHECK(KeyUri::parse("pkcs11:;;token=t;").token() == "t");
}

TEST_CASE("uri: an id is binary and comes back percent-encoded") {
  const KeyUri uri = KeyUri::parse("pkcs11:id=%00%fFa");
  REQUIRE(uri.id().has_value());
  CHECK(*uri.id() == hwid::core::Bytes{0x00, 0xff, 0x61});
  CHECK(uri.text() == "pkcs11:id=%00%ff%61");
  CHECK(uri.names_object());
}

TEST_CASE("uri: a label may hold a NUL behind its text, as some tokens have it") {
  const KeyUri uri = KeyUri::parse("pkcs11:model=SLB9670%00;object=k%00");
  CHECK(uri.object() == std::string("k\0", 2));
  CHECK(uri.text() == "pkcs11:model=SLB9670%00;object=k%00");
}

TEST_CASE("uri: rejects a percent sign without two hex digits, with its position") {
  CHECK(mentions(rejection("pkcs11:token=a%4"), "position 15"));
  CHECK(mentions(rejection("pkcs11:token=a%zz"), "position 15"));
  CHECK(mentions(rejection("pkcs11:object=%"), "position 15"));
  CHECK(KeyUri::parse("pkcs11:token=%41").token() == "A");
}

TEST_CASE("uri: names an unknown attribute and a duplicate") {
  CHECK(mentions(rejection("pkcs11:token=t;objekt=k"), "\"objekt\""));
  CHECK(mentions(rejection("pkcs11:token=t;objekt=k"), "position 16"));
  CHECK(mentions(rejection("pkcs11:token=t;x-vendor=k"), "\"x-vendor\""));
  CHECK(mentions(rejection("pkcs11:token=t;token=u"), "given twice"));
  CHECK(mentions(rejection("pkcs11:pin-value=1?pin-value=2"), "given twice"));
  CHECK(mentions(rejection("pkcs11:type=key"), "private, public, cert"));
  CHECK(mentions(rejection("pkcs11:token"), "no '='"));
}

TEST_CASE("uri: hostile input gets an error") {
  CHECK(mentions(rejection("pkcs11:token=%00"), "NUL"));
  CHECK(mentions(rejection("pkcs11:object=k?pin-source=file:/p%00"), "NUL"));
  CHECK(mentions(rejection("pkcs11:object=k?module-path=/m.so%00"), "NUL"));
  CHECK(mentions(rejection(std::string("pkcs11:object=a\0b", 17)), "NUL"));
  CHECK(mentions(rejection("pkcs11:object=" + std::string(5000, 'x')), "4096"));
  CHECK(mentions(rejection("pkcs11:object=" + std::string(1400, ' ')), "4096"));
  CHECK(mentions(rejection("pkcs11:token=" + std::string(33, 'x')), "at most 32"));
  CHECK(mentions(rejection("pkcs11:slot-id=x"), "slot-id"));
  CHECK(mentions(rejection(""), "begins with"));
  CHECK(mentions(rejection("file:/etc/passwd"), "begins with"));
}

TEST_CASE("uri: a PIN in a rejected URI is not repeated") {
  CHECK_FALSE(mentions(rejection("pkcs11:pin-value=s3cret;objekt=k"), "s3cret"));
  CHECK_FALSE(
      mentions(rejection("pkcs11:token=" + std::string(33, 'x') + "?pin-value=s3cret"), "s3cret"));
}

TEST_CASE("uri: what RFC 7512 allows inside values stays there") {
  CHECK(KeyUri::parse("pkcs11:object=a&b;token=t").object() == "a&b");
  CHECK(KeyUri::parse("pkcs11:token=t?pin-source=file:/tmp/p?n").pin_source() == "file:/tmp/p?n");
  CHECK(pin_of(KeyUri::parse("pkcs11:object=k?pin-value=12;34")) == "12;34");
  CHECK(pin_of(KeyUri::parse("hwid:k?pin-value=12;34")) == "12;34");
  CHECK_FALSE(mentions(rejection("pkcs11:object=k;pin-value=12;34secret"), "secret"));
  CHECK_FALSE(mentions(rejection("pkcs11:object=k;pin-value=12;34secret=1"), "secret"));
}

TEST_CASE("uri: a logical name") {
  CHECK(KeyUri::parse("hwid:device").name() == "device");
  CHECK(KeyUri::parse("hwid://device").name() == "device");
  CHECK(KeyUri::parse("hwid:device").text() == "hwid://device");
  CHECK(KeyUri::parse("hwid:").name().empty());
  CHECK(KeyUri::parse("hwid:device?pin-source=env:PIN").pin_source() == "env:PIN");
  CHECK(mentions(rejection("hwid:a/b"), "position 7"));
  CHECK(mentions(rejection("hwid:.."), "'.'"));
  CHECK(mentions(rejection("hwid:device?object=x"), "unknown attribute"));
}

TEST_CASE("uri: an object of a TPM") {
  const KeyUri key = KeyUri::parse("tpm2:handle=0x81000002?pin-source=env:AUTH");
  CHECK(key.scheme() == KeyUri::Scheme::kTpm2);
  CHECK(key.handle() == 0x81000002);
  CHECK(key.pin_source() == "env:AUTH");
  CHECK(key.names_object());
  CHECK_FALSE(key.asks_pin());
  CHECK(key.pkcs11() == nullptr);
  CHECK(key.text() == "tpm2:handle=0x81000002");

  const KeyUri certificate = KeyUri::parse("tpm2://nv=0x1500000");
  CHECK(certificate.nv() == 0x1500000);
  CHECK(certificate.text() == "tpm2:nv=0x1500000");
  const KeyUri endorsement = KeyUri::parse("tpm2:ek=H-3?parent-pin-source=env:E");
  CHECK(endorsement.ek() == "H-3");
  CHECK(endorsement.names_object());
  CHECK(endorsement.text() == "tpm2:ek=H-3");
  CHECK(KeyUri::parse("tpm2:handle=0x01500000").nv() == 0x1500000);

  const KeyUri file = KeyUri::parse("TPM2:file=/etc/hwid/my%20key.pem?policy=boot&pass");
  CHECK(file.file() == "/etc/hwid/my key.pem");
  CHECK(file.policy() == "boot");
  CHECK(file.asks_pin());
  CHECK(file.text() == "tpm2:file=/etc/hwid/my%20key.pem?policy=boot&pass");
  CHECK(KeyUri::parse("tpm2:file=a%3bb%3f.pem").text() == "tpm2:file=a%3bb%3f.pem");

  const KeyUri pins =
      KeyUri::parse("tpm2:file=k.pem?pin-value=a%26b&parent-pin-source=file:/etc/hwid/owner?pass");
  CHECK(pin_of(pins) == "a&b");
  CHECK(pins.parent_pin_source() == "file:/etc/hwid/owner?pass");
  CHECK(pins.text() == "tpm2:file=k.pem");

  CHECK(KeyUri::parse("tpm2:").text() == "tpm2:");
  CHECK_FALSE(KeyUri::parse("tpm2://").names_object());
}

TEST_CASE("uri: tpm2-openssl's spellings mean the same") {
  const KeyUri handle = KeyUri::parse("handle:0x81000002");
  CHECK(handle.scheme() == KeyUri::Scheme::kTpm2);
  CHECK(handle.text() == "tpm2:handle=0x81000002");
  CHECK(KeyUri::parse("handle:8100000A").text() == "tpm2:handle=0x8100000a");
  CHECK(KeyUri::parse("handle:0x1c00002").nv() == 0x1c00002);
  CHECK(KeyUri::parse("handle:0x80000000").handle() == 0x80000000);
  const KeyUri asking = KeyUri::parse("handle:0x81000002?pass");
  CHECK(asking.asks_pin());
  CHECK(asking.text() == "tpm2:handle=0x81000002?pass");
  CHECK(KeyUri::parse(asking.text()).asks_pin());
  CHECK(pin_of(KeyUri::parse("handle:0x81000002?pin-value=1234")) == "1234");

  CHECK(KeyUri::parse("object:/dev/shm/50%.obj").file() == "/dev/shm/50%.obj");
  CHECK(KeyUri::parse("object:/dev/shm/50%.obj").text() == "tpm2:file=/dev/shm/50%25.obj");
  CHECK(KeyUri::parse("object://tmp/a;b=c").file() == "//tmp/a;b=c");
  CHECK(KeyUri::parse("object:k.obj?pass").asks_pin());
}

TEST_CASE("uri: what is no object of a TPM is rejected, with its position") {
  CHECK(mentions(rejection("tpm2:handle=0x8100000g"), "position 6: handle is hexadecimal"));
  CHECK(mentions(rejection("tpm2:handle=0x181000002"), "hexadecimal"));
  CHECK(mentions(rejection("tpm2:handle=0x081000002"), "hexadecimal"));
  CHECK(mentions(rejection("tpm2:handle="), "hexadecimal"));
  CHECK(mentions(rejection("tpm2:handle=-1"), "hexadecimal"));
  CHECK(mentions(rejection("tpm2:handle=0x40000001"), "begins with 0x81"));
  CHECK(mentions(rejection("tpm2:nv=0x81000002"), "0x1ffffff"));
  CHECK(mentions(rejection("tpm2:ek="), "rsa or ecc"));
  CHECK(mentions(rejection("tpm2:ek=rsa%20"), "rsa or ecc"));
  CHECK(mentions(rejection("tpm2:ek=rsa;nv=0x1c00002"), "second object"));
  CHECK(mentions(rejection("tpm2:handle=0x81000002;file=/k"), "position 24: a second object"));
  CHECK(mentions(rejection("tpm2:file="), "file is empty"));
  CHECK(mentions(rejection("tpm2:file=a%00"), "NUL"));
  CHECK(mentions(rejection("tpm2:file=a%4"), "position 12"));
  CHECK(mentions(rejection("tpm2:token=t"), "unknown attribute \"token\"; a tpm2: URI has handle"));
  CHECK(mentions(rejection("tpm2:handle=0x81000002?policy=a/b"), "a policy's name"));
  CHECK(mentions(rejection("tpm2:handle=0x81000002?policy=a&policy=b"), "given twice"));
  CHECK(mentions(rejection("tpm2:handle=0x81000002;pass"), "no '='"));
  CHECK(mentions(rejection("tpm2:file=" + std::string(1400, ' ')), "4096"));
  CHECK(mentions(rejection("handle:"), "position 8: handle is hexadecimal"));
  CHECK(mentions(rejection("handle:0x81000002?passphrase"), "no '='"));
  CHECK(mentions(rejection("object:"), "position 8: file is empty"));
  CHECK(mentions(rejection("pkcs11:handle=0x81000002"), "unknown attribute \"handle\""));
  CHECK(mentions(rejection("pkcs11:object=k?pass"), "no '='"));
  CHECK(mentions(rejection("hwid:device?policy=x"), "a hwid: URI has"));
  CHECK(KeyUri::parse("pkcs11:object=k&policy=2").object() == "k&policy=2");
  CHECK_FALSE(mentions(rejection("tpm2:pin-value=s3cret;handle=s3cret"), "s3cret"));
}
