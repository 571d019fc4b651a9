// hwid-bench-list-token: reads everything on a token in a new process, and prints how many seconds
// that took and by how many bytes the process grew.
//   raw MODULE TOKEN PIN COUNT   C_FindObjects, and one C_GetAttributeValue for each object
//   store CONF URI COUNT         OSSL_STORE, with the providers of that openssl.cnf
// COUNT: how many there must be.
#include <openssl/store.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/cryptoki.h"
#include "bench/memory.h"
#include "tests/fixture/library_context.h"

namespace {

using namespace hwid::bench;
using Clock = std::chrono::steady_clock;

// What a list shows of an object, in one call.
void read_object(const Token& token, CK_OBJECT_HANDLE object) {
  CK_OBJECT_CLASS object_class = 0;
  std::array<char, 256> label{};
  std::array<char, 256> id{};
  std::array<char, 4096> value{};
  std::array<CK_ATTRIBUTE, 4> attributes{{{CKA_CLASS, &object_class, sizeof object_class},
                                          {CKA_LABEL, label.data(), label.size()},
                                          {CKA_ID, id.data(), id.size()},
                                          {CKA_EC_POINT, value.data(), value.size()}}};
  const CK_RV rv =
      token->C_GetAttributeValue(token.session(), object, attributes.data(), attributes.size());
  if (rv != CKR_ATTRIBUTE_TYPE_INVALID) check(rv, "C_GetAttributeValue");  // one without a point
}

std::size_t list_raw(char** words) {
  const Token token(words[0], words[1], words[2]);
  std::vector<CK_OBJECT_HANDLE> objects;
  check(token->C_FindObjectsInit(token.session(), nullptr, 0), "C_FindObjectsInit");
  for (CK_ULONG count = 1; count > 0;) {
    std::array<CK_OBJECT_HANDLE, 64> found{};
    check(token->C_FindObjects(token.session(), found.data(), found.size(), &count),
          "C_FindObjects");
    objects.insert(objects.end(), found.begin(), found.begin() + count);
  }
  check(token->C_FindObjectsFinal(token.session()), "C_FindObjectsFinal");
  for (const CK_OBJECT_HANDLE object : objects) read_object(token, object);
  return objects.size();
}

std::size_t list_store(const hwid::test::LibraryContext& context, const char* uri) {
  OSSL_STORE_CTX* const store =
      OSSL_STORE_open_ex(uri, context.get(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  if (store == nullptr) throw std::runtime_error(hwid::test::openssl_errors());
  std::size_t count = 0;
  while (OSSL_STORE_eof(store) == 0) {
    OSSL_STORE_INFO* const info = OSSL_STORE_load(store);
    if (info != nullptr) ++count;
    OSSL_STORE_INFO_free(info);
  }
  OSSL_STORE_close(store);
  return count;
}

template <typename List>
void measure(const char* expected, const List& list) {
  const double bytes = proportional_bytes();
  const auto begin = Clock::now();
  const std::size_t count = list();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (count != std::strtoul(expected, nullptr, 10))
    throw std::runtime_error("found " + std::to_string(count) + " objects");
  std::printf("{\"seconds\": %.9f, \"bytes\": %.0f}\n", seconds, proportional_bytes() - bytes);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode == "raw" && argc == 6) {
      measure(argv[5], [&] { return list_raw(argv + 2); });
    } else if (mode == "store" && argc == 5) {
      // A program has long read its configuration.
      const hwid::test::LibraryContext context{std::string(argv[2])};
      measure(argv[4], [&] { return list_store(context, argv[3]); });
    } else {
      throw std::runtime_error("usage: raw MODULE TOKEN PIN COUNT | store CONF URI COUNT");
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
