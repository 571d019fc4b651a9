// A token that is reached through a server (p11-kit's, standing for a network HSM): the server is
// killed and comes back, and the program goes on signing.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/fixture/paths.h"
#include "tests/fixture/ports.h"
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

// Where p11-kit's modules lie: beside SoftHSM's directory, or in it.
std::string client_module() {
  const auto softhsm = std::filesystem::canonical(softhsm_module()).parent_path();
  for (const char* const relative : {"../pkcs11", ".", "../../pkcs11"}) {
    const auto path = softhsm / relative / "p11-kit-client.so";
    if (std::filesystem::exists(path)) return path.lexically_normal().string();
  }
  return {};
}

// `p11-kit server` in the foreground. Each client has a process of its own below it.
class Server {
 public:
  explicit Server(std::string socket) : socket_(std::move(socket)) { start(); }
  ~Server() { kill_all(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start() {
    std::filesystem::remove(socket_);
    Daemon::Options options;
    options.environment["SOFTHSM2_CONF"] = world().token.conf();
    options.ready = [&] { return socket_answers(socket_); };
    daemon_ = std::make_unique<Daemon>(
        std::vector<std::string>{"p11-kit", "server", "-f", "-n", socket_, "--provider",
                                 softhsm_module(), "pkcs11:"},
        options);
  }

  // With all that serves clients; no goodbye.
  void kill_all() {
    const std::string children = "/proc/" + std::to_string(daemon_->pid()) + "/task/" +
                                 std::to_string(daemon_->pid()) + "/children";
    std::istringstream pids(read_file(children));
    daemon_->stop(SIGKILL);
    for (pid_t pid = 0; pids >> pid;) kill(pid, SIGKILL);
  }

 private:
  std::string socket_;
  std::unique_ptr<Daemon> daemon_;
};

struct Remote {
  Remote() : server(directory.file("socket")) {
    if (client_module().empty())
      throw std::runtime_error("p11-kit-client.so is not installed (package p11-kit-modules)");
    // Read by the module when it is loaded.
    setenv("P11_KIT_SERVER_ADDRESS", ("unix:path=" + directory.file("socket")).c_str(), 1);
    context = std::make_unique<LibraryContext>(
        OpensslConf().backend("far", world().token.backend(client_module())));
  }
  TemporaryDirectory directory;
  Server server;
  std::unique_ptr<LibraryContext> context;
};

Remote& remote() {
  static Remote made;
  return made;
}

}  // namespace

TEST_CASE("life: a remote token's server is killed and comes back") {
  for (const Kind& kind : kKinds) {
    const Signer signer(*remote().context, kind);
    REQUIRE(signer.failure(3) == "");
    for (int round = 0; round < 3; ++round) {
      Signer::Stream begun = signer.stream();
      remote().server.kill_all();
      remote().server.start();
      CHECK(begun.finish() == "");
      CHECK(signer.failure(2) == "");
    }
  }
}

TEST_CASE("life: a remote token is an error while its server is away, and no longer") {
  const Signer signer(*remote().context, kKinds[2]);
  REQUIRE(signer.failure() == "");
  remote().server.kill_all();
  for (int time = 0; time < 3; ++time) {
    const std::string failure = signer.failure();
    CHECK_MESSAGE(
        failure.find(time == 0 ? "CKR_DEVICE_ERROR" : "CKR_TOKEN_NOT_PRESENT") != std::string::npos,
        failure);
    CHECK_MESSAGE(failure.find("token=" + world().token.label()) != std::string::npos, failure);
  }
  Signer::Stream begun = signer.stream();
  remote().server.start();
  CHECK(begun.finish() == "");
  // A key that was not open finds its way as well.
  remote().server.kill_all();
  remote().server.start();
  CHECK(Signer(*remote().context, kKinds[0]).failure(2) == "");
  CHECK(signer.failure(2) == "");
}

TEST_CASE("life: eight threads sign on when a remote token's server was killed") {
  const Signer rsa(*remote().context, kKinds[1]);
  const Signer ec(*remote().context, kKinds[2]);
  std::atomic<bool> stop{false};
  std::atomic<int> made{0};
  std::atomic<int> bad{0};
  std::thread work([&] {
    on_threads(8, [&](int thread) {
      const Signer& signer = thread % 2 == 0 ? rsa : ec;
      while (!stop) {
        if (!signer.failure().empty()) ++bad;
        ++made;
      }
    });
  });
  const auto some_more = [&] {
    const int before = made - bad;
    return wait_until([&] { return made - bad > before + 20; });
  };
  for (int round = 0; round < 3; ++round) {
    CHECK(some_more());
    remote().server.kill_all();
    remote().server.start();
    CHECK(some_more());
    // Those that met the dead server may have failed; from here on nobody does.
    CHECK(some_more());
    const int failures = bad;
    CHECK(some_more());
    CHECK(bad == failures);
  }
  stop = true;
  work.join();
}
