// What an EST server answers: certificates, and what it wants of a request. The input is the
// answer, or what is in its base64.
#include <cstddef>
#include <cstdint>
#include <string>

#include "transport/base64.h"
#include "transport/cloud/est_messages.h"

namespace {

template <typename Parse>
void parse(Parse read, const std::string& body) {
  try {
    (void)read(body);
  } catch (const hwid::transport::est::Garbage&) {  // the one thing that may be thrown
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) { return 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace est = hwid::transport::est;
  const std::string body(reinterpret_cast<const char*>(data), size);
  for (const std::string& text : {body, hwid::transport::to_base64(body)}) {
    parse(est::certificates_in, text);
    parse(est::csr_attributes_in, text);
  }
  return 0;
}
