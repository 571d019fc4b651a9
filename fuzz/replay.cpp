// The main of a fuzz target without libFuzzer: runs every file of the directories that are named.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/property.h"

namespace {

std::vector<std::filesystem::path> files_of(const std::filesystem::path& named) {
  if (!std::filesystem::is_directory(named)) return {named};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(named))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::size_t replay(const std::filesystem::path& named) {
  const std::vector<std::filesystem::path> files = files_of(named);
  for (const std::filesystem::path& file : files) {
    std::fprintf(stderr, "%s\n", file.c_str());
    std::ifstream stream(file, std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(stream), {});
    hwid::fuzz::require(static_cast<bool>(stream), "the file can be read");
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  return files.size();
}

}  // namespace

int main(int count, char** arguments) {
  try {
    LLVMFuzzerInitialize(&count, &arguments);
    std::size_t files = 0;
    for (int i = 1; i < count; ++i) files += replay(arguments[i]);
    std::fprintf(stderr, "%zu inputs\n", files);
    return files == 0 ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "NOT TRUE: no exception leaves a target: %s\n", error.what());
    return 1;
  }
}
