#include "provider/core/uri.h"

#include <p11-kit/uri.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>

#include "provider/core/error.h"

namespace hwid::core {
namespace {

enum class Role { kToken, kObject, kModule, kPin, kTpm2Object, kTpm2 };

constexpr std::size_t kLongestUri = 4096;

struct AttributeName {
  std::string_view written;
  std::string_view standard;  // RFC 7512's name
  Role role;
  std::size_t longest = kLongestUri;  // bytes: the size of the field in CK_TOKEN_INFO and its like
};

// In the order of the normal form.
constexpr std::array<AttributeName, 24> kAttributes{{
    {"token", "token", Role::kToken, 32},
    {"manufacturer", "manufacturer", Role::kToken, 32},
    {"model", "model", Role::kToken, 16},
    {"serial", "serial", Role::kToken, 16},
    {"slot-id", "slot-id", Role::kToken},
    {"slot-description", "slot-description", Role::kToken, 64},
    {"slot-manufacturer", "slot-manufacturer", Role::kToken, 32},
    {"library-description", "library-description", Role::kToken, 32},
    {"library-manufacturer", "library-manufacturer", Role::kToken, 32},
    {"library-version", "library-version", Role::kToken},
    {"object", "object", Role::kObject},
    {"id", "id", Role::kObject},
    {"type", "type", Role::kObject},
    {"object-type", "type", Role::kObject},
    {"module-name", "module-name", Role::kModule},
    {"module-path", "module-path", Role::kModule},
    {"pin-value", "pin-value", Role::kPin},
    {"pin-source", "pin-source", Role::kPin},
    {"handle", "handle", Role::kTpm2Object},
    {"nv", "nv", Role::kTpm2Object},
    {"file", "file", Role::kTpm2Object},
    {"ek", "ek", Role::kTpm2Object},
    {"policy", "policy", Role::kTpm2},
    {"parent-pin-source", "parent-pin-source", Role::kTpm2},
}};

bool has(KeyUri::Scheme scheme, const AttributeName& name) noexcept {
  if (name.role == Role::kPin) return true;
  const bool of_tpm = name.role == Role::kTpm2Object || name.role == Role::kTpm2;
  return scheme == (of_tpm ? KeyUri::Scheme::kTpm2 : KeyUri::Scheme::kPkcs11);
}

const char* known_names(KeyUri::Scheme scheme) noexcept {
  switch (scheme) {
    case KeyUri::Scheme::kPkcs11:
      return "RFC 7512 names token, object, id, type, serial, model, manufacturer, slot-id, "
             "pin-source and others";
    case KeyUri::Scheme::kTpm2:
      return "a tpm2: URI has handle, nv, file, ek, pin-source, pin-value, parent-pin-source, "
             "policy "
             "and pass";
    case KeyUri::Scheme::kName:
      break;
  }
  return "a hwid: URI has pin-source and pin-value";
}

[[noreturn]] void reject(std::size_t position, const std::string& why) {
  throw Error(Reason::kBadUri, "key URI: at position " + std::to_string(position + 1) + ": " + why);
}

// Labels are bytes, and some programs and tokens count a NUL among them (`model=SLB9670%00`). In
// front of a token's own texts it would mean "any" to p11-kit.
bool may_hold(const AttributeName& name, std::string_view value) {
  const std::size_t nul = value.find('\0');
  if (nul == std::string_view::npos || name.standard == "id" || name.standard == "object")
    return true;
  return name.longest != kLongestUri && nul != 0;
}

constexpr std::string_view kPlain = "-._~:[]@!$'()*+,=";  // pk11-res-avail less '&'
constexpr std::string_view kPlainInPath = "/-._~:[]@!$'()*+,=";

std::string escape(std::string_view value, std::string_view plain) {
  std::string escaped;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x80 && std::isalnum(byte) != 0) || plain.find(c) != plain.npos)
      escaped += c;
    else
      escaped += uri_escape_id(as_bytes(std::string_view(&c, 1)));
  }
  return escaped;
}

bool is_name_character(char c) noexcept {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
}

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

// One pass over the text; knows the position of everything it reads.
class UriParser {
 public:
  explicit UriParser(std::string_view text) : text_(text) {}
  KeyUri parse();

 private:
  void parse_name();
  void parse_tpm2_spelling(std::string_view scheme);
  void parse_attributes();
  void take(std::size_t begin, std::size_t end);
  bool separates(std::size_t at) const;
  std::string shown(std::size_t begin, std::string_view name) const;
  void take_pin_value(std::size_t begin, std::size_t end);
  void store(const AttributeName& name, std::size_t at, std::string value);
  void set_type(std::size_t at, const std::string& value);
  void set_tpm2_object(std::size_t at, std::string_view name, std::string value);
  void set_policy(std::size_t at, const std::string& value);
  std::uint8_t decode_one(std::size_t& at, std::size_t end) const;
  std::string decode(std::size_t begin, std::size_t end) const;
  std::optional<std::string> value_of(std::string_view name) const;
  std::string pkcs11_text() const;
  std::string tpm2_text() const;
  void write_text();

  std::string_view text_;
  std::size_t at_ = 0;
  bool in_query_ = false;
  KeyUri uri_;
  std::map<std::string_view, std::string, std::less<>> values_;
};

KeyUri UriParser::parse() {
  if (text_.size() > kLongestUri) reject(kLongestUri, "a URI has at most 4096 bytes");
  const std::size_t nul = text_.find('\0');
  if (nul != std::string_view::npos) reject(nul, "a URI holds no NUL");
  const std::size_t colon = text_.find(':');
  std::string scheme(text_.substr(0, colon == std::string_view::npos ? 0 : colon));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  at_ = scheme.size() + 1;
  const bool of_tpm2_openssl = scheme == "handle" || scheme == "object";
  if (scheme != "pkcs11" && scheme != "hwid" && scheme != "tpm2" && !of_tpm2_openssl)
    reject(0, "a key URI begins with pkcs11:, tpm2: or hwid:");
  if (scheme != "object" && text_.substr(at_).starts_with("//")) at_ += 2;
  if (scheme == "hwid") {
    uri_.scheme_ = KeyUri::Scheme::kName;
    parse_name();
  } else if (scheme != "pkcs11") {
    uri_.scheme_ = KeyUri::Scheme::kTpm2;
    if (of_tpm2_openssl) parse_tpm2_spelling(scheme);
  }
  parse_attributes();
  write_text();
  return std::move(uri_);
}

// handle:HEX and object:FILE: all up to the query is the value, as it stands.
void UriParser::parse_tpm2_spelling(std::string_view scheme) {
  const std::size_t end = std::min(text_.find('?', at_), text_.size());
  set_tpm2_object(at_, scheme == "object" ? "file" : scheme,
                  std::string(text_.substr(at_, end - at_)));
  at_ = end == text_.size() ? end : end + 1;
  in_query_ = true;
}

void UriParser::parse_name() {
  const std::size_t end = std::min(text_.find('?', at_), text_.size());
  for (std::size_t i = at_; i < end; ++i) {
    if (!is_name_character(text_[i]))
      reject(i,
             "a logical name has letters, digits, '-', '_' and '.'; write hwid:NAME as in the "
             "keys section of openssl.cnf");
  }
  uri_.name_ = std::string(text_.substr(at_, end - at_));
  if (!uri_.name_.empty() && uri_.name_.front() == '.')
    reject(at_, "a logical name begins with no '.'");
  at_ = end == text_.size() ? end : end + 1;
  in_query_ = true;
}

void UriParser::parse_attributes() {
  while (at_ < text_.size()) {
    std::size_t end = at_;
    while (end < text_.size() && !separates(end)) ++end;
    if (end > at_) take(at_, end);  // empty attributes (";;") are no harm
    if (end < text_.size() && text_[end] == '?') in_query_ = true;
    at_ = end + 1;
  }
}

// RFC 7512, 2.3: ';' in the path, '&' in the query, the first '?' between the two. Of what users
// write otherwise, a separator counts only where a known attribute follows: the others are part of
// a value, and a PIN may hold any.
bool UriParser::separates(std::size_t at) const {
  const char c = text_[at];
  if (c != ';' && c != '&' && c != '?') return false;
  const bool standard = in_query_ ? c == '&' : c != '&';
  if (standard) return true;
  const std::string_view rest = text_.substr(at + 1);
  return std::any_of(kAttributes.begin(), kAttributes.end(), [&](const AttributeName& name) {
    return has(uri_.scheme_, name) && rest.starts_with(name.written) &&
           rest.substr(name.written.size()).starts_with('=');
  });
}

void UriParser::take(std::size_t begin, std::size_t end) {
  const std::string_view attribute = text_.substr(begin, end - begin);
  if (attribute == "pass" && uri_.scheme_ == KeyUri::Scheme::kTpm2 && in_query_) {
    uri_.asks_pin_ = true;
    return;
  }
  const std::size_t equals = attribute.find('=');
  if (equals == std::string_view::npos) reject(begin, "an attribute has no '='");
  std::string_view name = attribute.substr(0, equals);
  if (name == "pinfile") name = "pin-source";  // before RFC 7512
  const auto* const known =
      std::find_if(kAttributes.begin(), kAttributes.end(),
                   [&](const AttributeName& candidate) { return candidate.written == name; });
  if (known == kAttributes.end() || !has(uri_.scheme_, *known))
    reject(begin, "unknown attribute" + shown(begin, name) + "; " + known_names(uri_.scheme_));
  const std::size_t value = begin + equals + 1;
  if (known->standard == "pin-value") {
    if (uri_.pin_value_) reject(begin, "pin-value is given twice");
    take_pin_value(value, end);
  } else if (known->role == Role::kTpm2Object) {
    set_tpm2_object(begin, known->standard, decode(value, end));
  } else {
    store(*known, begin, decode(value, end));
    if (known->standard == "type") set_type(value, values_["type"]);
    if (known->standard == "policy") set_policy(value, values_["policy"]);
  }
}

// The name for a message; nothing where it may be a part of a PIN.
std::string UriParser::shown(std::size_t begin, std::string_view name) const {
  const bool may_be_pin = text_.substr(0, begin).find("pin-value") != std::string_view::npos;
  return may_be_pin ? "" : " \"" + std::string(name.substr(0, 32)) + "\"";
}

// Decoded straight into locked memory: a PIN is never a std::string.
void UriParser::take_pin_value(std::size_t begin, std::size_t end) {
  Secret pin(end - begin);
  std::size_t size = 0;
  for (std::size_t at = begin; at < end;) pin.writable()[size++] = decode_one(at, end);
  pin.truncate(size);
  uri_.pin_value_ = std::move(pin);
}

void UriParser::store(const AttributeName& name, std::size_t at, std::string value) {
  if (!may_hold(name, value)) reject(at, std::string(name.standard) + " holds a NUL");
  if (value.size() > name.longest)
    reject(at,
           std::string(name.standard) + " has at most " + std::to_string(name.longest) + " bytes");
  if (!values_.emplace(name.standard, std::move(value)).second)
    reject(at, "attribute \"" + std::string(name.standard) + "\" is given twice");
}

void UriParser::set_type(std::size_t at, const std::string& value) {
  if (value == "private")
    uri_.type_ = ObjectClass::kPrivateKey;
  else if (value == "public")
    uri_.type_ = ObjectClass::kPublicKey;
  else if (value == "cert")
    uri_.type_ = ObjectClass::kCertificate;
  else if (value == "secret-key" || value == "data")
    uri_.type_ = ObjectClass::kOther;
  else
    reject(at, "type is private, public, cert, secret-key or data");
}

void UriParser::set_tpm2_object(std::size_t at, std::string_view name, std::string value) {
  if (uri_.names_object())
    reject(at, "a second object; a tpm2: URI has one handle, nv, file or ek");
  if (name == "file") {
    if (value.empty()) reject(at, "file is empty");
    if (value.find('\0') != std::string::npos) reject(at, "file holds a NUL");
    uri_.file_ = std::move(value);
    return;
  }
  if (name == "ek") {
    if (value.empty() || !std::all_of(value.begin(), value.end(), is_name_character))
      reject(at, "ek is rsa or ecc, or the name of a template of TCG's, such as L-1");
    uri_.ek_ = std::move(value);
    return;
  }
  const std::optional<std::uint32_t> handle = parse_handle(value);
  if (!handle) reject(at, std::string(name) + " is hexadecimal, as in 0x81000002");
  const HandleKind kind = handle_kind(*handle);
  if (kind == HandleKind::kNv) {
    uri_.nv_ = handle;  // handle=0x1500000 means it, too
    return;
  }
  if (name == "nv") reject(at, "an NV index is between 0x1000000 and 0x1ffffff");
  if (kind != HandleKind::kPersistent && kind != HandleKind::kTransient)
    reject(at, "the handle of a key begins with 0x81 (persistent) or 0x80 (transient)");
  uri_.handle_ = handle;
}

void UriParser::set_policy(std::size_t at, const std::string& value) {
  if (value.empty() || !std::all_of(value.begin(), value.end(), is_name_character))
    reject(at, "a policy's name has letters, digits, '-', '_' and '.'");
}

std::uint8_t UriParser::decode_one(std::size_t& at, std::size_t end) const {
  if (text_[at] != '%') return static_cast<std::uint8_t>(text_[at++]);
  const bool complete = end - at >= 3;
  const int high = complete ? hex_value(text_[at + 1]) : -1;
  const int low = complete ? hex_value(text_[at + 2]) : -1;
  if (high < 0 || low < 0) reject(at, "'%' without two hexadecimal digits");
  at += 3;
  return static_cast<std::uint8_t>(high * 16 + low);
}

std::string UriParser::decode(std::size_t begin, std::size_t end) const {
  std::string value;
  for (std::size_t at = begin; at < end;) value += static_cast<char>(decode_one(at, end));
  return value;
}

std::optional<std::string> UriParser::value_of(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

std::string UriParser::pkcs11_text() const {
  std::string path;
  std::string query;
  for (const AttributeName& name : kAttributes) {
    const std::optional<std::string> value = value_of(name.standard);
    if (!value || name.role == Role::kPin || name.written != name.standard) continue;
    std::string& part = name.role == Role::kModule ? query : path;
    if (!part.empty()) part += name.role == Role::kModule ? '&' : ';';
    part.append(name.standard)
        .append("=")
        .append(name.standard == "id" ? uri_escape_id(as_bytes(*value)) : uri_escape(*value));
  }
  return "pkcs11:" + path + (query.empty() ? "" : "?" + query);
}

std::string UriParser::tpm2_text() const {
  std::string text = "tpm2:";
  if (uri_.handle_) text += "handle=" + handle_text(*uri_.handle_);
  if (uri_.nv_) text += "nv=" + handle_text(*uri_.nv_);
  if (uri_.file_) text += "file=" + escape(*uri_.file_, kPlainInPath);
  if (uri_.ek_) text += "ek=" + *uri_.ek_;
  if (uri_.policy_) text += "?policy=" + *uri_.policy_;
  if (uri_.asks_pin_) text += uri_.policy_ ? "&pass" : "?pass";
  return text;
}

void UriParser::write_text() {
  uri_.pin_source_ = value_of("pin-source");
  if (uri_.scheme_ == KeyUri::Scheme::kName) {
    uri_.text_ = "hwid://" + uri_.name_;
    return;
  }
  uri_.token_ = value_of("token");
  uri_.object_ = value_of("object");
  uri_.module_path_ = value_of("module-path");
  uri_.module_name_ = value_of("module-name");
  uri_.policy_ = value_of("policy");
  uri_.parent_pin_source_ = value_of("parent-pin-source");
  if (const auto id = value_of("id")) uri_.id_ = Bytes(id->begin(), id->end());
  const bool of_tpm = uri_.scheme_ == KeyUri::Scheme::kTpm2;
  uri_.text_ = of_tpm ? tpm2_text() : pkcs11_text();
  if (uri_.text_.size() > kLongestUri)  // it must be a URI again: key references hold it
    throw Error(Reason::kBadUri,
                "key URI: with blanks and other bytes percent-encoded it has more than 4096 bytes; "
                "name the object by a shorter attribute, such as id=");
  if (of_tpm) return;
  uri_.pkcs11_.reset(p11_kit_uri_new());
  const int result = p11_kit_uri_parse(uri_.text_.c_str(), P11_KIT_URI_FOR_ANY, uri_.pkcs11_.get());
  if (result != P11_KIT_URI_OK)
    throw Error(Reason::kBadUri, "key URI " + uri_.text_ +
                                     ": p11_kit_uri_parse: " + p11_kit_uri_message(result) +
                                     "; library-version is MAJOR.MINOR, slot-id a number");
}

KeyUri KeyUri::parse(std::string_view text) { return UriParser(text).parse(); }

namespace {

bool has_slot_id(p11_kit_uri* uri) {
  return p11_kit_uri_get_slot_id(uri) != static_cast<CK_SLOT_ID>(-1);
}

}  // namespace

bool KeyUri::names_one_token() const noexcept {
  return scheme_ == Scheme::kPkcs11 &&
         (has_slot_id(pkcs11_.get()) ||
          p11_kit_uri_get_token_info(pkcs11_.get())->serialNumber[0] != 0);
}

void KeyUri::set_slot_id(unsigned long slot) {
  if (scheme_ != Scheme::kPkcs11 || has_slot_id(pkcs11_.get()))
    throw Error(
        Reason::kBadUri,
        text_ + ": slot-id is of pkcs11: URIs, and is given once; leave one of the two out");
  p11_kit_uri_set_slot_id(pkcs11_.get(), slot);
  const std::size_t end = std::min(text_.find('?'), text_.size());
  const bool first = end == std::string_view("pkcs11:").size();
  text_.insert(end, (first ? "slot-id=" : ";slot-id=") + std::to_string(slot));
}

void KeyUri::FreeP11::operator()(p11_kit_uri* uri) const noexcept { p11_kit_uri_free(uri); }

std::string uri_escape(std::string_view value) { return escape(value, kPlain); }

std::string uri_escape_id(ByteView id) {
  std::string escaped;
  for (const std::uint8_t byte : id) escaped.append("%").append(to_hex({&byte, 1}));
  return escaped;
}

HandleKind handle_kind(std::uint32_t handle) noexcept {
  switch (handle >> 24) {
    case 0x01:
      return HandleKind::kNv;
    case 0x40:
      return HandleKind::kPermanent;
    case 0x80:
      return HandleKind::kTransient;
    case 0x81:
      return HandleKind::kPersistent;
    default:
      return HandleKind::kOther;
  }
}

std::optional<std::uint32_t> parse_handle(std::string_view text) noexcept {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  std::uint32_t handle = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, handle, 16);
  const bool whole = error == std::errc() && stop == end && text.size() <= 8;
  return whole ? std::optional(handle) : std::nullopt;
}

std::string handle_text(std::uint32_t handle) {
  std::array<char, 8> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), handle, 16);
  return "0x" + std::string(digits.data(), end);
}

}  // namespace hwid::core
