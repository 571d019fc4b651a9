// Evidence in certificate requests: it stands there once, and nothing beside it.
#include <doctest/doctest.h>

#include <functional>

#include "tests/tool/attest_world.h"
#include "tools/attest/request_evidence.h"

namespace {

using namespace hwid;
using namespace hwid::test;

using Request = std::unique_ptr<X509_REQ, core::FreeWith<X509_REQ_free>>;
using Parts = std::unique_ptr<ASN1_SEQUENCE_ANY, decltype([](ASN1_SEQUENCE_ANY* all) {
                                sk_ASN1_TYPE_pop_free(all, ASN1_TYPE_free);
                              })>;

// `der`, a SEQUENCE, with a change.
std::string changed(const std::string& der, const std::function<void(ASN1_SEQUENCE_ANY*)>& change) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const Parts parts(d2i_ASN1_SEQUENCE_ANY(nullptr, &at, static_cast<long>(der.size())));
  REQUIRE(parts);
  change(parts.get());
  unsigned char* data = nullptr;
  const int size = i2d_ASN1_SEQUENCE_ANY(parts.get(), &data);
  REQUIRE(size > 0);
  const std::string made(reinterpret_cast<char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(data);
  return made;
}

void push_null(ASN1_SEQUENCE_ANY* parts) {
  ASN1_TYPE* const part = ASN1_TYPE_new();
  ASN1_TYPE_set(part, V_ASN1_NULL, nullptr);
  sk_ASN1_TYPE_push(parts, part);
}

void push_again(ASN1_SEQUENCE_ANY* parts) {
  const ASN1_TYPE* const first = sk_ASN1_TYPE_value(parts, 0);
  ASN1_TYPE* const part = ASN1_TYPE_new();
  ASN1_TYPE_set1(part, first->type, first->value.ptr);
  sk_ASN1_TYPE_push(parts, part);
}

// `bytes` as a string of that type, or DER of a SEQUENCE, in front of the part at `index`.
std::function<void(ASN1_SEQUENCE_ANY*)> insert(int index, int type, ByteView bytes) {
  return [=, copy = Bytes(bytes.begin(), bytes.end())](ASN1_SEQUENCE_ANY* parts) {
    ASN1_STRING* const string = ASN1_STRING_type_new(type);
    ASN1_STRING_set(string, copy.data(), static_cast<int>(copy.size()));
    ASN1_TYPE* const part = ASN1_TYPE_new();
    ASN1_TYPE_set(part, type, string);
    sk_ASN1_TYPE_insert(parts, part, index);
  };
}
std::function<void(ASN1_SEQUENCE_ANY*)> append(int type, std::string_view text) {
  return insert(-1, type, core::as_bytes(text));
}

// The same within a part, which is a SEQUENCE.
std::function<void(ASN1_SEQUENCE_ANY*)> in(int index,
                                           const std::function<void(ASN1_SEQUENCE_ANY*)>& change) {
  return [=](ASN1_SEQUENCE_ANY* parts) {
    ASN1_STRING* const part = sk_ASN1_TYPE_value(parts, index)->value.sequence;
    const std::string inner(reinterpret_cast<const char*>(ASN1_STRING_get0_data(part)),
                            static_cast<std::size_t>(ASN1_STRING_length(part)));
    const std::string made = changed(inner, change);
    ASN1_STRING_set(part, made.data(), static_cast<int>(made.size()));
  };
}

Request request_with(const std::vector<std::string>& drafts,
                     const std::vector<std::string>& own = {}) {
  using Attribute = std::unique_ptr<X509_ATTRIBUTE, core::FreeWith<X509_ATTRIBUTE_free>>;
  Request request(X509_REQ_new());
  Attribute attribute(drafts.empty() ? nullptr : X509_ATTRIBUTE_new());
  for (const std::string& value : drafts)
    REQUIRE(X509_ATTRIBUTE_set1_data(attribute.get(), V_ASN1_SEQUENCE, value.data(),
                                     static_cast<int>(value.size())) == 1);
  if (attribute) {
    const std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>> draft(
        OBJ_txt2obj(attest::kDraftOid, 1));
    REQUIRE(X509_ATTRIBUTE_set1_object(attribute.get(), draft.get()) == 1);
    REQUIRE(X509_REQ_add1_attr(request.get(), attribute.get()) == 1);
  }
  STACK_OF(X509_EXTENSION)* extensions = nullptr;
  const std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>> oid(
      OBJ_txt2obj(attest::kPrivateOid, 1));
  for (const std::string& value : own) {
    const std::unique_ptr<ASN1_OCTET_STRING, core::FreeWith<ASN1_OCTET_STRING_free>> bytes(
        ASN1_OCTET_STRING_new());
    ASN1_OCTET_STRING_set(bytes.get(), reinterpret_cast<const unsigned char*>(value.data()),
                          static_cast<int>(value.size()));
    const std::unique_ptr<X509_EXTENSION, core::FreeWith<X509_EXTENSION_free>> extension(
        X509_EXTENSION_create_by_OBJ(nullptr, oid.get(), 0, bytes.get()));
    X509v3_add_ext(&extensions, extension.get(), -1);
  }
  if (extensions != nullptr) REQUIRE(X509_REQ_add_extensions(request.get(), extensions) == 1);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return request;
}

// Damaged, and said so.
bool is_refused(const Request& request) {
  try {
    attest::evidence_in(request.get(), "device.csr");
  } catch (const core::Error& error) {
    const std::string text = error.what();
    return text.find("request=device.csr: ") == 0 && text.find("or there twice") != text.npos;
  }
  return false;
}

}  // namespace

TEST_CASE("attest: the draft's form has one statement, and nothing more") {
  const World world;
  const std::string value = attest::draft_value(world.evidence());
  const std::optional<Evidence> found =
      attest::evidence_in(request_with({value}).get(), "device.csr");
  REQUIRE(found);
  CHECK(found->certify->attest == world.evidence().certify->attest);
  CHECK(is_refused(request_with({value, value})));
  CHECK(is_refused(request_with({changed(value, in(0, push_again))})));
  CHECK(is_refused(request_with({changed(value, in(0, in(0, push_null)))})));
  CHECK(is_refused(request_with({changed(value, in(0, in(0, in(1, push_null))))})));
}

TEST_CASE("attest: the draft's form may have the AK's certificate, whole, and nothing behind it") {
  const World world;
  const Ca ca;
  Evidence evidence = world.evidence();
  evidence.ak_certificate =
      Ca::der(ca.issue(world.ak.pkey.get(), "ak", attest::kAkPurpose, "CA:FALSE", 3600).get());
  const std::string value = attest::draft_value(evidence);
  const std::optional<Evidence> found =
      attest::evidence_in(request_with({value}).get(), "device.csr");
  REQUIRE(found);
  CHECK(found->ak_certificate == evidence.ak_certificate);
  CHECK(is_refused(request_with({changed(value, push_null)})));
  CHECK(is_refused(request_with({changed(value, in(1, in(0, push_null)))})));
}

TEST_CASE("attest: the draft's form may have a hint, which is ignored") {
  const Evidence evidence = World().evidence();
  const std::string value = attest::draft_value(evidence);
  const auto hint = append(V_ASN1_IA5STRING, "tpmverifier.example.com");
  const std::string hinted = changed(value, in(0, in(0, hint)));
  const std::optional<Evidence> found =
      attest::evidence_in(request_with({hinted}).get(), "device.csr");
  REQUIRE(found);
  CHECK(found->certify->signature == evidence.certify->signature);
  CHECK(is_refused(request_with({changed(hinted, in(0, in(0, hint)))})));
  CHECK(is_refused(request_with({changed(value, in(0, in(0, append(V_ASN1_OCTET_STRING, "x"))))})));
  CHECK(is_refused(request_with({changed(hinted, in(0, push_again))})));
}

TEST_CASE("attest: the draft's form has certificates in any order, and of others") {
  const World world;
  const Ca ca;
  Evidence evidence = world.evidence();
  const auto issue = [&](const char* purpose, const char* constraints) {
    return Ca::der(ca.issue(world.ak.pkey.get(), "ak", purpose, constraints, 3600).get());
  };
  evidence.ak_certificate = issue(attest::kAkPurpose, "CA:FALSE");
  const std::string value = attest::draft_value(evidence);
  const auto with = [&](int type, ByteView bytes) {
    const std::optional<Evidence> found = attest::evidence_in(
        request_with({changed(value, in(1, insert(0, type, bytes)))}).get(), "device.csr");
    REQUIRE(found);
    return found->ak_certificate;
  };
  CHECK(with(V_ASN1_SEQUENCE, Ca::der(ca.certificate.get())) == evidence.ak_certificate);
  CHECK(with(V_ASN1_SEQUENCE, issue(attest::kAkPurpose, "CA:TRUE")) == evidence.ak_certificate);
  CHECK(with(V_ASN1_SEQUENCE, issue(nullptr, "CA:FALSE")) == evidence.ak_certificate);
  const Bytes other = {0xa3, 0x05, 0x06, 0x01, 0x29, 0x04, 0x00};
  CHECK(with(V_ASN1_OTHER, other) == evidence.ak_certificate);
  // Of a kind that the draft does not have, or damaged.
  const Bytes attribute_certificate = {0xa2, 0x00};
  const Bytes empty = {0x30, 0x00};
  for (const auto& change :
       {insert(0, V_ASN1_OTHER, attribute_certificate), insert(0, V_ASN1_OCTET_STRING, other),
        insert(1, V_ASN1_SEQUENCE, empty)})
    CHECK(is_refused(request_with({changed(value, in(1, change))})));
  // None that is an AK's: the first one then says what is wrong.
  evidence.ak_certificate = issue(nullptr, "CA:FALSE");
  const std::optional<Evidence> none =
      attest::evidence_in(request_with({attest::draft_value(evidence)}).get(), "device.csr");
  REQUIRE(none);
  CHECK(none->ak_certificate == evidence.ak_certificate);
}

TEST_CASE("attest: the form of this project's own stands once in a request, and fills its place") {
  const World world;
  const std::string value = attest::private_value(world.evidence());
  REQUIRE(attest::evidence_in(request_with({}, {value}).get(), "device.csr"));
  CHECK(is_refused(request_with({}, {value, value})));
  CHECK(is_refused(request_with({}, {value + "x"})));
  CHECK(is_refused(request_with({}, {"x"})));
  CHECK_FALSE(attest::evidence_in(request_with({}).get(), "device.csr"));
}
