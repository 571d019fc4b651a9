// A development CA in a directory:
//   ca.pem        its certificate
//   ca.key        its key, 0600: a key reference where the key is in a token
//   index.txt     what it issued; index.txt.attr says to OpenSSL that a name may have several
//   certs/        the certificates, SERIAL.pem
//   crlnumber     the number of the next CRL, hexadecimal
//   crl.pem       the newest CRL
#pragma once

#include <string>
#include <vector>

#include "tools/hwid/ca/index.h"
#include "tools/hwid/directory_lock.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/x509/owners.h"
#include "tools/hwid/x509/signing.h"

namespace hwid::tool::ca {

void add_directory_option(po::options_description& options);

// --dir, else hwid/ca in $XDG_DATA_HOME (default ~/.local/share).
std::string directory_of(const Invocation& invocation);

// The files in it without which there is no CA any more.
std::vector<std::string> own_files(const std::string& directory);

// Holds a directory against other runs of `hwid ca`; they wait. Throws kNotPermitted where it is
// not there.
class Lock : public DirectoryLock {
 public:
  explicit Lock(const std::string& directory);
};

// One that is there, locked as long as the object lives.
class Authority {
 public:
  // Throws kBadConfiguration where there is none, kNotPermitted where others can write. Asks no
  // token.
  explicit Authority(Invocation& invocation);

  const std::string& directory() const noexcept { return directory_; }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  X509* certificate() const noexcept { return certificate_.get(); }
  Index& index() noexcept { return index_; }

  // Opened at first use, and compared with the certificate. Throws kKeyChanged if it is another.
  EVP_PKEY* key();
  x509::SignatureForm form();  // of what it signs

 private:
  Invocation& invocation_;
  std::string directory_;
  Lock lock_;
  x509::Certificate certificate_;
  Index index_;
  core::EvpPkey key_;
};

// What is wrong with a public key that is to be certified; empty if nothing is: RSA below 2048
// bits, curves other than NIST's, unknown kinds.
std::string fault_of_key(EVP_PKEY* key);

}  // namespace hwid::tool::ca
