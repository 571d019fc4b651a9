// Key reference files: DER, or PEM through libcrypto's own decoders and file store with our
// provider in the process. Behind the provider stands a token with two keys.
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#include <array>
#include <cstring>
#include <string>

#include "fuzz/property.h"
#include "provider/core/key_reference.h"
#include "provider/ossl/provider.h"
#include "provider/software/software_keys.h"

namespace {

using namespace hwid;
using core::ByteView;
using core::KeyUri;
using fuzz::require;

using DecoderCtx = std::unique_ptr<OSSL_DECODER_CTX, core::FreeWith<OSSL_DECODER_CTX_free>>;
using StoreCtx = std::unique_ptr<OSSL_STORE_CTX, core::FreeWith<OSSL_STORE_close>>;
using StoreInfo = std::unique_ptr<OSSL_STORE_INFO, core::FreeWith<OSSL_STORE_INFO_free>>;

constexpr std::string_view kBegin = "-----BEGIN ";

class FuzzKey final : public core::Key {
 public:
  FuzzKey(core::PublicKey half, const std::string& label, const std::string& uri)
      : half_(std::move(half)), description_{"fuzz", "fuzz", label, {}, uri} {}
  const core::PublicKey& public_key() const noexcept override { return half_; }
  const core::KeyDescription& description() const noexcept override { return description_; }
  core::Bytes sign(const core::SignScheme&, ByteView) const override { return {}; }
  core::Secret decrypt(const core::DecryptScheme&, ByteView) const override { return {}; }
  core::Secret derive(ByteView) const override { return {}; }
  core::Protection protection() const override { return {}; }
  core::SignInput sign_input(const core::SignScheme&) const noexcept override {
    return core::SignInput::kDigest;
  }
  std::shared_ptr<const void> hold(const core::PinChain&) const override { return nullptr; }

 private:
  core::PublicKey half_;
  core::KeyDescription description_;
};

// The public halves of the keys "rsa" and "ec", made once.
struct Halves {
  core::Libcrypto crypto;
  core::PublicKey rsa = make("RSA");
  core::PublicKey ec = make("EC");

  core::PublicKey make(const char* type) const {
    const core::EvpPkey pair(std::strcmp(type, "RSA") == 0
                                 ? EVP_PKEY_Q_keygen(crypto.get(), nullptr, "RSA", size_t{1024})
                                 : EVP_PKEY_Q_keygen(crypto.get(), nullptr, "EC", "P-256"));
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(pair.get(), &der);
    require(size > 0, "a key can be made");
    const core::Bytes copy(der, der + size);
    OPENSSL_free(der);
    return core::PublicKey::from_spki(crypto, copy);
  }
  static const Halves& get() {
    static const Halves made;
    return made;
  }
};

bool is_rsa(const KeyUri& uri) { return uri.object() == "rsa"; }
bool is_ec(const KeyUri& uri) { return uri.object() == "ec"; }
bool names_a_key(const KeyUri& uri) {
  const bool ours = !uri.token() || *uri.token() == "fuzz";
  const bool private_key = !uri.type() || *uri.type() == core::ObjectClass::kPrivateKey;
  return uri.scheme() == KeyUri::Scheme::kPkcs11 && ours && private_key && !uri.id() &&
         (is_rsa(uri) || is_ec(uri));
}

class FuzzToken final : public core::Token {
 public:
  std::string label() const override { return "fuzz"; }
  std::vector<core::Object> find(const KeyUri& uri, const core::Wanted& wanted,
                                 const core::Access&) override {
    if (!wanted.private_keys || !names_a_key(uri)) return {};
    core::Object object;
    object.object_class = core::ObjectClass::kPrivateKey;
    object.key = std::make_shared<FuzzKey>(is_rsa(uri) ? Halves::get().rsa : Halves::get().ec,
                                           *uri.object(), uri.text());
    object.description = object.key->description();
    return {std::move(object)};
  }
  std::shared_ptr<const core::Key> generate(const core::KeySpec&, const core::Access&) override {
    throw core::Error(core::Reason::kUnsupported, "no key is generated here");
  }
  std::vector<core::Object> remove(const core::KeyUri&, const core::Removal&,
                                   const core::Access&) override {
    return {};
  }
  core::Object unwrap(ByteView, const core::Access&) override {
    throw core::Error(core::Reason::kUnsupported, "no key is wrapped here");
  }
  core::Secret random(std::size_t size, const core::Access&) override { return core::Secret(size); }
};

class FuzzBackend final : public core::Backend {
 public:
  const std::string& name() const noexcept override { return name_; }
  std::vector<std::shared_ptr<core::Token>> tokens(const KeyUri& uri,
                                                   std::vector<std::string>& seen) override {
    if (!uri.token() || *uri.token() == "fuzz") return {std::make_shared<FuzzToken>()};
    seen.emplace_back("slot 0: token fuzz");
    return {};
  }
  std::vector<core::TokenInfo> inventory(const core::Access&) override { return {}; }
  bool owns_token(const std::string& label) const noexcept override { return label == "fuzz"; }
  void add_pins(core::PinChain&) const noexcept override {}

 private:
  const std::string name_ = "fuzz";
};

int init_provider(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls,
                  const OSSL_DISPATCH** functions, void** provctx) {
  ossl::Parts parts;
  parts.make_backends = [](const core::Config&, ossl::Provider&) {
    std::vector<std::unique_ptr<core::Backend>> all;
    all.push_back(std::make_unique<FuzzBackend>());
    return all;
  };
  parts.make_software_keys = [](const core::Libcrypto& crypto) {
    return std::make_unique<software::Keys>(crypto);
  };
  return ossl::init(handle, upcalls, functions, provctx, std::move(parts));
}

// A program's library context with the provider in it.
class Program {
 public:
  Program() : context_(OSSL_LIB_CTX_new()) {
    require(OSSL_PROVIDER_add_builtin(context_, "hwid", init_provider) == 1 &&
                OSSL_PROVIDER_load(context_, "default") != nullptr &&
                OSSL_PROVIDER_load(context_, "hwid") != nullptr,
            "the provider loads");
  }
  static OSSL_LIB_CTX* context() {
    static const Program made;  // as long as the process, as a program's own
    return made.context_;
  }

 private:
  OSSL_LIB_CTX* context_;
};

core::Bio memory(ByteView bytes) {
  return core::Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

int no_passphrase(char*, int, int, void*) { return -1; }

// Errors of ours are told from libcrypto's by the file that raised them.
void check_queue(const std::string& pin) {
  const char* file = nullptr;
  const char* text = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(&file, nullptr, nullptr, &text, &flags)) {
    if (file == nullptr || std::strstr(file, "provider/") != file) continue;
    const int reason = ERR_GET_REASON(code);
    require(reason > static_cast<int>(core::Reason::kInternal) && reason <= core::kLastReason,
            "an error has a reason of ours", text);
    require((flags & ERR_TXT_STRING) != 0 && *text != '\0', "an error has a text");
    require(pin.size() < 6 || std::strstr(text, pin.c_str()) == nullptr, "no PIN is shown", text);
  }
}

void check_key(EVP_PKEY* key) {
  require(EVP_PKEY_eq(key, Halves::get().rsa.pkey()) == 1 ||
              EVP_PKEY_eq(key, Halves::get().ec.pkey()) == 1,
          "a reference gives a key of the token");
}

// What one reference means.
struct Meaning {
  bool key = false;
  std::string pin;
};

std::string pin_of(const KeyUri& uri) {
  if (!uri.pin_value()) return {};
  const auto bytes = uri.pin_value()->reveal();
  return {bytes.begin(), bytes.end()};
}

// Our part alone: what is decoded can be encoded, and means the same then.
Meaning check_reference(ByteView der) {
  Meaning meaning;
  std::optional<std::string> text;
  try {
    text = core::decode_reference(der);
  } catch (const core::Error& error) {
    fuzz::require_good_error(error);
    require(error.reason == core::Reason::kBadReference, "a reference is bad", error.what());
  }
  if (!text) return meaning;
  require(!text->empty() && text->size() <= 4096 && text->find('\0') == std::string::npos,
          "a reference holds a text", *text);
  const core::KeyReference again = core::encode_reference(*text);
  require(core::is_reference_label(again.label), "it has a label of ours", again.label);
  require(core::decode_reference(again.der) == text, "what is encoded can be decoded", *text);
  try {
    const KeyUri uri = KeyUri::parse(*text);
    const core::KeyReference normal = core::encode_reference(uri.text());
    require(core::decode_reference(normal.der) == uri.text(), "so can the normal form", *text);
    meaning.key = names_a_key(uri);
    const std::string pin = pin_of(uri);
    if (uri.text().find(pin) == std::string::npos) meaning.pin = pin;
  } catch (const core::Error& error) {
    fuzz::require_good_error(error);
  }
  return meaning;
}

void check_der(ByteView der) {
  const Meaning meaning = check_reference(der);
  EVP_PKEY* made = nullptr;
  const core::Bio bio = memory(der);
  // Without our decoders' properties libcrypto's own would be fuzzed.
  const DecoderCtx decoder(OSSL_DECODER_CTX_new_for_pkey(
      &made, "DER", "hwid-key-reference", nullptr, 0, Program::context(), "hwid.keys=yes"));
  OSSL_DECODER_CTX_set_pem_password_cb(decoder.get(), no_passphrase, nullptr);
  const bool decoded = OSSL_DECODER_from_bio(decoder.get(), bio.get()) == 1;
  const core::EvpPkey key(made);
  require(decoded == (key != nullptr), "success is a key");
  require(decoded == meaning.key, "exactly what names a key of the token gives one");
  if (key) check_key(key.get());
  check_queue(meaning.pin);
}

// True if each block of the text is one of ours: others go to libcrypto's decoders alone.
bool only_ours(std::string_view pem) {
  for (std::size_t at = pem.find(kBegin); at != pem.npos; at = pem.find(kBegin, at)) {
    at += kBegin.size();
    const std::string_view label = pem.substr(at, pem.find("-----", at) - at);
    if (!core::is_reference_label(label)) return false;
  }
  return true;
}

bool check_store(ByteView pem) {
  bool found = false;
  const core::Bio bio = memory(pem);
  const std::unique_ptr<UI_METHOD, core::FreeWith<UI_destroy_method>> silent(
      UI_UTIL_wrap_read_pem_callback(no_passphrase, 0));
  const StoreCtx store(OSSL_STORE_attach(bio.get(), "file", Program::context(), nullptr,
                                         silent.get(), nullptr, nullptr, nullptr, nullptr));
  require(store != nullptr, "the file store opens");
  for (int i = 0; i < 64 && OSSL_STORE_eof(store.get()) == 0; ++i) {
    const StoreInfo info(OSSL_STORE_load(store.get()));
    if (!info && OSSL_STORE_error(store.get()) == 1) break;
    if (!info || OSSL_STORE_INFO_get_type(info.get()) != OSSL_STORE_INFO_PKEY) continue;
    check_key(OSSL_STORE_INFO_get0_PKEY(info.get()));
    found = true;
  }
  return found;
}

void check_pem(ByteView pem) {
  std::string pin;
  std::optional<bool> is_key;  // the first block
  const core::Bio bio = memory(pem);
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  while (PEM_read_bio(bio.get(), &label, &header, &data, &size) == 1) {
    if (core::is_reference_label(label)) {
      const Meaning meaning = check_reference({data, static_cast<std::size_t>(size)});
      if (pin.empty()) pin = meaning.pin;
      if (!is_key) is_key = meaning.key;
    }
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
  ERR_clear_error();
  if (!only_ours({reinterpret_cast<const char*>(pem.data()), pem.size()})) return;
  const core::Bio again = memory(pem);
  const core::EvpPkey key(PEM_read_bio_PrivateKey_ex(again.get(), nullptr, no_passphrase, nullptr,
                                                     Program::context(), nullptr));
  if (key) check_key(key.get());
  require(key != nullptr || is_key != true, "a reference to a key gives it");
  check_queue(pin);
  const bool stored = check_store(pem);
  require(stored || is_key != true, "so it does in the file store");
  check_queue(pin);
}

}  // namespace

int LLVMFuzzerInitialize(int*, char***) {
  (void)Program::context();
  (void)Halves::get();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find(kBegin) == text.npos)
    check_der({data, size});
  else
    check_pem({data, size});
  ERR_clear_error();
  return 0;
}
