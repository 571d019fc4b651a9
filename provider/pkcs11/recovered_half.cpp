#include "provider/pkcs11/recovered_half.h"

#include <openssl/ec.h>

#include "provider/core/key.h"

namespace hwid::pkcs11 {

using core::BigNum;
using core::Bytes;
using core::ByteView;
using core::FreeWith;
using core::Libcrypto;
using core::PublicKey;

namespace {

using Group = std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, FreeWith<EC_POINT_free>>;

Group group_of(ByteView ec_params) {
  const core::ErrorMark mark;
  const unsigned char* at = ec_params.data();
  Group group(d2i_ECPKParameters(nullptr, &at, static_cast<long>(ec_params.size())));
  const bool is_named = group && EC_GROUP_get_curve_name(group.get()) != NID_undef;
  return is_named ? std::move(group) : nullptr;
}

BigNum number(ByteView big_endian) {
  return BigNum(BN_bin2bn(big_endian.data(), static_cast<int>(big_endian.size()), nullptr));
}

// Of `size` bytes, shorter than the order of the curve: not cut off before it is signed.
Bytes text(char which, std::size_t size) {
  Bytes made(size, '.');
  constexpr std::string_view kText = "public half from";
  std::copy(kText.begin(), kText.end(), made.begin());
  made.back() = static_cast<std::uint8_t>(which);
  return made;
}

// r and s in one; empty if the key does not sign.
Bytes signature(Lease& lease, CK_OBJECT_HANDLE key, Bytes input, std::size_t order_size) {
  CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
  lease.operation_begins();
  if (lease->C_SignInit(lease.session(), &mechanism, key) != CKR_OK) return {};
  Bytes made(2 * order_size);
  CK_ULONG length = made.size();
  const CK_RV rv = lease->C_Sign(lease.session(), input.data(), input.size(), made.data(), &length);
  if (rv != CKR_OK || lease.is_stale() || length != made.size()) return {};
  lease.operation_ends();
  return made;
}

// r^-1 (s R - z G), for the point R whose x is r and whose y is odd, or not.
Bytes candidate(const EC_GROUP* group, const BIGNUM* r, const BIGNUM* s, const BIGNUM* z,
                bool odd) {
  const std::unique_ptr<BN_CTX, FreeWith<BN_CTX_free>> work(BN_CTX_new());
  const BIGNUM* const order = EC_GROUP_get0_order(group);
  const Point point(EC_POINT_new(group));
  const Point key(EC_POINT_new(group));
  const BigNum inverse(BN_mod_inverse(nullptr, r, order, work.get()));
  const BigNum of_point(BN_new());
  const BigNum of_generator(BN_new());
  const bool is_made =
      inverse &&
      EC_POINT_set_compressed_coordinates(group, point.get(), r, odd ? 1 : 0, work.get()) == 1 &&
      BN_mod_mul(of_point.get(), s, inverse.get(), order, work.get()) == 1 &&
      BN_mod_mul(of_generator.get(), z, inverse.get(), order, work.get()) == 1 &&
      BN_sub(of_generator.get(), order, of_generator.get()) == 1 &&
      EC_POINT_mul(group, key.get(), of_generator.get(), point.get(), of_point.get(), work.get()) ==
          1;
  if (!is_made) return {};
  Bytes encoded(
      EC_POINT_point2oct(group, key.get(), POINT_CONVERSION_UNCOMPRESSED, nullptr, 0, work.get()));
  EC_POINT_point2oct(group, key.get(), POINT_CONVERSION_UNCOMPRESSED, encoded.data(),
                     encoded.size(), work.get());
  return encoded;
}

}  // namespace

std::optional<PublicKey> recovered_half(Lease& lease, const Libcrypto& crypto,
                                        const ObjectAttributes& key) {
  if (key.key_type != CKK_EC || key.always_authenticate || key.may_sign == false) return {};
  const Group group = group_of(key.ec_params);
  if (!group) return {};
  const auto order_bits = static_cast<std::size_t>(EC_GROUP_order_bits(group.get()));
  const std::size_t order_size = (order_bits + 7) / 8;
  const std::size_t input_size = order_bits < 256 ? 20 : 32;
  const Bytes first_text = text('1', input_size);
  const Bytes second_text = text('2', input_size);
  const Bytes first = signature(lease, key.handle, first_text, order_size);
  const Bytes second =
      first.empty() ? Bytes() : signature(lease, key.handle, second_text, order_size);
  if (second.empty()) return {};

  const core::ErrorMark mark;
  const ByteView both(first);
  const BigNum r = number(both.first(order_size));
  const BigNum s = number(both.last(order_size));
  const BigNum z = number(first_text);
  for (const bool odd : {false, true}) {
    const Bytes point = candidate(group.get(), r.get(), s.get(), z.get(), odd);
    if (point.empty()) continue;
    const PublicKey half = PublicKey::ec(crypto, key.ec_params, point);
    // The first signature fits both candidates.
    if (core::verifies(crypto, half, {core::SignScheme::Kind::kEcdsa}, second_text, second))
      return half;
  }
  return {};
}

}  // namespace hwid::pkcs11
