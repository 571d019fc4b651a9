#include "tls_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

#include "tests/fixture/ports.h"

namespace hwid::test {

namespace {

constexpr std::size_t kLongestHeaders = 65536;

std::string address(int port) { return "127.0.0.1:" + std::to_string(port); }

// Starts `make(port)` on a free port until it accepts connections.
std::unique_ptr<Process> start_on_free_port(
    int& port, const std::function<std::unique_ptr<Process>(int)>& make) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    const int chosen = port != 0 ? port : free_port();
    auto process = make(chosen);
    if (eventually([&] { return !process->running() || port_answers(chosen); }) &&
        process->running()) {
      port = chosen;
      return process;
    }
  }
  throw std::runtime_error("a test's server does not start");
}

std::vector<std::string> in_directory(const std::filesystem::path& directory,
                                      const std::vector<std::string>& command) {
  std::vector<std::string> argv = {"/usr/bin/env", "-C", directory.string()};
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

std::shared_ptr<SSL_CTX> server_context(const std::filesystem::path& directory) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (SSL_CTX_use_certificate_chain_file(context.get(), (directory / "server.pem").c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context.get(), (directory / "server.key").c_str(),
                                  SSL_FILETYPE_PEM) != 1)
    throw std::runtime_error("a test's TLS server cannot be set up");
  return context;
}

void accept_tls(SSL_CTX* context, int socket, std::string* line = nullptr) {
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context), SSL_free);
  SSL_set_quiet_shutdown(ssl.get(), 1);
  SSL_set_fd(ssl.get(), socket);
  if (SSL_accept(ssl.get()) != 1 || line == nullptr) return;
  for (char byte = 0; SSL_read(ssl.get(), &byte, 1) == 1 && byte != '\n';) *line += byte;
}

}  // namespace

void openssl(const std::filesystem::path& directory, const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"openssl"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto out = directory / "openssl.out";
  std::filesystem::remove(out);
  Process process(in_directory(directory, command), out, out);
  if (process.wait() != 0)
    throw std::runtime_error("openssl " + arguments.at(0) + ": " + read_file(out));
}

OpensslServer::OpensslServer(const std::filesystem::path& directory, const std::string& name,
                             const std::vector<std::string>& arguments) {
  const auto out = directory / ("s_server-" + name + ".out");
  process_ = start_on_free_port(port_, [&](int port) {
    // -rev: looks at no terminal, and holds the connection.
    std::vector<std::string> command = {"openssl",     "s_server",    "-rev",
                                        "-accept",     address(port), "-cert",
                                        name + ".pem", "-key",        name + ".key"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return std::make_unique<Process>(in_directory(directory, command), out, out);
  });
}

SocketServer::SocketServer(std::function<void(int socket)> serve) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&name), size) != 0 ||
      ::listen(listener_, 8) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &size) != 0)
    throw std::runtime_error("a test's server cannot listen");
  port_ = ntohs(name.sin_port);
  thread_ = std::thread([this, serve = std::move(serve)] {
    // For this thread alone: the client under test must get along without.
    sigset_t pipe;
    ::sigemptyset(&pipe);
    ::sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    for (;;) {
      const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket < 0) return;
      ++connections_;
      serve(socket);
      ::close(socket);
    }
  });
}

SocketServer::~SocketServer() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
}

std::function<void(int socket)> close_after_handshake(const std::filesystem::path& directory,
                                                      int tls_version) {
  const auto context = server_context(directory);
  SSL_CTX_set_min_proto_version(context.get(), tls_version);
  SSL_CTX_set_max_proto_version(context.get(), tls_version);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  return [context](int socket) { accept_tls(context.get(), socket); };
}

std::function<void(int socket)> report_hello(const std::filesystem::path& directory,
                                             std::function<void(const SeenHello&)> seen,
                                             bool line) {
  const auto context = server_context(directory);
  return [context, seen = std::move(seen), line](int socket) {
    SeenHello hello;
    SSL_CTX_set_alpn_select_cb(
        context.get(),
        [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in,
           unsigned in_size, void* text) {
          static_cast<std::string*>(text)->assign(reinterpret_cast<const char*>(in), in_size);
          *out = in + 1;
          *size = in[0];
          return SSL_TLSEXT_ERR_OK;
        },
        &hello.alpn);
    SSL_CTX_set_tlsext_servername_callback(
        context.get(), +[](SSL* ssl, int*, void* text) {
          const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
          *static_cast<std::string*>(text) = name == nullptr ? "" : name;
          return SSL_TLSEXT_ERR_OK;
        });
    SSL_CTX_set_tlsext_servername_arg(context.get(), &hello.name);
    accept_tls(context.get(), socket, line ? &hello.line : nullptr);
    seen(hello);
  };
}

std::string read_http_headers(int socket) {
  std::string headers;
  char byte = 0;
  while (headers.find("\r\n\r\n") == std::string::npos && headers.size() < kLongestHeaders &&
         ::recv(socket, &byte, 1, 0) == 1)
    headers += byte;
  return headers;
}

void send_text(int socket, const std::string& text) {
  (void)::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
}

HttpProxy::HttpProxy(const std::filesystem::path& directory, const std::string& user,
                     const std::string& password)
    : log_(directory / "tinyproxy.log") {
  const auto config = directory / "tinyproxy.conf";
  process_ = start_on_free_port(port_, [&](int port) {
    write_file(config,
               "Port " + std::to_string(port) +
                   "\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Info\nLogFile \"" +
                   log_.string() + "\"\n" +
                   (user.empty() ? "" : "BasicAuth " + user + " " + password + "\n"));
    return std::make_unique<Process>(
        std::vector<std::string>{HWID_TEST_TINYPROXY, "-d", "-c", config.string()},
        directory / "tinyproxy.out", directory / "tinyproxy.out");
  });
}

Listener::Listener(const std::filesystem::path& directory, const std::string& protocol,
                   const std::string& name)
    : config_(directory / ("listener-" + protocol + name + ".conf")),
      log_(directory / ("listener-" + protocol + name + ".log")) {
  text_ = std::string(::geteuid() == 0 ? "user root\n" : "") +
          "allow_anonymous true\nlog_type all\nlog_dest file " + log_.string() + "\n";
  std::string tls;
  if (!name.empty())
    tls = "cafile " + (directory / "ca.pem").string() + "\ncertfile " +
          (directory / (name + ".pem")).string() + "\nkeyfile " +
          (directory / (name + ".key")).string() + "\nrequire_certificate true\n";
  text_ += "listener PORT 127.0.0.1\nprotocol " + protocol + "\n" + tls;
  // mosquitto 2.0.11 does not start with web sockets alone.
  text_ += "listener 0 " + config_.string() + ".socket\n";
  start();
}

void Listener::start() {
  process_ = start_on_free_port(port_, [&](int port) {
    std::string text = text_;
    text.replace(text.find("PORT"), 4, std::to_string(port));
    write_file(config_, text);
    return std::make_unique<Process>(
        std::vector<std::string>{HWID_TEST_MOSQUITTO, "-c", config_.string()},
        config_.string() + ".out", config_.string() + ".out");
  });
}

}  // namespace hwid::test
