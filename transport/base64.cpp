#include "transport/base64.h"

#include <openssl/evp.h>

#include <climits>
#include <new>

namespace hwid::transport {

std::string to_base64(std::string_view bytes) {
  if (bytes.size() > INT_MAX / 2) throw std::bad_alloc();
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // libcrypto ends it with a zero
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

}  // namespace hwid::transport
