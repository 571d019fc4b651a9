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

constexpr core::SignScheme kEcdsa{core::SignScheme::Kind::kEcdsa};

using Group = std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, FreeWith<EC_POINT_free>>;

Group group_of(ByteView ec_params) {
  const core::ErrorMark mark;
  const unsigned char* at = ec_params.data();
  Group group(d2i_ECPKParameters(nullptr, &at, static_cast<long>(ec_params.size())));
  const bool is_named = group && EC_GROUP_get_curve_name(group.get()) != NID_undef;
  return is_named ? std::move(group) : nullptr;
}

// Null for a key that cannot be asked.
Group signing_group(const ObjectAttributes& key) {
  const bool can_sign = key.key_type == CKK_EC && !key.always_authenticate && key.may_sign != false;
  return can_sign ? group_of(key.ec_params) : nullptr;
}

std::size_t order_size(const EC_GROUP* group) {
  return (static_cast<std::size_t>(EC_GROUP_order_bits(group)) + 7) / 8;
}
std::size_t input_size(const EC_GROUP* group) { return EC_GROUP_order_bits(group) < 256 ? 20 : 32; }

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

// Other than that the key or the token does not sign so.
bool is_refusal(CK_RV rv) noexcept {
  return rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID ||
         rv == CKR_KEY_FUNCTION_NOT_PERMITTED || rv == CKR_KEY_TYPE_INCONSISTENT ||
         rv == CKR_KEY_SIZE_RANGE || rv == CKR_FUNCTION_NOT_SUPPORTED || rv == CKR_DATA_LEN_RANGE ||
         rv == CKR_DATA_INVALID;
}

// r and s in one; empty if the key does not sign.
Bytes signature(Lease& lease, CK_OBJECT_HANDLE key, Bytes input, std::size_t order_size,
                const Place& place) {
  const auto check = [&](CK_RV rv, const char* call) {
    if (rv != CKR_OK && !is_refusal(rv)) raise(rv, call, place);
    if (lease.is_stale()) raise(CKR_SESSION_HANDLE_INVALID, call, place);
    return rv == CKR_OK;
  };
  CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
  if (!check(lease->C_SignInit(lease.session(), &mechanism, key), "C_SignInit")) return {};
  lease.operation_begins();
  Bytes made(2 * order_size);
  CK_ULONG length = made.size();
  const bool signs = check(
      lease->C_Sign(lease.session(), input.data(), input.size(), made.data(), &length), "C_Sign");
  if (!signs || length != made.size()) return {};
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

bool is_private_half_of(Lease& lease, const Libcrypto& crypto, const ObjectAttributes& key,
                        const PublicKey& half, const Place& place) {
  const Group group = signing_group(key);
  if (!group) return false;
  const Bytes input = text('0', input_size(group.get()));
  const Bytes made = signature(lease, key.handle, input, order_size(group.get()), place);
  return !made.empty() && core::verifies(crypto, half, kEcdsa, input, made);
}

std::optional<PublicKey> recovered_half(Lease& lease, const Libcrypto& crypto,
                                        const ObjectAttributes& key, const Place& place) {
  const Group group = signing_group(key);
  if (!group) return {};
  const std::size_t size = order_size(group.get());
  const Bytes first_text = text('1', input_size(group.get()));
  const Bytes second_text = text('2', input_size(group.get()));
  const Bytes first = signature(lease, key.handle, first_text, size, place);
  const Bytes second =
      first.empty() ? Bytes() : signature(lease, key.handle, second_text, size, place);
  if (second.empty()) return {};

  const core::ErrorMark mark;
  const ByteView both(first);
  const BigNum r = number(both.first(size));
  const BigNum s = number(both.last(size));
  const BigNum z = number(first_text);
  for (const bool odd : {false, true}) {
    const Bytes point = candidate(group.get(), r.get(), s.get(), z.get(), odd);
    if (point.empty()) continue;
    const PublicKey half = PublicKey::ec(crypto, key.ec_params, point);
    // The first signature fits both candidates.
    if (core::verifies(crypto, half, kEcdsa, second_text, second)) return half;
  }
  return {};
}

}  // namespace hwid::pkcs11
