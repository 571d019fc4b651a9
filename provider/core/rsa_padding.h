// RSA paddings made in software, for devices that only offer the raw operation.
#pragma once

#include <initializer_list>
#include <span>

#include "provider/core/bytes.h"
#include "provider/core/key.h"
#include "provider/core/libcrypto.h"

namespace hwid::core {

// What the paddings are made of.
Bytes hash(const EVP_MD* md, std::initializer_list<ByteView> parts);
// MGF1 (RFC 8017, B.2.1) of `seed`, XORed into `into`.
void apply_mgf1(const EVP_MD* md, ByteView seed, std::span<std::uint8_t> into);

// DER of DigestInfo (RFC 8017, 9.2, note 1) around `digest`; MD5-SHA1 and kNone have none and come
// back as they are. Throws kBadParameter for a wrong length, kUnsupported without an OID.
Bytes digest_info(Digest algorithm, ByteView digest);

// EMSA-PKCS1-v1_5 (RFC 8017, 9.2) around what digest_info gave. Throws kBadParameter if too long.
Bytes emsa_pkcs1(ByteView digest_info, std::size_t modulus_bytes);

// EMSA-PSS (RFC 8017, 9.1.1) with a random salt; the result is as long as the modulus.
Bytes emsa_pss(const Libcrypto& crypto, const SignScheme& scheme, ByteView digest,
               std::size_t modulus_bits);

}  // namespace hwid::core
