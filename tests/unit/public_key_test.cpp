#include "provider/core/public_key.h"

#include <doctest/doctest.h>
#include <openssl/err.h>

#include <string>
#include <string_view>

#include "provider/core/error.h"

namespace core = hwid::core;

using core::Algorithm;
using core::Bytes;
using core::ByteView;
using core::PublicKey;

namespace {

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

Bytes oid(const char* number) {
  ASN1_OBJECT* const object = OBJ_txt2obj(number, 1);
  unsigned char* der = nullptr;
  const int size = i2d_ASN1_OBJECT(object, &der);
  ASN1_OBJECT_free(object);
  REQUIRE(size > 0);
  const Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

Bytes printable(std::string_view name) {
  Bytes der{0x13, static_cast<std::uint8_t>(name.size())};
  der.insert(der.end(), name.begin(), name.end());
  return der;
}

Bytes raw_key(const char* type) {
  const core::EvpPkey made(EVP_PKEY_Q_keygen(nullptr, nullptr, type));
  Bytes bytes(64);
  std::size_t size = bytes.size();
  REQUIRE(EVP_PKEY_get_raw_public_key(made.get(), bytes.data(), &size) == 1);
  bytes.resize(size);
  return bytes;
}

Bytes with(Bytes header, const Bytes& content) {
  header.insert(header.end(), content.begin(), content.end());
  return header;
}

core::Reason reason_of(ByteView parameters, ByteView point) {
  try {
    PublicKey::ec(crypto(), parameters, point);
  } catch (const core::Error& error) {
    CHECK(ERR_peek_error() == 0);
    return error.reason;
  }
  return core::Reason::kInternal;
}

struct Curve {
  Algorithm algorithm;
  const char* type;
  std::vector<Bytes> parameters;
};

std::vector<Curve> curves() {
  return {{Algorithm::kEd25519,
           "ED25519",
           {oid("1.3.101.112"), printable("edwards25519"), printable("ED25519"),
            oid("1.3.6.1.4.1.11591.15.1")}},
          {Algorithm::kEd448, "ED448", {oid("1.3.101.113"), printable("edwards448")}},
          {Algorithm::kX25519,
           "X25519",
           {oid("1.3.101.110"), printable("curve25519"), oid("1.3.6.1.4.1.3029.1.5.1")}},
          {Algorithm::kX448, "X448", {oid("1.3.101.111"), printable("curve448")}}};
}

}  // namespace

TEST_CASE("public key: the curves of RFC 8410, as tokens write their names and points") {
  for (const Curve& curve : curves()) {
    CAPTURE(curve.type);
    const Bytes raw = raw_key(curve.type);
    const auto size = static_cast<std::uint8_t>(raw.size());
    const Bytes octets = with({0x04, size}, raw);
    const Bytes bits = with({0x03, static_cast<std::uint8_t>(size + 1), 0}, raw);
    for (const Bytes& parameters : curve.parameters) {
      CAPTURE(core::to_hex(parameters));
      for (const Bytes& point : {raw, octets, bits}) {
        const PublicKey key = PublicKey::ec(crypto(), parameters, point);
        CHECK(key.algorithm() == curve.algorithm);
        CHECK(key.field_size() == raw.size());
        Bytes again(raw.size());
        std::size_t length = again.size();
        CHECK(EVP_PKEY_get_raw_public_key(key.pkey(), again.data(), &length) == 1);
        CHECK(again == raw);
      }
    }
    // Too short, too long, another curve's length within.
    const Bytes& parameters = curve.parameters.front();
    CHECK(reason_of(parameters, ByteView(raw).first(raw.size() - 1)) ==
          core::Reason::kBadParameter);
    CHECK(reason_of(parameters, with({0x04, size, 0}, raw)) == core::Reason::kBadParameter);
    CHECK(reason_of(parameters, {}) == core::Reason::kBadParameter);
  }
}

TEST_CASE("public key: what names no curve is refused") {
  const Bytes point = raw_key("ED25519");
  for (const Bytes& parameters :
       {oid("1.2.3.4.5"), printable("edwards9"), printable(""), Bytes{0x05, 0x00},
        Bytes{0x13, 0x40, 'e'}, Bytes{0x30, 0x03, 0x02, 0x01, 0x01}, Bytes()})
    CHECK(reason_of(parameters, point) == core::Reason::kUnsupported);
}
