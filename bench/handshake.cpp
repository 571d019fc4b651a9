#include "bench/handshake.h"

#include <stdexcept>

namespace hwid::bench {
namespace {

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what + (":\n" + test::openssl_errors()));
}

// Until it is done or needs the other side.
bool step(SSL* connection) {
  const int result = SSL_do_handshake(connection);
  if (result == 1) return true;
  require(SSL_get_error(connection, result) == SSL_ERROR_WANT_READ, "SSL_do_handshake");
  return false;
}

}  // namespace

Handshake::Context Handshake::make(const SSL_METHOD* method, int version, const Side& side,
                                   const std::string& ca_file) {
  Context made(SSL_CTX_new_ex(side.context, nullptr, method));
  SSL_CTX* const context = made.get();
  require(context != nullptr, "SSL_CTX_new_ex");
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  require(SSL_CTX_set_min_proto_version(context, version) == 1 &&
              SSL_CTX_set_max_proto_version(context, version) == 1 &&
              SSL_CTX_set_num_tickets(context, 0) == 1 &&
              SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
              SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) == 1 &&
              SSL_CTX_use_certificate_file(context, side.certificate_file.c_str(),
                                           SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_use_PrivateKey(context, side.key) == 1,
          "SSL_CTX");
  return made;
}

Handshake::Handshake(int version, const Side& client, const Side& server,
                     const std::string& ca_file)
    : client_(make(TLS_client_method(), version, client, ca_file)),
      server_(make(TLS_server_method(), version, server, ca_file)) {}

void Handshake::perform() const {
  const Connection client(SSL_new(client_.get()));
  const Connection server(SSL_new(server_.get()));
  BIO* near = nullptr;
  BIO* far = nullptr;
  constexpr std::size_t kRoom = 32768;
  require(client && server && BIO_new_bio_pair(&near, kRoom, &far, kRoom) == 1, "SSL_new");
  SSL_set_bio(client.get(), near, near);
  SSL_set_bio(server.get(), far, far);
  SSL_set_connect_state(client.get());
  SSL_set_accept_state(server.get());
  bool client_done = false;
  bool server_done = false;
  while (!client_done || !server_done) {
    client_done = step(client.get());
    server_done = step(server.get());
  }
  // The client's certificate came and was verified: its key has signed.
  require(SSL_get0_peer_certificate(server.get()) != nullptr &&
              SSL_get_verify_result(server.get()) == X509_V_OK,
          "the client showed no certificate");
}

Contender handshakes(std::string name, const std::shared_ptr<const Handshake>& handshake) {
  handshake->perform();
  Contender made;
  made.name = std::move(name);
  made.worker = [handshake](int) { return [handshake] { handshake->perform(); }; };
  return made;
}

}  // namespace hwid::bench
