#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "provider/ossl/algorithm_id.h"
#include "provider/ossl/params.h"
#include "provider/ossl/signature.h"

namespace hwid::ossl::signature {
namespace {

using core::Algorithm;
using core::Bytes;
using core::ByteView;
using core::Digest;
using core::Error;
using core::EvpMdCtx;
using core::Reason;
using core::SignInput;
using core::SignScheme;

// How much of a message is kept while the token has not said whether it takes digests.
constexpr std::size_t kMostKept = std::size_t{1} << 20;

constexpr std::array<ModeName, 3> kPadModes{{{RSA_PKCS1_PADDING, OSSL_PKEY_RSA_PAD_MODE_PKCSV15},
                                             {RSA_PKCS1_PSS_PADDING, OSSL_PKEY_RSA_PAD_MODE_PSS},
                                             {RSA_NO_PADDING, OSSL_PKEY_RSA_PAD_MODE_NONE}}};

// RSA_PSS_SALTLEN_AUTO_DIGEST_MAX, which OpenSSL 3.0 does not know. Where nobody says anything its
// own keys take the longest salt, and those of 3.1 this one: of a TPM's key there is often no
// other.
constexpr int kSaltAutoDigestMax = -4;

constexpr std::array<ModeName, 4> kSaltModes{
    {{RSA_PSS_SALTLEN_DIGEST, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST},
     {RSA_PSS_SALTLEN_MAX, OSSL_PKEY_RSA_PSS_SALT_LEN_MAX},
     {RSA_PSS_SALTLEN_AUTO, OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO},
     {kSaltAutoDigestMax, "auto-digestmax"}}};

// Nobody verifies what is signed with others.
bool serves_rsa(Digest digest) noexcept {
  return digest != Digest::kOther && digest != Digest::kSm3;
}

// Appends the DER of a positive INTEGER (X.690, 8.3): no leading zeros but one before a high bit.
void append_integer(Bytes& der, ByteView big_endian) {
  const auto first = std::ranges::find_if(big_endian, [](unsigned char byte) { return byte != 0; });
  const ByteView digits(first, big_endian.end());
  const bool pad = digits.empty() || (digits[0] & 0x80U) != 0;
  der.push_back(V_ASN1_INTEGER);
  der.push_back(static_cast<unsigned char>(digits.size() + (pad ? 1 : 0)));
  if (pad) der.push_back(0);
  der.insert(der.end(), digits.begin(), digits.end());
}

// ECDSA-Sig-Value (RFC 3279, 2.2.3) of r and s, each half of the input. By hand: i2d_ECDSA_SIG
// costs as much as all else that we do for a signature.
Bytes ecdsa_der(ByteView r_and_s) {
  constexpr std::size_t kShortForm = 128;
  Bytes numbers;
  numbers.reserve(r_and_s.size() + 8);
  append_integer(numbers, r_and_s.first(r_and_s.size() / 2));
  append_integer(numbers, r_and_s.last(r_and_s.size() / 2));
  Bytes der;
  der.reserve(numbers.size() + 3);
  der.push_back(V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED);
  if (numbers.size() >= kShortForm) der.push_back(0x81);
  der.push_back(static_cast<unsigned char>(numbers.size()));
  der.insert(der.end(), numbers.begin(), numbers.end());
  return der;
}

// Hashes in software with the application's digest; the token sees one signature.
class TokenOperation final : public TokenSigning {
 public:
  TokenOperation(const KeyRef& key, Mode mode, const std::string& digest, std::string properties)
      : TokenSigning(key), mode_(mode), properties_(std::move(properties)) {
    if (key->algorithm() == Algorithm::kRsaPss) take_restrictions();
    if (mode == Mode::kDigestSign) {
      set_digest(!digest.empty() ? digest
                 : digest_given_ ? core::digest_name(digest_)
                                 : "SHA2-256");
      hash_.reset(EVP_MD_CTX_new());
      begin_message();
    }
  }

  std::unique_ptr<Operation> duplicate() const override {
    return std::unique_ptr<Operation>(new TokenOperation(*this));
  }

  void set_params(const OSSL_PARAM params[]) override;
  void get_params(OSSL_PARAM params[]) override;
  const OSSL_PARAM* settable_params() const override;
  const OSSL_PARAM* gettable_params() const override;
  EVP_MD_CTX* digest_context() noexcept override { return hash_.get(); }

  void update(const unsigned char* data, std::size_t size) override {
    if (!hash_) throw Error(Reason::kBadParameter, "signature: no digest operation was started");
    if (signed_) begin_message();
    choose_input();
    if (input_ == SignInput::kUnsure && message_.size() + size > kMostKept) {
      input_ = SignInput::kDigest;
      message_ = {};
    }
    if (input_ != SignInput::kDigest) message_.insert(message_.end(), data, data + size);
    if (input_ != SignInput::kMessage && EVP_DigestUpdate(hash_.get(), data, size) != 1)
      throw Error(Reason::kLibcrypto, "EVP_DigestUpdate: " + core::last_libcrypto_error());
  }

  void sign_final(unsigned char* signature, std::size_t* size, std::size_t room) override {
    if (signature == nullptr) {
      *size = largest_signature();
      return;
    }
    if (!hash_) throw Error(Reason::kBadParameter, "signature: no digest operation was started");
    require_room(room);
    if (signed_)
      throw Error(Reason::kBadParameter,
                  "signature: the message was signed already; initialize for the next one");
    choose_input();  // of an empty message no data came
    signed_ = true;
    if (input_ == SignInput::kMessage) return emit(signature, size, message_, true);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    if (EVP_DigestFinal_ex(hash_.get(), digest.data(), &length) != 1)
      throw Error(Reason::kLibcrypto, "EVP_DigestFinal_ex: " + core::last_libcrypto_error());
    try {
      emit(signature, size, {digest.data(), length}, false);
    } catch (const Error& error) {
      // The token has just said that it hashes for itself.
      const bool again = error.reason == Reason::kMechanismMissing &&
                         input_ == SignInput::kUnsure &&
                         key()->key()->sign_input(scheme()) == SignInput::kMessage;
      if (!again) throw;
      emit(signature, size, message_, true);
    }
  }

  void digest_sign(unsigned char* signature, std::size_t* size, std::size_t room,
                   const unsigned char* input, std::size_t input_size) override {
    if (signature != nullptr) {
      require_room(room);  // who comes again with more room brings the message again
      update(input, input_size);
    }
    sign_final(signature, size, room);
  }

  void sign(unsigned char* signature, std::size_t* size, std::size_t room,
            const unsigned char* input, std::size_t input_size) override {
    if (signature == nullptr) {
      *size = largest_signature();
      return;
    }
    require_room(room);
    const std::size_t wanted = core::digest_size(digest_);
    if (wanted != 0 && input_size != wanted)
      bad_parameter("digest", std::string(core::digest_name(digest_)) + " has " +
                                  std::to_string(wanted) + " bytes, the input " +
                                  std::to_string(input_size) + "; hand in the digest");
    if (rsa() && pad_mode_ == RSA_NO_PADDING && input_size != largest_signature())
      bad_parameter(OSSL_SIGNATURE_PARAM_PAD_MODE,
                    "without padding the input must be as long as the modulus, " +
                        std::to_string(largest_signature()) + " bytes, not " +
                        std::to_string(input_size));
    if (key()->key()->sign_input(scheme()) == SignInput::kMessage)
      throw Error(Reason::kMechanismMissing,
                  place_text(key()->description()) +
                      ": the token hashes for itself and takes no ready digest; sign the message "
                      "(EVP_DigestSign, `openssl pkeyutl -rawin`)");
    emit(signature, size, {input, input_size}, false);
  }

 private:
  TokenOperation(const TokenOperation& other)
      : TokenSigning(other.key()),
        mode_(other.mode_),
        properties_(other.properties_),
        digest_(other.digest_),
        digest_given_(other.digest_given_),
        mgf1_digest_(other.mgf1_digest_),
        pad_mode_(other.pad_mode_),
        salt_(other.salt_),
        input_chosen_(other.input_chosen_),
        input_(other.input_),
        message_(other.message_),
        signed_(other.signed_) {
    if (other.md_) {
      EVP_MD_up_ref(other.md_.get());
      md_.reset(other.md_.get());
    }
    if (other.hash_) {
      hash_.reset(EVP_MD_CTX_new());
      if (!hash_ || EVP_MD_CTX_copy_ex(hash_.get(), other.hash_.get()) != 1)
        throw Error(Reason::kLibcrypto, "EVP_MD_CTX_copy_ex: " + core::last_libcrypto_error());
    }
  }

  void begin_message() {
    if (!hash_ || EVP_DigestInit_ex2(hash_.get(), md_.get(), nullptr) != 1)
      throw Error(Reason::kLibcrypto, "EVP_DigestInit_ex2: " + core::last_libcrypto_error());
    message_.clear();
    input_chosen_ = false;
    signed_ = false;
  }

  // The scheme is settled once data comes: parameters are set before.
  void choose_input() {
    if (input_chosen_) return;
    input_chosen_ = true;
    input_ = key()->key()->sign_input(scheme());
  }

  bool rsa() const noexcept { return core::is_rsa(key()->algorithm()); }

  void set_digest(const std::string& name) {
    digest_given_ = true;
    md_.reset();
    digest_ = core::digest_by_name(name);
    // A ready digest needs nobody who hashes: there may be none (`fips=yes`).
    const bool is_known = digest_ != Digest::kNone && digest_ != Digest::kOther;
    if (!is_known || mode_ == Mode::kDigestSign) {
      md_ = key()->provider().crypto().fetch_digest(name, properties_);
      digest_ = core::digest_by_name(EVP_MD_get0_name(md_.get()));
    }
    if (rsa() && !serves_rsa(digest_))
      bad_parameter("digest", name + " is not for RSA signatures; choose a SHA-2 or SHA-3 digest");
    if (md_ && (EVP_MD_get_flags(md_.get()) & EVP_MD_FLAG_XOF) != 0)
      bad_parameter("digest", name + " has no fixed length; choose a SHA-2 or SHA-3 digest");
  }

  // An RSA-PSS key may prescribe digests and a salt (RFC 4055, 3.1).
  void take_restrictions() {
    pad_mode_ = RSA_PKCS1_PSS_PADDING;
    const core::ErrorMark mark;
    std::array<char, 64> name{};
    if (EVP_PKEY_get_utf8_string_param(key()->pkey(), OSSL_PKEY_PARAM_RSA_DIGEST, name.data(),
                                       name.size(), nullptr) != 1)
      return;
    set_digest(name.data());
    if (EVP_PKEY_get_utf8_string_param(key()->pkey(), OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, name.data(),
                                       name.size(), nullptr) == 1)
      mgf1_digest_ = core::digest_by_name(name.data());
    int salt = 0;
    if (EVP_PKEY_get_int_param(key()->pkey(), OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, &salt) == 1)
      salt_ = salt;
  }

  Digest mgf1_digest() const noexcept {
    return mgf1_digest_ == Digest::kNone ? digest_ : mgf1_digest_;
  }

  std::size_t salt_size() const {
    const std::size_t hash = core::digest_size(digest_);
    const std::size_t bits = key()->key()->public_key().bits();
    const std::size_t room = (bits - 1 + 7) / 8;
    if (room < hash + 2) bad_parameter("digest", "too long for the key");
    const std::size_t most = room - hash - 2;
    switch (salt_) {
      case RSA_PSS_SALTLEN_DIGEST:
        return hash;
      case RSA_PSS_SALTLEN_MAX:
      case RSA_PSS_SALTLEN_AUTO:
        return most;
      case kSaltAutoDigestMax:
        return std::min(hash, most);
      default:
        break;
    }
    if (static_cast<std::size_t>(salt_) > most)
      bad_parameter(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, "a salt of " + std::to_string(salt_) +
                                                          " bytes does not fit; at most " +
                                                          std::to_string(most));
    return static_cast<std::size_t>(salt_);
  }

  SignScheme scheme() const {
    if (!rsa()) return {SignScheme::Kind::kEcdsa, digest_};
    if (pad_mode_ == RSA_NO_PADDING) return {SignScheme::Kind::kRsaRaw};
    if (pad_mode_ == RSA_PKCS1_PADDING) return {SignScheme::Kind::kRsaPkcs1, digest_};
    if (!digest_given_)
      bad_parameter("digest", "RSA-PSS needs one; set it (`-pkeyopt digest:sha256`)");
    return {SignScheme::Kind::kRsaPss, digest_, mgf1_digest(), salt_size()};
  }

  void emit(unsigned char* signature, std::size_t* size, ByteView input, bool is_message) {
    SignScheme how = scheme();
    how.message = is_message;
    Bytes made = make(how, input);
    if (!rsa()) made = ecdsa_der(made);
    hand_out(made, signature, size);
  }

  Mode mode_;
  std::string properties_;
  core::EvpMd md_;
  EvpMdCtx hash_;
  Digest digest_ = Digest::kNone;
  bool digest_given_ = false;
  Digest mgf1_digest_ = Digest::kNone;
  int pad_mode_ = RSA_PKCS1_PADDING;
  int salt_ = kSaltAutoDigestMax;
  bool input_chosen_ = false;
  SignInput input_ = SignInput::kDigest;
  Bytes message_;        // unless input_ is kDigest
  bool signed_ = false;  // what comes now is another message
};

void TokenOperation::set_params(const OSSL_PARAM params[]) {
  if (const auto properties = text_param(params, OSSL_SIGNATURE_PARAM_PROPERTIES))
    properties_ = *properties;
  if (const auto name = text_param(params, OSSL_SIGNATURE_PARAM_DIGEST)) {
    if (mode_ == Mode::kDigestSign && core::digest_by_name(*name) != digest_)
      bad_parameter("digest", "it is fixed once the operation has begun");
    if (mode_ != Mode::kDigestSign && !name->empty()) set_digest(*name);
  }
  if (!rsa()) return;
  if (const auto mode = mode_param(params, OSSL_SIGNATURE_PARAM_PAD_MODE, kPadModes)) {
    const bool known =
        *mode == RSA_PKCS1_PADDING || *mode == RSA_NO_PADDING || *mode == RSA_PKCS1_PSS_PADDING;
    if (!known) bad_parameter(OSSL_SIGNATURE_PARAM_PAD_MODE, "use pkcs1, pss or none to sign");
    if (key()->algorithm() == Algorithm::kRsaPss && *mode != RSA_PKCS1_PSS_PADDING)
      bad_parameter(OSSL_SIGNATURE_PARAM_PAD_MODE, "an RSA-PSS key signs with pss only");
    pad_mode_ = *mode;
  }
  if (const auto salt = mode_param(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN, kSaltModes)) {
    if (*salt < kSaltAutoDigestMax)
      bad_parameter(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, "unknown value " + std::to_string(*salt));
    salt_ = *salt;
  }
  if (const auto name = text_param(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST)) {
    const core::EvpMd md = key()->provider().crypto().fetch_digest(*name, properties_);
    mgf1_digest_ = core::digest_by_name(EVP_MD_get0_name(md.get()));
    if (!serves_rsa(mgf1_digest_))
      bad_parameter(OSSL_SIGNATURE_PARAM_MGF1_DIGEST,
                    *name + " is not for RSA signatures; choose a SHA-2 or SHA-3 digest");
  }
}

void TokenOperation::get_params(OSSL_PARAM params[]) {
  if (OSSL_PARAM* const id = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID)) {
    const Bytes der = algorithm_id(scheme());
    if (OSSL_PARAM_set_octet_string(id, der.data(), der.size()) != 1)
      bad_parameter(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, "no room");
  }
  if (digest_given_)
    set_text(params, OSSL_SIGNATURE_PARAM_DIGEST,
             md_ ? EVP_MD_get0_name(md_.get()) : core::digest_name(digest_));
  OSSL_PARAM* const size = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST_SIZE);
  if (size != nullptr && OSSL_PARAM_set_size_t(size, core::digest_size(digest_)) != 1)
    bad_parameter(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, "no room");
  if (!rsa()) return;
  set_mode(OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PAD_MODE), pad_mode_, kPadModes);
  set_mode(OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN), salt_, kSaltModes);
  set_text(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST, core::digest_name(mgf1_digest()));
}

const OSSL_PARAM* TokenOperation::settable_params() const {
  static const OSSL_PARAM kRsa[] = {
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_PROPERTIES, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0),
      OSSL_PARAM_END};
  static const OSSL_PARAM kEc[] = {
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, nullptr, 0), OSSL_PARAM_END};
  return rsa() ? kRsa : kEc;
}

const OSSL_PARAM* TokenOperation::gettable_params() const {
  static const OSSL_PARAM kRsa[] = {
      OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0),
      OSSL_PARAM_END};
  static const OSSL_PARAM kEc[] = {
      OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, nullptr, 0),
      OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, nullptr, 0), OSSL_PARAM_END};
  return rsa() ? kRsa : kEc;
}

}  // namespace

std::unique_ptr<Operation> make_token_operation(const KeyRef& key, Mode mode,
                                                const std::string& digest,
                                                const std::string& properties) {
  return std::make_unique<TokenOperation>(key, mode, digest, properties);
}

}  // namespace hwid::ossl::signature
