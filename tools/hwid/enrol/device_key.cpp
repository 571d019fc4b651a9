#include "tools/hwid/enrol/device_key.h"

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/x509/name.h"
#include "tools/hwid/x509/request.h"

namespace hwid::tool::enrol {
namespace {

using core::Error;
using core::KeyUri;
using core::Reason;

// The file that holds the key's reference already; empty: there is none.
std::string file_of(Invocation& invocation, const std::string& source) {
  if (!is_key_uri(source)) return source;
  const KeyUri uri = KeyUri::parse(source);
  if (uri.scheme() != KeyUri::Scheme::kName) return "";
  const std::string target = invocation.config().resolve(uri.name()).value_or("");
  return target.starts_with('/') ? target : "";
}

// The first PEM block alone: certificates may stand behind it.
std::string first_block(const std::string& pem) {
  const std::size_t begin = pem.find("-----BEGIN ");
  const std::size_t end = pem.find("-----END ");
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  const std::size_t line = pem.find('\n', end);
  return pem.substr(begin, line == std::string::npos ? line : line + 1 - begin);
}

}  // namespace

DeviceKey open_device_key(Invocation& invocation, const std::string& source) {
  DeviceKey device{open_private_key(invocation, source), ""};
  const std::string file = file_of(invocation, source);
  std::string pem = file.empty() ? private_key_pem(device.key.get()) : first_block(read_file(file));
  const core::Cleansed guard(pem);
  if (!is_in_hardware(pem))
    throw Error(Reason::kUnsupported,
                (file.empty() ? KeyUri::parse(source).text() : "file=" + file) +
                    ": a key in software, which can be copied away; name one in hardware "
                    "(`hwid generate` makes one)");
  device.reference = pem;
  return device;
}

std::string make_request(Invocation& invocation, const DeviceKey& key, const std::string& subject) {
  OSSL_LIB_CTX* const crypto = invocation.crypto();
  const x509::Name name = x509::parse_subject(subject);
  const x509::SignatureForm form = x509::signature_form(key.key.get(), "", false, crypto);
  return x509::make_request({name.get()}, key.key.get(), form, crypto);
}

}  // namespace hwid::tool::enrol
