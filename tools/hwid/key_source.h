// Private keys by what users type: a URI, or a file (key reference, TSS2 PEM, ordinary PEM).
#pragma once

#include <openssl/store.h>

#include <string>
#include <vector>

#include "provider/core/key.h"
#include "provider/core/libcrypto.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

// True for pkcs11:, tpm2:, handle:, object: and hwid: URIs; all else is the name of a file.
bool is_key_uri(const std::string& text);

// `source`, a URI or the name of a file, for a message: without a PIN. Throws kBadUri.
std::string shown_source(const std::string& source);

// `uri` so that no file in the working directory can stand in its way: OpenSSL looks for one of
// that name unless "//" follows the scheme.
std::string unshadowed(const std::string& uri);

// The one private key that `source` names, through invocation.crypto(), with --pin-source, once,
// or a prompt for what asks for a PIN or pass phrase. Throws core::Error: what the provider says,
// or kNoPrivateKey, kSeveralObjects.
core::EvpPkey open_private_key(Invocation& invocation, const std::string& source);

// The one private key that `uri` leads to, as its backend has it: for who asks the device more than
// OpenSSL can. Throws kNoPrivateKey, kSeveralObjects, and what the device says.
core::Object open_in_device(Invocation& invocation, const core::KeyUri& uri,
                            core::Router::Origin origin);
// The same of what users type, URI or file. `pin_option` brings the PIN where that says nothing of
// one. Throws kUnsupported for an ordinary key in a file.
core::Object open_in_device(Invocation& invocation, const std::string& source,
                            const char* pin_option = "pin-source");

// The ordinary private key in `pem` (which `file` names in messages), in invocation.software(): not
// one that stands for another. Its pass phrase comes from --passphrase-source, once, or a prompt.
// Throws kNoPrivateKey.
core::EvpPkey software_key_of(Invocation& invocation, const std::string& pem,
                              const std::string& file);

// The URI of the key in hardware that a file stands for: of a key reference, or `tpm2:file=` with
// its own path where it holds what a TPM wrapped. Empty: it is another kind of file.
std::string uri_in_file(const std::string& path, const std::string& content);

// True if the private part is in hardware: what is written of the key holds no private key that
// anybody could use elsewhere.
bool is_in_hardware(const std::string& private_key_pem);

// What a file may hold instead of the key, as PEM: a key reference or TSS2 PRIVATE KEY; of an
// ordinary key, the key itself.
std::string private_key_pem(EVP_PKEY* key);

std::string public_key_pem(EVP_PKEY* key);

// A key that a TPM wrapped, as PEM (TSS2 PRIVATE KEY). Throws kUnsupported for one that is not kept
// outside of its token.
std::string wrapped_pem(const core::Key& key);

// "RSA 2048", "EC P-256", "RSA-PSS 3072", "ED25519": for people.
std::string algorithm_text(EVP_PKEY* key);

}  // namespace hwid::tool
