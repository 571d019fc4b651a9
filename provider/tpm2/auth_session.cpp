#include "provider/tpm2/auth_session.h"

#include <openssl/crypto.h>

#include <algorithm>

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Secret;

namespace {

std::uint8_t attributes_of(const SessionUse& use) noexcept {
  return static_cast<std::uint8_t>(TPMA_SESSION_CONTINUESESSION |
                                   (use.decrypt ? TPMA_SESSION_DECRYPT : 0) |
                                   (use.encrypt ? TPMA_SESSION_ENCRYPT : 0));
}

void append(Bytes& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

void append_sized(Bytes& to, ByteView bytes) {
  to.push_back(static_cast<std::uint8_t>(bytes.size() >> 8));
  to.push_back(static_cast<std::uint8_t>(bytes.size()));
  append(to, bytes);
}

const SessionUse* find_use(std::span<const SessionUse> uses, bool SessionUse::*what) noexcept {
  const auto use = std::ranges::find(uses, true, what);
  return use != uses.end() ? &*use : nullptr;
}

// sessionKey || authValue, for HMACs and parameters (Part 1, 19.6.5 and 21.3).
Secret session_value(const SessionUse& use) {
  const ByteView key = use.session->key.reveal();
  const ByteView value = trimmed(use.value);
  Secret both(key.size() + value.size());
  std::ranges::copy(value, std::ranges::copy(key, both.writable().begin()).out);
  return both;
}

// Without anything to make one of there is no HMAC (Part 1, 19.6.5), nor where the value itself
// stands in its place.
bool has_hmac(const SessionUse& use) {
  return !use.in_clear && (use.session->key.size() != 0 || has_value(use.value));
}

}  // namespace

ByteView trimmed(const Secret* value) noexcept {
  if (value == nullptr) return {};
  ByteView bytes = value->reveal();
  while (!bytes.empty() && bytes.back() == 0) bytes = bytes.first(bytes.size() - 1);
  return bytes;
}

AuthorizationArea::AuthorizationArea(Command& command, std::span<const SessionUse> uses,
                                     const core::Libcrypto* crypto)
    : command_(command), uses_(uses), crypto_(uses.size()) {
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (uses[i].session != nullptr) crypto_[i].emplace(*crypto, uses[i].session->hash);
  }
}

void AuthorizationArea::crypt(bool encrypt, std::size_t index, ByteView newer, ByteView older,
                              std::span<std::uint8_t> parameter) const {
  constexpr std::size_t kKey = kSessionKeyBits / 8;
  constexpr std::size_t kBlock = 16;
  const SessionCrypto& crypto = *crypto_[index];
  const Secret value = session_value(uses_[index]);
  const Secret key = crypto.kdfa(value.reveal(), "CFB", newer, older, kKey + kBlock);
  crypto.cfb(encrypt, key.reveal().first(kKey), key.reveal().subspan(kKey), parameter);
}

SessionDigest AuthorizationArea::command_hmac(std::size_t index) const {
  const SessionUse& use = uses_[index];
  const SessionCrypto& crypto = *crypto_[index];
  // The first session also vouches for those that encrypt (Part 1, 19.6.5).
  ByteView decrypt_nonce;
  ByteView encrypt_nonce;
  if (index == 0) {
    const SessionUse* const decrypt = find_use(uses_, &SessionUse::decrypt);
    const SessionUse* const encrypt = find_use(uses_, &SessionUse::encrypt);
    if (decrypt != nullptr && decrypt != &use) decrypt_nonce = decrypt->session->nonce_tpm;
    if (encrypt != nullptr && encrypt != &use && encrypt != decrypt)
      encrypt_nonce = encrypt->session->nonce_tpm;
  }
  const std::uint8_t attributes = attributes_of(use);
  const SessionDigest cp_hash =
      crypto.hash({handle_name(command_.code()), command_.names(), command_.parameters()});
  const Secret key = session_value(use);
  return crypto.hmac(key.reveal(), {cp_hash, nonces_[index], use.session->nonce_tpm, decrypt_nonce,
                                    encrypt_nonce, ByteView(&attributes, 1)});
}

Bytes AuthorizationArea::write() {
  nonces_.assign(uses_.size(), {});
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (uses_[i].session == nullptr) continue;
    nonces_[i].resize(crypto_[i]->digest_size());
    crypto_[i]->random(nonces_[i]);
    if (uses_[i].decrypt)
      crypt(true, i, nonces_[i], uses_[i].session->nonce_tpm, command_.first_parameter());
  }
  Bytes area;
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    const AuthSession* const session = uses_[i].session;
    append(area, handle_name(session != nullptr ? session->handle : TPM2_RS_PW));
    append_sized(area, nonces_[i]);
    area.push_back(attributes_of(uses_[i]));
    if (session == nullptr || uses_[i].in_clear)
      append_sized(area, trimmed(uses_[i].value));
    else
      append_sized(area, has_hmac(uses_[i]) ? command_hmac(i) : SessionDigest());
  }
  return area;
}

void AuthorizationArea::read(Response& response) const {
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (uses_[i].session == nullptr) continue;
    const ResponseAuth& auth = response.authorizations()[i];
    SessionDigest expected;
    if (has_hmac(uses_[i])) {
      const SessionDigest rp_hash = crypto_[i]->hash(
          {handle_name(TPM2_RC_SUCCESS), handle_name(command_.code()), response.parameters()});
      const Secret key = session_value(uses_[i]);
      expected = crypto_[i]->hmac(key.reveal(),
                                  {rp_hash, auth.nonce, nonces_[i], ByteView(&auth.attributes, 1)});
    }
    if (auth.hmac.size() != expected.size() ||
        CRYPTO_memcmp(auth.hmac.data(), expected.data(), expected.size()) != 0)
      raise(kResponseAuthFailed, command_.call(), command_.place());
  }
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (uses_[i].session == nullptr) continue;
    uses_[i].session->nonce_tpm = response.authorizations()[i].nonce;
    if (uses_[i].encrypt)
      crypt(false, i, uses_[i].session->nonce_tpm, nonces_[i], response.first_parameter());
  }
}

}  // namespace hwid::tpm2
