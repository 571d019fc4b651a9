// A scheme of a program's own: file:DIRECTORY writes each message as a file, for another program
// that carries it on: rsync, a courier's USB stick, a batch upload. Nothing else in the program
// changes: with endpoint = mqtts://... in the same device.conf the lines go to a broker.
//
//   echo hello | hwid-file-scheme --config device.conf      # endpoint = file:/var/spool/outbox
//
// A file is "Topic: T", "QoS: N", an empty line, the payload. It appears under its name only when
// it is whole and on the disk; the names sort in the order of publication.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "command_line.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

[[noreturn]] void fail(const char* what, const std::string& where) {
  throw ht::Error(ht::ErrorKind::environment, what, where, std::strerror(errno),
                  "the directory must exist, be writable and have space");
}

// An open file or directory.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags)
      : path_(path), descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0640)) {
    if (descriptor_ < 0) fail("open", path_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(descriptor_); }

  void write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  void sync() const {
    if (::fsync(descriptor_) != 0) fail("fsync", path_);
  }

 private:
  const std::string path_;
  const int descriptor_;
};

class FileTransport final : public ht::Transport {
 public:
  explicit FileTransport(const ht::DeviceConfig& config)
      : directory_(config.endpoint.substr(config.endpoint.find(':') + 1)) {
    ht::refuse_other_options(config, {"qos"});
    if (directory_.rfind("//", 0) == 0) directory_.erase(0, 2);  // file:///PATH
  }

  std::future<void> connect() override {
    return done<void>([this] {
      if (::access(directory_.c_str(), W_OK | X_OK) != 0) fail("connect", directory_);
      tell({ht::State::connected, false, {}});
    });
  }

  std::future<ht::Delivery> publish(ht::Message message) override {
    return done<ht::Delivery>([&] {
      write(message);
      return ht::Delivery{};
    });
  }

  std::future<void> subscribe(std::string filter, ht::Qos, ht::MessageHandler) override {
    return refused<void>("subscribe", filter);
  }
  std::future<void> unsubscribe(std::string filter) override {
    return refused<void>("unsubscribe", filter);
  }
  std::future<ht::Message> request(ht::Message message, std::chrono::milliseconds) override {
    return refused<ht::Message>("request", message.topic);
  }
  void on_state(ht::StateHandler handler) override { handler_ = std::move(handler); }
  void close(std::chrono::milliseconds) noexcept override {}

 private:
  // Runs `work` now; what it throws is held by the future.
  template <typename T, typename Work>
  static std::future<T> done(Work work) {
    std::packaged_task<T()> task(work);
    task();
    return task.get_future();
  }

  template <typename T>
  static std::future<T> refused(const std::string& what, const std::string& topic) {
    return done<T>([&]() -> T {
      throw ht::Error(ht::ErrorKind::usage, what, topic, "files are written, and never answer");
    });
  }

  void tell(const ht::StateChange& change) const {
    if (handler_) handler_(change);
  }

  std::string next_name() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    char name[64];
    std::snprintf(name, sizeof name, "%012lld.%09ld-%d-%09lu", static_cast<long long>(now.tv_sec),
                  now.tv_nsec, static_cast<int>(::getpid()), ++written_);
    return name;
  }

  void write(const ht::Message& message) {
    if (message.topic.empty() || message.topic.find('\n') != std::string::npos ||
        !message.properties.empty() || message.retain)
      throw ht::Error(ht::ErrorKind::usage, "publish", message.topic,
                      "a file holds topic, QoS and payload only", "leave out the rest");
    const std::string name = next_name();
    const std::string hidden = directory_ + "/." + name + ".tmp";
    const Descriptor file(hidden, O_WRONLY | O_CREAT | O_EXCL);
    try {
      file.write("Topic: " + message.topic +
                 "\nQoS: " + std::to_string(static_cast<int>(message.qos)) + "\n\n");
      file.write(message.payload);
      file.sync();
      if (::rename(hidden.c_str(), (directory_ + "/" + name).c_str()) != 0) fail("rename", hidden);
    } catch (...) {
      ::unlink(hidden.c_str());
      throw;
    }
    Descriptor(directory_, O_RDONLY | O_DIRECTORY).sync();  // the new name, too
  }

  std::string directory_;
  ht::StateHandler handler_;
  std::atomic<unsigned long> written_{0};
};

int publish_lines(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                  //
      ("help,h", "show this text")                                       //
      ("config,c", po::value<std::string>()->required(), "device.conf")  //
      ("topic,t", po::value<std::string>(), "default: topics.publish of the config");
  const auto values = sample::parse(argc, argv, options,
                                    "hwid-file-scheme: publish each line of stdin, also to files",
                                    "hwid-file-scheme --config device.conf < readings");

  ht::register_scheme("file", [](const ht::DeviceConfig& config) {
    return std::make_unique<FileTransport>(config);
  });

  const auto config = ht::DeviceConfig::read(values["config"].as<std::string>());
  const std::string topic =
      values.count("topic") != 0 ? values["topic"].as<std::string>() : config.topics_publish;
  const auto transport = ht::open(config);
  transport->connect().get();
  for (std::string line; std::getline(std::cin, line);)
    transport->publish({topic, line, config.qos}).get();
  transport->close(std::chrono::seconds(5));
  return sample::kGood;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-file-scheme", [&] { return publish_lines(argc, argv); });
}
