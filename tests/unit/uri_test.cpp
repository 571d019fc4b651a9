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
  CHECK(mentions(rejection("pkcs11:object=%00"), "NUL"));
  CHECK(mentions(rejection(std::string("pkcs11:object=a\0b", 17)), "NUL"));
  CHECK(mentions(rejection("pkcs11:object=" + std::string(5000, 'x')), "4096"));
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
