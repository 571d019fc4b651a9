#include "tools/hwid/key_source.h"

#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ui.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "provider/core/pin.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

using StoreCtx = std::unique_ptr<OSSL_STORE_CTX, core::FreeWith<OSSL_STORE_close>>;
using StoreInfo = std::unique_ptr<OSSL_STORE_INFO, core::FreeWith<OSSL_STORE_INFO_free>>;
using Decoder = std::unique_ptr<OSSL_DECODER_CTX, core::FreeWith<OSSL_DECODER_CTX_free>>;
using UiMethod = std::unique_ptr<UI_METHOD, core::FreeWith<UI_destroy_method>>;

constexpr std::array<std::string_view, 5> kSchemes = {
    "pkcs11:", "tpm2:", "handle:", "object:", "hwid:"};

// What OpenSSL asks for goes to the option once, else to the user at the terminal: an answer that
// was wrong is not given again.
struct Asked {
  Invocation* invocation;
  std::string source;
  const char* option;  // that names where the answer is
  const char* what;    // is asked for, for the terminal
  bool is_answered = false;
};

int answer(char* buffer, int size, int, void* argument) {
  auto* const asked = static_cast<Asked*>(argument);
  try {
    const std::string source = asked->invocation->text(asked->option);
    std::optional<core::Secret> secret;
    if (!source.empty() && !std::exchange(asked->is_answered, true))
      secret = core::read_pin_source(source, asked->invocation->log());
    else
      secret = Invocation::prompt(asked->what)(asked->source);
    if (!secret || secret->size() > static_cast<std::size_t>(size)) return -1;
    std::memcpy(buffer, secret->reveal().data(), secret->size());
    return static_cast<int>(secret->size());
  } catch (const std::exception& error) {
    Output::note(error.what());
    return -1;
  }
}

std::string written(int (*write)(BIO*, const EVP_PKEY*), EVP_PKEY* key, const char* what) {
  const core::Bio out(BIO_new(BIO_s_secmem()));
  if (!out) throw std::bad_alloc();
  ERR_clear_error();
  if (write(out.get(), key) != 1)
    throw_crypto_error(what, "see hwid-provider(7) for what can be written of a key");
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// A private key that is sought: where, by whom, and what to say where it is not to be had.
struct Sought {
  OSSL_LIB_CTX* crypto;
  std::string shown;
  std::string next;
  const UI_METHOD* ui;
  Asked* asked;
};

void keep_only(core::EvpPkey& kept, core::EvpPkey found, const Sought& sought) {
  if (kept && found)
    throw Error(Reason::kSeveralObjects,
                sought.shown + ": several private keys; name one by object= or id=");
  if (found) kept = std::move(found);
}

core::EvpPkey load_stored(const std::string& uri, const Sought& sought) {
  const StoreCtx store(OSSL_STORE_open_ex(uri.c_str(), sought.crypto, nullptr, sought.ui,
                                          sought.asked, nullptr, nullptr, nullptr));
  if (!store || OSSL_STORE_expect(store.get(), OSSL_STORE_INFO_PKEY) != 1)
    throw_crypto_error("OSSL_STORE_open: " + sought.shown, sought.next);
  core::EvpPkey key;
  while (OSSL_STORE_eof(store.get()) != 1) {
    const StoreInfo info(OSSL_STORE_load(store.get()));
    // At the end of a file the loader reports an error without a reason.
    if (!info && OSSL_STORE_error(store.get()) == 1 && ERR_peek_error() != 0)
      throw_crypto_error("OSSL_STORE_load: " + sought.shown, sought.next);
    if (info && OSSL_STORE_INFO_get_type(info.get()) == OSSL_STORE_INFO_PKEY)
      keep_only(key, core::EvpPkey(OSSL_STORE_INFO_get1_PKEY(info.get())), sought);
  }
  return key;
}

// The next private key in `in`; null where what stands there is something else.
core::EvpPkey decode_next(BIO* in, const char* form, const Sought& sought) {
  EVP_PKEY* key = nullptr;
  const Decoder decoder(OSSL_DECODER_CTX_new_for_pkey(&key, form, nullptr, nullptr,
                                                      EVP_PKEY_KEYPAIR, sought.crypto, nullptr));
  if (!decoder || OSSL_DECODER_CTX_set_passphrase_ui(decoder.get(), sought.ui, sought.asked) != 1)
    throw_crypto_error("OSSL_DECODER_CTX_new_for_pkey: " + sought.shown, sought.next);
  const bool is_good = OSSL_DECODER_from_bio(decoder.get(), in) == 1;
  core::EvpPkey found(key);
  if (!is_good && ERR_GET_REASON(ERR_peek_error()) != ERR_R_UNSUPPORTED)
    throw_crypto_error("OSSL_DECODER_from_bio: " + sought.shown, sought.next);
  ERR_clear_error();
  return found;
}

// As OpenSSL's own readers of PEM files do it: its file store drops what a decoder says of the
// device, and calls the file unsupported.
core::EvpPkey decode_stand_in(const std::string& content, const Sought& sought) {
  const char* const form = content.find("-----BEGIN ") != std::string::npos ? "PEM" : "DER";
  const core::Bio in(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  if (!in) throw std::bad_alloc();
  core::EvpPkey key;
  for (int before = -1; BIO_eof(in.get()) != 1 && BIO_tell(in.get()) > before;) {
    before = static_cast<int>(BIO_tell(in.get()));
    keep_only(key, decode_next(in.get(), form, sought), sought);
  }
  return key;
}

// The key is missing, which is told, or OpenSSL does not have us look for it.
[[noreturn]] void raise_unopened(Invocation& invocation, const std::string& source,
                                 const Sought& sought) {
  (void)open_in_device(invocation, source, "pin-source");
  throw Error(Reason::kUnsupported,
              "OSSL_DECODER_from_bio: " + sought.shown +
                  ": no provider in use opens this stand-in for a key; see in openssl.cnf that "
                  "default_properties does not hide hwid, and what tss2-pem says");
}

// What a file holds that stands for a private key in a device; empty: it is another kind of file.
// What can be read only once is left to who uses it.
std::string stand_in(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) return "";
  std::string content = read_file(path);
  std::string uri = uri_in_file(path, content);
  const core::Cleansed uri_guard(uri);
  if (!uri.empty() && core::KeyUri::parse(uri).type() != core::ObjectClass::kPublicKey)
    return content;
  const core::Cleansed guard(content);
  return "";
}

}  // namespace

bool is_key_uri(const std::string& text) {
  return std::any_of(kSchemes.begin(), kSchemes.end(),
                     [&](std::string_view scheme) { return text.starts_with(scheme); });
}

std::string shown_source(const std::string& source) {
  return is_key_uri(source) ? core::KeyUri::parse(source).text() : without_query(source);
}

std::string unshadowed(const std::string& uri) {
  for (const std::string_view scheme : {"pkcs11:", "tpm2:", "hwid:"}) {
    if (uri.starts_with(scheme) && !uri.starts_with(std::string(scheme) + "//"))
      return std::string(scheme) + "//" + uri.substr(scheme.size());
  }
  return uri;
}

core::EvpPkey open_private_key(Invocation& invocation, const std::string& source) {
  const bool is_uri = is_key_uri(source);
  const std::string uri = is_uri ? unshadowed(invocation.with_pin_source(source)) : source;
  const std::string shown = (is_uri ? "" : "file=") + shown_source(source);
  if (!is_uri) require_readable(source);
  Asked asked{&invocation, shown, "pin-source", is_uri ? "PIN" : "pass phrase"};
  const UiMethod ui(UI_UTIL_wrap_read_pem_callback(&answer, 0));
  const Sought sought{invocation.crypto(), shown,
                      is_uri ? "`hwid list` shows the keys that are there"
                             : "name a key URI, a key reference file, or a key in PEM form",
                      ui.get(), &asked};
  std::string content = is_uri ? "" : stand_in(source);
  const core::Cleansed guard(content);
  ERR_clear_error();
  core::EvpPkey key = content.empty() ? load_stored(uri, sought) : decode_stand_in(content, sought);
  if (!key && !content.empty()) raise_unopened(invocation, source, sought);
  if (!key) throw Error(Reason::kNoPrivateKey, shown + ": there is no private key; " + sought.next);
  ERR_clear_error();
  return key;
}

core::Object open_in_device(Invocation& invocation, const core::KeyUri& uri,
                            core::Router::Origin origin) {
  std::vector<core::Object> found =
      invocation.router().open(uri, core::Wanted{true, false, false}, Invocation::prompt(), origin);
  if (found.size() > 1)
    throw Error(Reason::kSeveralObjects,
                uri.text() + ": " + std::to_string(found.size()) +
                    " private keys; name one by object= or id= (`hwid list` shows them)");
  if (found.empty())
    throw Error(
        Reason::kNoPrivateKey,
        uri.text() + ": there is no private key; `hwid list` shows the keys that are there");
  return std::move(found.front());
}

core::Object open_in_device(Invocation& invocation, const std::string& source,
                            const char* pin_option) {
  using Origin = core::Router::Origin;
  const bool is_uri = is_key_uri(source);
  std::string content = is_uri ? "" : read_file(source);
  const core::Cleansed guard(content);
  const std::string uri = is_uri ? source : uri_in_file(source, content);
  if (uri.empty())
    throw Error(Reason::kUnsupported,
                "file=" + source +
                    ": it holds an ordinary key, or none; name a key in a device, or the file that "
                    "stands for one");
  const bool is_users = is_uri || invocation.has(pin_option);
  return open_in_device(invocation,
                        core::KeyUri::parse(invocation.with_pin_source(uri, pin_option)),
                        is_users ? Origin::kProgram : Origin::kReferenceFile);
}

core::EvpPkey software_key_of(Invocation& invocation, const std::string& pem,
                              const std::string& file) {
  Asked asked{&invocation, "file=" + file, "passphrase-source", "pass phrase"};
  ERR_clear_error();
  const core::Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!in) throw std::bad_alloc();
  core::EvpPkey key(PEM_read_bio_PrivateKey_ex(in.get(), nullptr, &answer, &asked,
                                               invocation.software().get(), nullptr));
  if (!key)
    throw_crypto_error("PEM_read_bio_PrivateKey: " + asked.source,
                       "give a private key in PEM form, and its pass phrase with "
                       "--passphrase-source");
  return key;
}

std::string uri_in_file(const std::string& path, const std::string& content) {
  const core::ErrorMark mark;
  const core::Bio in(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  if (!in) throw std::bad_alloc();
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  bool is_wrapped = core::may_be_tss2(core::as_bytes(content));
  std::string uri;
  while (uri.empty() && PEM_read_bio(in.get(), &label, &header, &data, &size) == 1) {
    if (core::is_reference_label(label))
      uri = core::decode_reference({data, static_cast<std::size_t>(size)}).value_or("");
    is_wrapped |= core::is_tss2_label(label);
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  }
  return uri.empty() && is_wrapped ? "tpm2:file=" + core::uri_escape(path) : uri;
}

std::string private_key_pem(EVP_PKEY* key) {
  return written(
      [](BIO* out, const EVP_PKEY* pkey) {
        return PEM_write_bio_PrivateKey(out, pkey, nullptr, nullptr, 0, nullptr, nullptr);
      },
      key, "PEM_write_bio_PrivateKey");
}

bool is_in_hardware(const std::string& private_key_pem) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  if (!private_key_pem.starts_with(kBegin)) return false;
  const std::size_t end = private_key_pem.find("-----", kBegin.size());
  if (end == std::string::npos) return false;
  const std::string label = private_key_pem.substr(kBegin.size(), end - kBegin.size());
  return core::is_reference_label(label) || core::is_tss2_label(label);
}

std::string public_key_pem(EVP_PKEY* key) {
  return written([](BIO* out, const EVP_PKEY* pkey) { return PEM_write_bio_PUBKEY(out, pkey); },
                 key, "PEM_write_bio_PUBKEY");
}

std::string wrapped_pem(const core::Key& key) {
  const std::optional<core::KeyReference> wrapped = key.wrapped();
  if (!wrapped)
    throw Error(Reason::kUnsupported,
                "the key is not kept outside of its token; leave the file out");
  const core::Bio memory(BIO_new(BIO_s_mem()));
  if (!memory || PEM_write_bio(memory.get(), wrapped->label, "", wrapped->der.data(),
                               static_cast<long>(wrapped->der.size())) <= 0)
    throw Error(Reason::kLibcrypto, "PEM_write_bio: " + core::last_libcrypto_error());
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

std::string algorithm_text(EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t size = 0;
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) != 1) return "EC";
    const int nid = OBJ_sn2nid(group.data());
    const char* const nist = nid != NID_undef ? EC_curve_nid2nist(nid) : nullptr;
    return std::string("EC ") + (nist != nullptr ? nist : group.data());
  }
  for (const char* const rsa : {"RSA-PSS", "RSA"}) {
    if (EVP_PKEY_is_a(key, rsa) == 1)
      return std::string(rsa) + " " + std::to_string(EVP_PKEY_get_bits(key));
  }
  const char* const name = EVP_PKEY_get0_type_name(key);
  return name != nullptr ? name : "unknown";
}

}  // namespace hwid::tool
