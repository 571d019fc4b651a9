#include <doctest/doctest.h>

#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "provider/core/libcrypto.h"
#include "provider/tpm2/key_file.h"
#include "provider/tpm2/public_area.h"
#include "tests/unit/tpm2_data.h"

using namespace hwid;
using core::Bytes;
using core::Error;
using core::Reason;
using tpm2::parse_key_file;
using tpm2::SavedHandle;
using tpm2::Tss2Key;

namespace {

std::string rejection(const std::string& path) {
  try {
    (void)tpm2::read_key_file(path);
  } catch (const Error& error) {
    CHECK(error.reason == Reason::kBadReference);
    return error.what();
  }
  return "accepted";
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("key file: PEM with text around it, and DER") {
  const Tss2Key key = test::tss2_key("tpm2-tools-ec.pem");
  const Bytes der = tpm2::encode_tss2(key);
  CHECK(std::get<Tss2Key>(parse_key_file(der)).parent == key.parent);
  const std::string certificate = test::read_file(test::tss2_path("tpm2-tools-ec.public.pem"));
  const std::string text = "a note\n" + certificate +
                           test::read_file(test::tss2_path("tpm2-tools-ec.pem")) + "the end\n";
  CHECK(std::get<Tss2Key>(parse_key_file(core::as_bytes(text))).parent == key.parent);
  CHECK(core::is_tss2_label("TSS2 PRIVATE KEY"));
  CHECK(core::is_tss2_label("TSS2 KEY BLOB"));
  CHECK_FALSE(core::is_tss2_label("PRIVATE KEY"));
  CHECK_FALSE(core::is_reference_label("TSS2 PRIVATE KEY"));
}

TEST_CASE("key file: a handle that tpm2-tools saved") {
  const auto saved =
      std::get<SavedHandle>(tpm2::read_key_file(test::tss2_path("saved-handle.obj").string()));
  CHECK(saved.handle == 0x81000001);
  const core::Libcrypto crypto;
  CHECK(saved.name == tpm2::object_name(crypto, saved.public_area.publicArea));
  Bytes bytes = test::tss2_file("saved-handle.obj");
  bytes.push_back(0);
  CHECK_THROWS_AS(parse_key_file(bytes), Error);
  for (std::size_t size = 0; size + 1 < bytes.size(); ++size)
    CHECK_THROWS_AS(parse_key_file(core::ByteView(bytes).first(size)), Error);
}

TEST_CASE("key file: what is none gets an error that names it") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("key.pem");
  CHECK(says(rejection(path), "key file " + path + ": No such file"));
  CHECK(says(rejection(directory.path().string()), "no regular file"));
  CHECK(says(rejection("/dev/null"), "no regular file"));
  test::write_file(path, "nothing\n");
  CHECK(says(rejection(path), path + ": it holds no TSS2 PRIVATE KEY"));
  CHECK_THROWS_AS(parse_key_file({}), Error);
  test::write_file(path, "");
  CHECK(says(rejection(path), "it holds no TSS2 PRIVATE KEY"));
  test::write_file(path, std::string(70000, 'x'));
  CHECK(says(rejection(path), "64 KiB"));
  test::write_file(path,
                   "-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n");
  CHECK(says(rejection(path), path + ": TSS2 PRIVATE KEY: type: it is missing"));
}
