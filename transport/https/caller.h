#pragma once

#include <memory>

#include "transport/https/exchange.h"

namespace hwid::transport::https {

// Requests one after the other on the caller's own thread, over one connection as long as the
// server keeps it. Threads: one at a time.
class Caller {
 public:
  Caller();  // throws Error

  // The answer, whatever its status; its body is whole. Throws Error where there is none.
  Response call(const DeviceConfig& config, const Endpoint& endpoint, const HttpRequest& request,
                std::string payload, std::chrono::milliseconds timeout,
                Exchange::Extras extras = {});

 private:
  struct ShareDelete {
    void operator()(CURLSH* share) const noexcept { curl_share_cleanup(share); }
  };
  std::unique_ptr<CURLSH, ShareDelete> connections_;
};

}  // namespace hwid::transport::https
