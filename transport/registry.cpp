#include <hwid/transport.h>

#include <map>
#include <mutex>

#include "transport/endpoint.h"
#include "transport/https/https_transport.h"
#include "transport/mqtt/mqtt_transport.h"

namespace hwid::transport {

namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, Factory> schemes = {{"mqtts", mqtt_client::open},
                                            {"wss", mqtt_client::open},
                                            {"mqtt", mqtt_client::open},
                                            {"https", https::open}};
};

// Never destroyed: a transport may be opened while the process ends.
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

}  // namespace

Transport::~Transport() = default;

void register_scheme(std::string scheme, Factory factory) {
  auto& known = registry();
  const std::lock_guard lock(known.mutex);
  known.schemes[std::move(scheme)] = std::move(factory);
}

std::unique_ptr<Transport> open(const DeviceConfig& config) {
  const std::string scheme = scheme_of(config.endpoint);  // the rest is the scheme's business
  Factory factory;
  std::string schemes;
  {
    auto& known = registry();
    const std::lock_guard lock(known.mutex);
    if (const auto found = known.schemes.find(scheme); found != known.schemes.end())
      factory = found->second;
    for (const auto& [name, unused] : known.schemes)
      schemes += (schemes.empty() ? "" : ", ") + name + "://";
  }
  if (!factory)
    throw Error(ErrorKind::environment, "endpoint", printable_endpoint(config.endpoint),
                "the scheme " + scheme + ":// is not known", "use one of " + schemes);
  return factory(config);
}

}  // namespace hwid::transport
