// Key URIs: pkcs11: (RFC 7512), hwid: (logical names).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "provider/core/bytes.h"
#include "provider/core/secret.h"

struct p11_kit_uri;  // P11KitUri of p11-kit/uri.h

namespace hwid::core {

enum class ObjectClass { kPrivateKey, kPublicKey, kCertificate, kOther };

// A parsed URI. Immutable once parsed, move-only. A lexical pass of ours checks names, escapes
// and duplicates and knows the position of an error; p11-kit then decodes.
//
// What is accepted beyond RFC 7512, because users of this field write it: pin-value, pin-source
// and module-path in the path (`;pin-value=`), `&` and `;` in either part, `object-type` for
// `type`, blanks in values, "pkcs11://".
class KeyUri {
 public:
  enum class Scheme { kPkcs11, kName };

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

  // Query attributes, of every scheme.
  const std::optional<Secret>& pin_value() const noexcept { return pin_value_; }
  const std::optional<std::string>& pin_source() const noexcept { return pin_source_; }

  // True if the URI names one object (object=, id=) and not just a token.
  bool names_object() const noexcept { return object_ || id_; }

  // Normal form without pin-value and pin-source: for messages, caches and key references.
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
  std::optional<Bytes> id_;
  std::optional<ObjectClass> type_;
  std::optional<Secret> pin_value_;
  std::unique_ptr<p11_kit_uri, FreeP11> pkcs11_;
};

// The value of a pkcs11: attribute, percent-encoded as RFC 7512, section 2.3 wants it.
std::string uri_escape(std::string_view value);
std::string uri_escape_id(ByteView id);  // every byte, as CKA_ID is binary

}  // namespace hwid::core
