// The files of an attestation as JSON: each member means one thing, or nothing is taken from there.
#include <doctest/doctest.h>

#include <functional>

#include "tests/tool/attest_world.h"
#include "tools/attest/challenge.h"

namespace {

using namespace hwid;
using namespace hwid::test;

std::string message(const std::function<void()>& body) {
  try {
    body();
  } catch (const core::Error& error) {
    CHECK(error.reason == core::Reason::kBadParameter);
    return error.what();
  }
  return "";
}

// With another member of that name before the first one: the last would win.
std::string doubled(std::string text, const std::string& name, const std::string& value) {
  const std::string member = "\"" + name + "\":";
  const std::size_t at = text.find(member);
  REQUIRE(at != text.npos);
  return text.insert(at, member + value + ",");
}

}  // namespace

TEST_CASE("attest: a file with two members of one name is refused, whichever would win") {
  World world;
  const Ca ca;
  const SoftwareEk ek(world.crypto);
  const Bytes certificate =
      Ca::der(ca.issue(ek.pkey.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
  const attest::Request request{ek.area, certificate, world.ak.area};
  const attest::Made made = attest::make_challenge(world.crypto, request, 4102444800);
  const attest::Answer answer{made.challenge.id, made.challenge.ak_name,
                              core::Secret(Bytes(32, 0x5a))};
  struct File {
    std::string text;
    std::function<void(const std::string&)> parse;
    std::vector<const char*> members;
  };
  const std::vector<File> files = {
      {attest::to_text(request),
       [](const auto& text) { attest::parse_request(text, "this"); },
       {"format", "version", "ak", "ek", "public", "certificate"}},
      {attest::to_text(made.challenge),
       [](const auto& text) { attest::parse_challenge(text, "this"); },
       {"id", "ak_name", "credential", "secret"}},
      {attest::to_text(made.pending),
       [](const auto& text) { attest::parse_pending(text, "this"); },
       {"expires", "ak", "proof"}},
      {attest::to_text(answer),
       [](const auto& text) { attest::parse_answer(text, "this"); },
       {"id", "ak_name", "secret"}},
      {attest::to_text(world.evidence()),
       [](const auto& text) { attest::parse_evidence(text, "this"); },
       {"ak", "key", "certify", "attest", "signature", "creation", "data", "quote", "pcrs"}},
      {attest::trusted_text(world.crypto, world.ak.area, certificate),
       [](const auto& text) { attest::parse_trusted(text, "this"); },
       {"public", "name", "ek_certificate"}}};
  for (const File& file : files) {
    CHECK(message([&] { file.parse(file.text); }).empty());
    for (const char* const member : file.members) {
      const std::string fault = message([&] { file.parse(doubled(file.text, member, "\"x\"")); });
      CHECK_MESSAGE(fault.find("file=this: it is no hwid-") == 0, member);
      CHECK_MESSAGE(fault.find(std::string("the member \"") + member + "\" is there twice") !=
                        std::string::npos,
                    fault);
    }
  }
  // However it is written, wherever it is, and what nobody reads as well.
  const std::string text = files[0].text;
  const std::string escaped = text.substr(0, 1) + R"("\u0061k":1,)" + text.substr(1);
  CHECK(message([&] { attest::parse_request(escaped, "this"); }).find("\"ak\" is there twice") !=
        std::string::npos);
  const auto with = [&](const std::string& value) {
    return message(
        [&] { attest::parse_request("{\"x\":" + value + "," + text.substr(1), "this"); });
  };
  CHECK(with(R"([{"a":1},{"a":2},{"b":{"a":1,"b":2}}])").empty());
  CHECK(with(R"([{"a":1,"b":{},"a":2}])").find("\"a\" is there twice") != std::string::npos);
  CHECK(
      with("{\"" + std::string(10000, 'n') + "\":1,\"" + std::string(10000, 'n') + "\":1}").size() <
      300);
}

TEST_CASE("attest: a member that is a certificate has one") {
  const World world;
  const Ca ca;
  const Ca other("other");
  const auto fault = [&](const std::string& pem) {
    attest::Json json = attest::begin_document(attest::kTrustedFormat);
    json["ek_certificate"] = pem;
    return message([&] { attest::trusted_ek_certificate(json.dump(), "this"); });
  };
  CHECK(fault(ca.pem()).empty());
  CHECK(fault("a text\n" + ca.pem() + "more\n").empty());
  for (const std::string& wrong : {ca.pem() + other.pem(), ca.pem() + ca.pem(),
                                   ca.pem() + other.crl({}), std::string("none"), std::string()})
    CHECK(fault(wrong).find("ek_certificate: one certificate in PEM is wanted") !=
          std::string::npos);
}

TEST_CASE("attest: a member with members is an object, or not there") {
  World world;
  Evidence evidence = world.evidence();
  evidence.ek_certificate = Ca::der(Ca().certificate.get());
  const auto fault = [&](const std::string& path, const attest::Json& value) {
    attest::Json json = attest::Json::parse(attest::to_text(evidence));
    json[attest::Json::json_pointer("/" + path)] = value;
    return message([&] { attest::parse_evidence(json.dump(), "this"); });
  };
  for (const char* const path : {"ak", "ek", "key", "key/certify", "key/creation", "quote"}) {
    for (const char* const value : {"7", "[]", "[{}]", "\"\"", "\"AAAA\"", "true"})
      CHECK(fault(path, attest::Json::parse(value)) ==
            std::string("file=this: it is no hwid-attestation: ") + path +
                ": an object is wanted; have it made anew");
    CHECK(fault(path, nullptr).empty());
  }
  CHECK(fault("ak", attest::Json::object()).empty());
  CHECK(fault("ek", attest::Json::object()).empty());
}

TEST_CASE("attest: a file that is long, deep or no JSON is refused") {
  const auto fault = [](const std::string& text) {
    return message([&] { attest::parse_evidence(text, "this"); });
  };
  const std::string text = attest::to_text(World().evidence());
  const auto with = [&](const std::string& value) {
    return fault("{\"x\":" + value + "," + text.substr(1));
  };
  const auto nested = [](int depth) {
    const auto size = static_cast<std::size_t>(depth);
    return std::string(size, '[') + std::string(size, ']');
  };
  CHECK(fault(text).empty());
  CHECK(with(nested(attest::kDeepestJson - 1)).empty());
  CHECK(with(nested(attest::kDeepestJson)).find("nested deeper than 32") != std::string::npos);
  CHECK(fault(std::string(1000000, '[')).find("nested deeper") != std::string::npos);
  CHECK(fault(text + std::string(attest::kMostJson - text.size(), ' ')).empty());
  CHECK(fault(text + std::string(attest::kMostJson - text.size() + 1, ' '))
            .find("it is longer than 1048576 bytes") != std::string::npos);
  for (const std::string& none : {std::string(), text + "x", text.substr(0, text.size() / 2)})
    CHECK(fault(none).find("file=this: it is no hwid-attestation: it is no JSON; have it made") ==
          0);
}

TEST_CASE("attest: base64 is all of a text, or none of it") {
  const auto bytes = [](std::string_view text) {
    const std::optional<Bytes> read = attest::parse_base64(text);
    return read ? std::string(read->begin(), read->end()) : "none";
  };
  CHECK(bytes("").empty());
  CHECK(bytes("QUJD") == "ABC");
  CHECK(bytes("QUI=") == "AB");
  CHECK(bytes("QQ==") == "A");
  CHECK(bytes(" QU\r\nJD\tQ Q=\n= ") == "ABCA");
  for (const char* const none : {"Q", "QUJ", "QUJDQQ", "QQ=", "QQ===", "=",
                                 "==", "====", "A===", "Q=Q=", "QQ==QQ==", "QUJD-", "QUJD-QUJD",
                                 "-QUJD", "QU_D", "QU.D", "QU\vD", "QUJD\x80QUJ"})
    CHECK_MESSAGE(bytes(none) == "none", none);
  CHECK(bytes(std::string_view("QU\0D", 4)) == "none");
  for (std::size_t size = 0; size < 200; ++size) {
    const std::string text(size, static_cast<char>(size));
    CHECK(bytes(attest::base64(core::as_bytes(text))) == text);
  }
}
