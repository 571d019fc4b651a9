// hwid-bench-raw-sign MODULE TOKEN PIN LABEL rsa|ec DIGEST OUT: the shortest process that makes a
// signature with a PKCS#11 module. DIGEST is a file of 32 bytes.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>

#include "bench/cryptoki.h"

int main(int argc, char** argv) {
  using namespace hwid::bench;
  if (argc != 8) {
    std::fprintf(stderr, "usage: %s MODULE TOKEN PIN LABEL rsa|ec DIGEST OUT\n", argv[0]);
    return 2;
  }
  try {
    std::ifstream in(argv[6], std::ios::binary);
    const std::string digest((std::istreambuf_iterator<char>(in)), {});
    const bool is_ec = std::string(argv[5]) == "ec";
    const RawSigning signing(is_ec ? Scheme::kEcdsa : Scheme::kRsaPkcs1, digest);
    const Token token(argv[1], argv[2], argv[3]);
    const CK_OBJECT_HANDLE key = token.find(token.session(), argv[4]);
    const std::string signature = signing.sign(token.operator->(), token.session(), key);
    token.finalize();
    std::ofstream out(argv[7], std::ios::binary);
    out << signature << std::flush;
    return out ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
