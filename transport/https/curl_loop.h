#pragma once

#include <curl/curl.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace hwid::transport::https {

struct CurlDelete {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using EasyPtr = std::unique_ptr<CURL, CurlDelete>;
using SlistPtr = std::unique_ptr<curl_slist, CurlDelete>;

// Once a process, before anything else of libcurl. Throws Error. Threads: any.
void initialize_libcurl();

// One thread that runs tasks and libcurl's transfers, without holding a lock: what only its tasks
// touch needs no lock. Connections are kept and used again. A task that throws is logged.
// Threads: post() and post_after() any; stop() and the destructor any but its own; the rest its
// own.
class CurlLoop {
 public:
  using Task = std::function<void()>;
  using Done = std::function<void(CURLcode)>;

  CurlLoop();  // throws Error
  CurlLoop(const CurlLoop&) = delete;
  CurlLoop& operator=(const CurlLoop&) = delete;
  ~CurlLoop() { stop(); }

  // False after stop(): the task was dropped.
  bool post(Task task) { return post_after(std::chrono::milliseconds(0), std::move(task)); }
  bool post_after(std::chrono::milliseconds delay, Task task);

  // `done` is called once, later, when the transfer has ended; `easy` must live until then. Where
  // it ended well `connected` is called before, while a connection of CURLOPT_CONNECT_ONLY is open.
  void start(CURL* easy, Done done, Task connected = {});
  // Ends a transfer that start() began; its `done` is not called.
  void abandon(CURL* easy) noexcept;

  // Waits for the running task; drops the others and the transfers.
  void stop() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  struct MultiDelete {
    void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
  };

  void run();
  void run_due_tasks();
  void finish_transfers();
  std::chrono::milliseconds until_next_task();

  std::unique_ptr<CURLM, MultiDelete> multi_;
  struct Transfer {
    Done done;
    Task connected;
  };

  std::map<CURL*, Transfer> transfers_;
  std::mutex mutex_;
  std::multimap<Clock::time_point, Task> tasks_;  // equal times: in order
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace hwid::transport::https
