// Servers with made-up faults, for what a client says about them. All listen on a free port of
// 127.0.0.1.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker.h"

namespace hwid::test {

// Runs `openssl ARGUMENTS`; throws std::runtime_error with what it said if it fails.
void openssl(const std::filesystem::path& directory, const std::vector<std::string>& arguments);

// `openssl s_server` with DIR/NAME.pem and .key. Relative paths in `arguments` are in DIR.
class OpensslServer {
 public:
  OpensslServer(const std::filesystem::path& directory, const std::string& name,
                const std::vector<std::string>& arguments = {});
  int port() const { return port_; }

 private:
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

// A server in a thread of the test: `serve` gets each connection's socket, which is closed after
// it.
class SocketServer {
 public:
  explicit SocketServer(std::function<void(int socket)> serve);
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;
  int port() const { return port_; }
  int connections() const { return connections_; }

 private:
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::thread thread_;
};

// Makes the TLS handshake as `server` of DIR, asking for a certificate and taking any, and then
// closes without a word. For SocketServer.
std::function<void(int socket)> close_after_handshake(const std::filesystem::path& directory,
                                                      int tls_version);

// What a client said before it was answered.
struct SeenHello {
  std::string name;  // SNI
  std::string alpn;  // its names behind their lengths
  std::string line;
};
// Makes the TLS handshake as `server` of DIR, reports, and closes. `line`: waits for the first line
// of what the client sends, too. For SocketServer.
std::function<void(int socket)> report_hello(const std::filesystem::path& directory,
                                             std::function<void(const SeenHello&)> seen,
                                             bool line = false);

// Reads until the empty line behind HTTP headers, at most 64 KiB.
std::string read_http_headers(int socket);
void send_text(int socket, const std::string& text);

// tinyproxy, which lets CONNECT through to any port. With a user: BasicAuth.
class HttpProxy {
 public:
  HttpProxy(const std::filesystem::path& directory, const std::string& user,
            const std::string& password);
  explicit HttpProxy(const std::filesystem::path& directory) : HttpProxy(directory, "", "") {}
  int port() const { return port_; }
  std::string log() const { return read_file(log_); }

 private:
  std::filesystem::path log_;
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

// A mosquitto with one more listener: `protocol` "websockets" or "mqtt", with the certificate
// `name` of DIR and client certificates required; plain with an empty `name`.
class Listener {
 public:
  Listener(const std::filesystem::path& directory, const std::string& protocol,
           const std::string& name);
  int port() const { return port_; }
  std::string log() const { return read_file(log_); }
  void stop() { process_->end(15); }
  void start();

 private:
  std::filesystem::path config_;
  std::filesystem::path log_;
  std::string text_;
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace hwid::test
