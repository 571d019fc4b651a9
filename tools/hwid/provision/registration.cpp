#include "tools/hwid/provision/registration.h"

#include "tools/hwid/provision/unregistered.h"

namespace hwid::tool::provision {

transport::aws::Registration register_device(const transport::DeviceConfig& config,
                                             const std::string& csr,
                                             const std::optional<std::filesystem::path>& begun,
                                             const std::function<std::filesystem::path()>& begin,
                                             const transport::cloud::Patience& patience) {
  const auto keep = [&](const transport::aws::Unregistered& made) {
    keep_unregistered(begin(), made);
  };
  return transport::aws::provision(config, csr, begun ? read_unregistered(*begun) : std::nullopt,
                                   keep, patience);
}

transport::Learned learned_from(const transport::DeviceConfig& config,
                                const transport::aws::Registration& registration) {
  transport::Learned learned = {{"thing-name", registration.thing_name}, {"profile", "aws"}};
  if (config.client_id.empty() || config.client_id == config.thing_name)
    learned["client-id"] = registration.thing_name;
  return learned;
}

}  // namespace hwid::tool::provision
