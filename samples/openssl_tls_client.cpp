// Mutual TLS with a key in hardware: sends the standard input to a server, and prints what comes
// back until the server closes. OpenSSL's API, and nothing else:
//
//   printf 'GET / HTTP/1.0\r\n\r\n' |
//     openssl-tls-client localhost:8443 ca.pem device.pem hwid://device
#include <iostream>
#include <iterator>

#include "openssl_key.h"

namespace {

struct Options {
  std::string address;  // HOST:PORT
  std::string ca_file;
  std::string cert_file;
  std::string key_uri;
};

sample::SslContext make_context(const Options& options) {
  sample::SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context) sample::fail("no TLS");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_load_verify_file(context.get(), options.ca_file.c_str()) != 1)
    sample::fail("cannot read " + options.ca_file);
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.cert_file.c_str()) != 1)
    sample::fail("cannot read " + options.cert_file);
  const auto key = sample::private_key(options.key_uri);
  // The check is not superfluous: a certificate of another kind of key has a slot of its own.
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1)
    sample::fail("the key " + options.key_uri + " does not belong to " + options.cert_file);
  return context;
}

sample::Bio connect(const Options& options, SSL_CTX* context) {
  sample::Bio connection(BIO_new_ssl_connect(context));
  SSL* ssl = nullptr;
  if (!connection || BIO_get_ssl(connection.get(), &ssl) != 1) sample::fail("no connection");
  const std::string host = options.address.substr(0, options.address.rfind(':'));
  SSL_set_mode(ssl, SSL_MODE_AUTO_RETRY);
  // The certificate must have the name; SNI tells the server which one is meant.
  X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl);
  if ((X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1 &&
       X509_VERIFY_PARAM_set1_host(expected, host.c_str(), 0) != 1) ||
      SSL_set_tlsext_host_name(ssl, host.c_str()) != 1 ||
      BIO_set_conn_hostname(connection.get(), options.address.c_str()) != 1)
    sample::fail("bad address " + options.address);
  if (BIO_do_connect(connection.get()) != 1) {
    const long verified = SSL_get_verify_result(ssl);
    sample::fail("cannot connect to " + options.address +
                 (verified == X509_V_OK ? ""
                                        : std::string(": the server's certificate: ") +
                                              X509_verify_cert_error_string(verified)));
  }
  return connection;
}

void exchange(BIO* connection, const std::string& request) {
  std::size_t written = 0;
  if (!request.empty() && BIO_write_ex(connection, request.data(), request.size(), &written) != 1)
    sample::fail("cannot send");
  char buffer[4096];
  std::size_t size = 0;
  while (BIO_read_ex(connection, buffer, sizeof buffer, &size) == 1)
    std::cout.write(buffer, static_cast<std::streamsize>(size));
  // TLS 1.3: a server that does not want our certificate says so only now.
  if (ERR_peek_error() != 0) sample::fail("the server ended the connection");
  std::cout << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write to the standard output");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: openssl-tls-client HOST:PORT CA-FILE CERT-FILE KEY-URI < REQUEST\n";
    return argc == 2 && argv[1] == std::string("--help") ? 0 : 2;
  }
  try {
    const Options options{argv[1], argv[2], argv[3], argv[4]};
    const auto context = make_context(options);
    const auto connection = connect(options, context.get());
    exchange(connection.get(), std::string(std::istreambuf_iterator<char>(std::cin), {}));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "openssl-tls-client: " << error.what() << "\n";
    return 3;
  }
}
