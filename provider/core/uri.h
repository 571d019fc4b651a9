// Key URIs: pkcs11: (RFC 7512), tpm2: (objects of a TPM), hwid: (logical names).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "provider/core/bytes.h"
#include "provider/core/secret.h"

struct p11_kit_uri;  // P11KitUri of p11-kit/uri.h

namespace hwid::core {

enum class ObjectClass { kPrivateKey, kPublicKey, kCertificate, kOther };

// A parsed URI. Immutable once parsed but for set_slot_id, move-only. A lexical pass of ours checks
// names, escapes and duplicates and knows the position of an error; p11-kit then decodes.
//
// What is accepted beyond RFC 7512, because users of this field write it: pin-value, pin-source
// and module-path in the path (`;pin-value=`), `&` and `;` in either part, `object-type` for
// `type`, blanks in values, "pkcs11://".
//
// A tpm2: URI names one object, by handle=, nv=, file= or ek=; `tpm2:` alone lists. tpm2-openssl's
// spellings mean the same: `handle:0x81000002`, `object:FILE` (the rest up to '?' is the path as it
// stands).
class KeyUri {
 public:
  enum class Scheme { kPkcs11, kName, kTpm2 };

  // Throws kBadUri; the message names the attribute and its position (bytes, from 1).
  static KeyUri parse(std::string_view text);

  Scheme scheme() const noexcept { return scheme_; }

  // The logical name of a hwid: URI; empty for `hwid:` alone, which lists.
  const std::string& name() const noexcept { return name_; }

  // Attributes of a pkcs11: URI, decoded.
  const std::optional<std::string>& token() const noexcept { return token_; }
  const std::optional<std::string>& object() const noexcept { return object_; }
  const std::optional<Bytes>& id() const noexcept { return id_; }
  std::optional<ObjectClass> type() const noexcept { return type_; }
  const std::optional<std::string>& module_path() const noexcept { return module_path_; }
  const std::optional<std::string>& module_name() const noexcept { return module_name_; }
  // For p11_kit_uri_match_{module_info,slot_info,token_info}: every attribute that restricts
  // module, slot and token. Never null for kPkcs11; holds no PIN.
  p11_kit_uri* pkcs11() const noexcept { return pkcs11_.get(); }

  // Attributes of a tpm2: URI, decoded; at most one of the first four is there.
  std::optional<std::uint32_t> handle() const noexcept { return handle_; }  // of a key
  std::optional<std::uint32_t> nv() const noexcept { return nv_; }          // index
  const std::optional<std::string>& file() const noexcept { return file_; }
  // Which endorsement key: "rsa", "ecc", or the name of a template of TCG's ("L-1").
  const std::optional<std::string>& ek() const noexcept { return ek_; }
  // `?pass`: the object has an auth value, and the program's passphrase callback knows it.
  bool asks_pin() const noexcept { return asks_pin_; }
  const std::optional<std::string>& parent_pin_source() const noexcept {
    return parent_pin_source_;
  }
  const std::optional<std::string>& policy() const noexcept { return policy_; }

  // Query attributes, of every scheme.
  const std::optional<Secret>& pin_value() const noexcept { return pin_value_; }
  const std::optional<std::string>& pin_source() const noexcept { return pin_source_; }

  // True if the URI names one object (object=, id=, handle=, nv=, file=, ek=) and not just a token.
  bool names_object() const noexcept { return object_ || id_ || handle_ || nv_ || file_ || ek_; }

  // True for a pkcs11: URI that tells a token from others of its label: by serial= or slot-id=.
  bool names_one_token() const noexcept;

  // Adds slot-id=, before others have the URI. Throws kBadUri where the URI is no pkcs11: URI, or
  // has one.
  void set_slot_id(unsigned long slot);

  // Normal form without pin-value and pin sources: for messages, caches and key references.
  const std::string& text() const noexcept { return text_; }

 private:
  struct FreeP11 {
    void operator()(p11_kit_uri* uri) const noexcept;
  };
  friend class UriParser;
  KeyUri() = default;

  Scheme scheme_ = Scheme::kPkcs11;
  std::string text_, name_;
  std::optional<std::string> token_, object_, module_path_, module_name_, pin_source_;
  std::optional<std::string> file_, ek_, parent_pin_source_, policy_;
  std::optional<std::uint32_t> handle_, nv_;
  bool asks_pin_ = false;
  std::optional<Bytes> id_;
  std::optional<ObjectClass> type_;
  std::optional<Secret> pin_value_;
  std::unique_ptr<p11_kit_uri, FreeP11> pkcs11_;
};

// The value of a pkcs11: attribute, percent-encoded as RFC 7512, section 2.3 wants it.
std::string uri_escape(std::string_view value);
std::string uri_escape_id(ByteView id);  // every byte, as CKA_ID is binary

// What a TPM handle is of: its first byte says so (TPM 2.0 Part 2, 7.2).
enum class HandleKind { kNv, kPermanent, kTransient, kPersistent, kOther };
HandleKind handle_kind(std::uint32_t handle) noexcept;
// One to eight hexadecimal digits, with or without "0x".
std::optional<std::uint32_t> parse_handle(std::string_view text) noexcept;
std::string handle_text(std::uint32_t handle);  // "0x81000002"

}  // namespace hwid::core
