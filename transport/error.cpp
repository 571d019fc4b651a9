#include <hwid/transport_error.h>

namespace hwid::transport {

namespace {

std::string compose(const std::string& what_failed, const std::string& where,
                    const std::string& why, const std::string& next_step) {
  std::string text = what_failed;
  if (!where.empty()) text += ": " + where;
  text += ": " + why;
  if (!next_step.empty()) text += "; " + next_step;
  return text;
}

}  // namespace

Error::Error(ErrorKind kind, const std::string& what_failed, const std::string& where,
             const std::string& why, const std::string& next_step, int status,
             std::chrono::seconds retry_after)
    : std::runtime_error(compose(what_failed, where, why, next_step)),
      kind_(kind),
      status_(status),
      retry_after_(retry_after) {}

}  // namespace hwid::transport
