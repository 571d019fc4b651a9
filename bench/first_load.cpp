// hwid-bench-first-load: loads one private key in a new process, and prints how many seconds that
// took, then shows that the key signs.
//   raw MODULE TOKEN PIN LABEL   C_Initialize, login and one search, and nothing else
//   store CONF URI               OSSL_STORE, with the providers of that openssl.cnf
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "bench/cryptoki.h"
#include "tests/fixture/library_context.h"

namespace {

using namespace hwid::bench;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double load_raw(char** words) {
  const std::string label = words[3];
  const auto begin = Clock::now();
  const Token token(words[0], words[1], words[2]);
  const CK_OBJECT_HANDLE key = token.find(token.session(), label);
  const double seconds = seconds_since(begin);
  const RawSigning signing(label == "ec" ? Scheme::kEcdsa : Scheme::kRsaPkcs1,
                           std::string(32, 'd'));
  signing.sign(token.operator->(), token.session(), key);
  return seconds;
}

// A program has long read its configuration when it loads a key: that is not part of it.
double load_from_store(char** words) {
  const hwid::test::LibraryContext context{std::string(words[0])};
  const auto begin = Clock::now();
  const hwid::test::EvpPkey key = context.private_key(words[1]);
  const double seconds = seconds_since(begin);
  const std::string signature = hwid::test::sign(context.get(), key.get(), "SHA256", "message");
  if (!hwid::test::verifies(key.get(), "SHA256", "message", signature))
    throw std::runtime_error("the signature does not verify");
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode == "raw" && argc == 6)
      std::printf("%.9f\n", load_raw(argv + 2));
    else if (mode == "store" && argc == 4)
      std::printf("%.9f\n", load_from_store(argv + 2));
    else
      throw std::runtime_error("usage: raw MODULE TOKEN PIN LABEL | store CONF URI");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
