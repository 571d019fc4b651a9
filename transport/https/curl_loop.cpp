#include "transport/https/curl_loop.h"

#include <hwid/transport_error.h>

#include <algorithm>
#include <csignal>

#include "transport/log.h"

namespace hwid::transport::https {

namespace {

constexpr std::chrono::milliseconds kLongestPoll{60000};
constexpr long kKeptConnections = 9;

CURLM* new_multi() {
  initialize_libcurl();
  CURLM* const multi = curl_multi_init();
  if (multi == nullptr) throw Error(ErrorKind::environment, "start libcurl", "", "out of memory");
  // Who starts transfers bounds them: those that libcurl has wait for a connection do not time out.
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kKeptConnections);
  return multi;
}

// A write to a connection that the other side closed must not end the process.
void block_sigpipe() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace

void initialize_libcurl() {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialized != CURLE_OK)
    throw Error(ErrorKind::environment, "start libcurl", "", curl_easy_strerror(initialized));
}

CurlLoop::CurlLoop() : multi_(new_multi()), thread_([this] { run(); }) {}

bool CurlLoop::post_after(std::chrono::milliseconds delay, Task task) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return false;
  tasks_.emplace(Clock::now() + delay, std::move(task));
  curl_multi_wakeup(multi_.get());
  return true;
}

void CurlLoop::start(CURL* easy, Done done, Task connected) {
  transfers_[easy] = {std::move(done), std::move(connected)};
  const CURLMcode added = curl_multi_add_handle(multi_.get(), easy);
  if (added == CURLM_OK) return;
  transfers_.erase(easy);
  throw Error(ErrorKind::environment, "start an HTTPS request", "", curl_multi_strerror(added));
}

void CurlLoop::abandon(CURL* easy) noexcept {
  if (transfers_.erase(easy) != 0) curl_multi_remove_handle(multi_.get(), easy);
}

void CurlLoop::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    curl_multi_wakeup(multi_.get());
  }
  if (thread_.joinable()) thread_.join();
  while (!transfers_.empty()) abandon(transfers_.begin()->first);
}

void CurlLoop::run_due_tasks() {
  std::unique_lock lock(mutex_);
  while (!stopped_ && !tasks_.empty() && tasks_.begin()->first <= Clock::now()) {
    {
      const Task task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      lock.unlock();
      guarded("HTTPS session", task);
    }  // what the task holds is released without the lock, too
    lock.lock();
  }
}

void CurlLoop::finish_transfers() {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* const easy = message->easy_handle;
    const CURLcode result = message->data.result;
    const auto ended = transfers_.extract(easy);
    if (!ended.empty() && ended.mapped().connected && result == CURLE_OK)
      guarded("HTTPS session", ended.mapped().connected);
    curl_multi_remove_handle(multi_.get(), easy);
    if (!ended.empty()) guarded("HTTPS session", [&] { ended.mapped().done(result); });
  }
}

std::chrono::milliseconds CurlLoop::until_next_task() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return std::chrono::milliseconds(0);
  if (tasks_.empty()) return kLongestPoll;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(tasks_.begin()->first - Clock::now());
  return std::clamp(left, std::chrono::milliseconds(0), kLongestPoll);
}

void CurlLoop::run() {
  block_sigpipe();
  const auto stopped = [this] {
    const std::lock_guard lock(mutex_);
    return stopped_;
  };
  while (!stopped()) {
    run_due_tasks();
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    finish_transfers();
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(until_next_task().count()), nullptr);
  }
}

}  // namespace hwid::transport::https
