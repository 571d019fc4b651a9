// hwid-test-counts FILE: prints what HWID_TEST_REPORT=FILE counted, a line "C_Sign 12" each, and
// "total N" of the calls.
#include <unistd.h>

#include <cstdio>

#include "tests/module/counters.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: hwid-test-counts FILE\n");
    return 2;
  }
  if (access(argv[1], R_OK) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  const hwid::test::Counters counters(argv[1]);
  unsigned long long total = 0;
  for (std::size_t i = 0; i < hwid::test::kFunctionCount; ++i) total += counters.value(i);
  std::printf("%stotal %llu\n", counters.text().c_str(), total);
  return 0;
}
