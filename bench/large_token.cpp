#include "bench/large_token.h"

#include <cstdio>
#include <filesystem>
#include <set>
#include <vector>

namespace hwid::bench {
namespace {

using Paths = std::set<std::filesystem::path>;

// SoftHSM keeps each object in a file of its own, UUID.object.
Paths objects_below(const std::filesystem::path& directory) {
  Paths found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() == ".object" && entry.path().filename() != "token.object")
      found.insert(entry.path());
  }
  return found;
}

std::string uuid(int number) {
  char text[64];
  std::snprintf(text, sizeof text, "00000000-0000-0000-0000-%012d.object", number);
  return text;
}

}  // namespace

std::vector<int> many_objects(bool quick) {
  return quick ? std::vector<int>{40} : std::vector<int>{2000, 10000};
}

// Fillers are EC key pairs: on a full token most objects are private, and a search must decrypt
// what it compares. They are copies of one pair's files, since SoftHSM takes a minute to make them.
FilledToken::FilledToken(int objects) : objects_(objects) {
  token_.generate({{"rsa:2048", "rsa", "01"}, {"ec:P-256", "ec", "02"}});
  if (objects <= kFewObjects) return;
  const Paths before = objects_below(token_.directory().path());
  token_.generate({"ec:P-256", "filler", "03"});
  std::vector<std::filesystem::path> filler;
  for (const auto& path : objects_below(token_.directory().path())) {
    if (!before.contains(path)) filler.push_back(path);
  }
  const int made = kFewObjects + static_cast<int>(filler.size());
  for (int i = 0; i < objects - made; ++i) {
    const auto& original = filler[static_cast<std::size_t>(i) % filler.size()];
    std::filesystem::copy_file(original, original.parent_path() / uuid(i));
  }
}

std::string FilledToken::conf_file(const std::string& module) const {
  const std::string name = module.empty() ? "openssl.cnf" : "counted.cnf";
  return test::OpensslConf()
      .backend("dev", token_.backend(module))
      .write(token_.directory().file(name));
}

}  // namespace hwid::bench
