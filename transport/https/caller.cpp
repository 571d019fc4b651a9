#include "transport/https/caller.h"

#include <pthread.h>

#include <csignal>
#include <ctime>
#include <new>
#include <utility>

namespace hwid::transport::https {

namespace {

// A write to a connection that the other side closed must not end the process: SIGPIPE is held back
// meanwhile, and one that came is taken away.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigset_t pending;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    was_pending_ = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec now{0, 0};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_;
};

}  // namespace

Caller::Caller() {
  initialize_libcurl();
  connections_.reset(curl_share_init());
  if (!connections_) throw std::bad_alloc();
  const CURLSHcode shared =
      curl_share_setopt(connections_.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT);
  if (shared != CURLSHE_OK)
    throw Error(ErrorKind::environment, "start libcurl", "", curl_share_strerror(shared));
}

Response Caller::call(const DeviceConfig& config, const Endpoint& endpoint,
                      const HttpRequest& request, std::string payload,
                      std::chrono::milliseconds timeout, Exchange::Extras extras) {
  const NoSigpipe guard;
  extras.connections = connections_.get();
  Exchange exchange(config, endpoint, request, std::move(payload), timeout, Exchange::Body::wanted,
                    extras);
  return exchange.finish(curl_easy_perform(exchange.handle()));
}

}  // namespace hwid::transport::https
