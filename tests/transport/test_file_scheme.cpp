// samples/file_scheme.cpp: a scheme that a program registers for itself.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "broker.h"

using namespace hwid::test;  // NOLINT(google-build-using-namespace)

namespace {

struct Result {
  int code;
  std::string err;
};

// The sample with `lines` as its input, through a shell for the redirection.
Result publish(const TemporaryDirectory& directory, const std::string& endpoint,
               const std::string& lines, const std::string& more = {}) {
  write_file(directory / "device.conf",
             "endpoint = " + endpoint + "\ntopics.publish = t/req\n" + more);
  write_file(directory / "in", lines);
  Process process({"/bin/sh", "-c",
                   std::string("exec ") + HWID_TEST_FILE_SCHEME + " --config " +
                       (directory / "device.conf").string() + " < " + (directory / "in").string()},
                  directory / "out", directory / "err");
  const int code = process.wait();
  return {code, read_file(directory / "err")};
}

std::vector<std::string> files_in(const std::filesystem::path& directory) {
  std::vector<std::string> contents;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  contents.reserve(paths.size());
  for (const auto& path : paths) contents.push_back(read_file(path));
  return contents;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("file_scheme: each message becomes a file, in order, and nothing half-written stays") {
  const TemporaryDirectory directory;
  const auto outbox = directory / "outbox";
  std::filesystem::create_directory(outbox);
  for (const std::string& form : {"file:" + outbox.string(), "file://" + outbox.string()}) {
    const auto before = files_in(outbox).size();
    std::string lines;
    for (int i = 0; i < 20; ++i) lines += std::to_string(i) + "\n";
    const auto result = publish(directory, form, lines, "qos = 2\n");
    CHECK_MESSAGE(result.code == 0, result.err);
    const auto files = files_in(outbox);
    REQUIRE(files.size() == before + 20);
    for (std::size_t i = 0; i < 20; ++i)
      CHECK(files[before + i] == "Topic: t/req\nQoS: 2\n\n" + std::to_string(i));
  }
}

TEST_CASE("file_scheme: what it cannot do is refused") {
  const TemporaryDirectory directory;
  const auto missing = publish(directory, "file:" + (directory / "none").string(), "x\n");
  CHECK(missing.code == 3);
  CHECK_MESSAGE(contains(missing.err, "No such file"), missing.err);
  const auto will = publish(directory, "file:" + directory.path().string(), "x\n",
                            "will-topic = t\nwill-message = m\n");
  CHECK(will.code == 3);
  CHECK_MESSAGE(contains(will.err, "key will-topic"), will.err);
  const auto full = publish(directory, "file:/dev/full", "x\n");
  CHECK(full.code == 3);
}
