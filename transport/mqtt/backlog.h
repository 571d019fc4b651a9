#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace hwid::transport::mqtt_client {

// What arrived and no handler has finished with. Paho confirms a message before it hands it over,
// so the only way to stop a broker that is faster than the handlers is to leave it for a while: it
// keeps what it has not sent. Threads: any.
class Backlog : public std::enable_shared_from_this<Backlog> {
 public:
  // Held as long as its message is.
  class Ticket {
   public:
    Ticket(std::shared_ptr<Backlog> backlog, std::uint64_t bytes)
        : backlog_(std::move(backlog)), bytes_(bytes) {
      backlog_->messages_ += 1;
      backlog_->bytes_ += bytes_;
    }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() {
      backlog_->messages_ -= 1;
      backlog_->bytes_ -= bytes_;
    }

   private:
    const std::shared_ptr<Backlog> backlog_;
    const std::uint64_t bytes_;
  };

  std::shared_ptr<const Ticket> take(std::uint64_t bytes) {
    return std::make_shared<const Ticket>(shared_from_this(), bytes);
  }
  bool too_long() const noexcept { return messages_ > kMostMessages || bytes_ > kMostBytes; }
  bool is_short() const noexcept {
    return messages_ <= kMostMessages / 2 && bytes_ <= kMostBytes / 2;
  }

 private:
  static constexpr std::uint64_t kMostMessages = 10000;
  static constexpr std::uint64_t kMostBytes = 64UL * 1024 * 1024;

  std::atomic<std::uint64_t> messages_{0};
  std::atomic<std::uint64_t> bytes_{0};
};

}  // namespace hwid::transport::mqtt_client
