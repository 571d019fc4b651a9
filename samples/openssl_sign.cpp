// Signs the standard input with a key in hardware, and writes the signature. OpenSSL's API, and
// nothing else:
//
//   openssl-sign hwid://device < message > signature
//   openssl dgst -sha256 -verify public.pem -signature signature message
#include <iostream>
#include <iterator>

#include "openssl_key.h"

namespace {

std::string sign(EVP_PKEY* key, const std::string& message) {
  const sample::DigestContext context(EVP_MD_CTX_new());
  const auto* const bytes = reinterpret_cast<const unsigned char*>(message.data());
  std::size_t size = 0;
  if (!context ||
      EVP_DigestSignInit_ex(context.get(), nullptr, "SHA256", nullptr, nullptr, key, nullptr) !=
          1 ||
      EVP_DigestSignUpdate(context.get(), bytes, message.size()) != 1 ||
      EVP_DigestSignFinal(context.get(), nullptr, &size) != 1)
    sample::fail("cannot sign");
  std::string signature(size, '\0');  // the size is a bound: ECDSA signatures vary
  if (EVP_DigestSignFinal(context.get(), reinterpret_cast<unsigned char*>(signature.data()),
                          &size) != 1)
    sample::fail("cannot sign");
  signature.resize(size);
  return signature;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || argv[1] == std::string("--help")) {
    std::cerr << "usage: openssl-sign KEY-URI < MESSAGE > SIGNATURE\n";
    return argc == 2 ? 0 : 2;
  }
  try {
    const auto key = sample::private_key(argv[1]);
    const std::string message(std::istreambuf_iterator<char>(std::cin), {});
    std::cout << sign(key.get(), message) << std::flush;
    return std::cout ? 0 : 3;
  } catch (const std::exception& error) {
    std::cerr << "openssl-sign: " << error.what() << "\n";
    return 3;
  }
}
