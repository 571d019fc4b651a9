#include "broker.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "tests/fixture/ports.h"

namespace hwid::test {

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  constexpr std::chrono::milliseconds kLook{5};
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
}

Process::Process(const std::vector<std::string>& arguments, const std::filesystem::path& out,
                 const std::filesystem::path& err) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // where the test itself crashes or is killed
    const int to = ::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int errors = ::open(err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(to, STDOUT_FILENO);
    ::dup2(errors, STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
}

Process::~Process() { end(SIGKILL); }

bool Process::running() {
  if (pid_ < 0) return false;
  if (::waitpid(pid_, &status_, WNOHANG) != pid_) return true;
  pid_ = -1;
  return false;
}

int Process::wait() {
  if (pid_ >= 0) ::waitpid(pid_, &status_, 0);
  pid_ = -1;
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
}

void Process::signal(int number) const {
  if (pid_ >= 0) ::kill(pid_, number);
}

void Process::end(int number) {
  if (!running()) return;
  signal(number);
  wait();
}

Broker::Broker() {
  const auto& directory = directory_.path();
  make_certificate(directory, "ca", "");
  make_certificate(directory, "other-ca", "");
  make_certificate(directory, "server", "ca", "DNS:localhost");
  make_certificate(directory, "client", "ca");
  make_certificate(directory, "stranger", "other-ca");
  // mosquitto's ACL files do not check subscriptions, its plugin does.
  write_file(directory_ / "acl.json", R"({
    "defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true,
                         "subscribe": true, "unsubscribe": true},
    "clients": [{"username": "client", "roles": [{"rolename": "device"}]}],
    "roles": [{"rolename": "device", "acls": [
      {"acltype": "publishClientSend", "topic": "deny/#", "allow": false},
      {"acltype": "subscribePattern", "topic": "deny/#", "allow": false}]}]})");
  start();
}

void Broker::start() {
  const char* const user = ::geteuid() == 0 ? "user root\n" : "";
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (port_ == 0) port_ = free_port();
    write_file(directory_ / "mosquitto.conf",
               std::string(user) + "per_listener_settings false\nallow_anonymous true\n" +
                   "listener " + std::to_string(port_) + " 127.0.0.1\ncafile " + file("ca.pem") +
                   "\ncertfile " + file("server.pem") + "\nkeyfile " + file("server.key") +
                   "\nrequire_certificate true\nuse_identity_as_username true\nplugin " +
                   HWID_TEST_MOSQUITTO_ACL + "\nplugin_opt_config_file " + file("acl.json") +
                   "\npersistence true\npersistence_location " + file("") +
                   "\nmax_queued_messages 0\nautosave_interval 0\nautosave_on_changes "
                   "false\nlog_type all\n" +
                   "log_dest file " + file("broker.log") + "\n");
    process_ = std::make_unique<Process>(
        std::vector<std::string>{HWID_TEST_MOSQUITTO, "-c", file("mosquitto.conf")},
        directory_ / "broker.out", directory_ / "broker.out");
    if (eventually([&] { return !process_->running() || port_answers(port_); }) &&
        process_->running())
      return;
    port_ = 0;  // another process was faster
  }
  throw std::runtime_error("mosquitto does not start: " + read_file(directory_ / "broker.out") +
                           log());
}

void Broker::stop(int signal_number) { process_->end(signal_number); }

void Broker::save_and_freeze() const {
  std::filesystem::remove(directory_ / "mosquitto.db");
  process_->signal(SIGUSR1);
  if (!eventually([&] { return std::filesystem::exists(directory_ / "mosquitto.db"); }))
    throw std::runtime_error("mosquitto does not save its sessions");
  freeze();
}

void Broker::freeze() const { process_->signal(SIGSTOP); }

}  // namespace hwid::test
