#include "provider/core/uri.h"

#include <p11-kit/uri.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

#include "provider/core/error.h"

namespace hwid::core {
namespace {

enum class Role { kToken, kObject, kModule, kPin };

struct AttributeName {
  std::string_view written;
  std::string_view standard;  // RFC 7512's name
  Role role;
  std::size_t longest = 4096;  // bytes: the size of the field in CK_TOKEN_INFO and its like
};

// In the order of the normal form.
constexpr std::array<AttributeName, 18> kAttributes{{
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
}};

constexpr std::size_t kLongestUri = 4096;

[[noreturn]] void reject(std::size_t position, const std::string& why) {
  throw Error(Reason::kBadUri, "key URI: at position " + std::to_string(position + 1) + ": " + why);
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
  void parse_attributes();
  void take(std::size_t begin, std::size_t end);
  bool separates(std::size_t at) const;
  std::string shown(std::size_t begin, std::string_view name) const;
  void take_pin_value(std::size_t begin, std::size_t end);
  void store(const AttributeName& name, std::size_t at, std::string value);
  void set_type(std::size_t at, const std::string& value);
  std::uint8_t decode_one(std::size_t& at, std::size_t end) const;
  std::string decode(std::size_t begin, std::size_t end) const;
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
  if (scheme != "pkcs11" && scheme != "hwid") reject(0, "a key URI begins with pkcs11: or hwid:");
  if (text_.substr(at_).starts_with("//")) at_ += 2;
  if (scheme == "hwid") {
    uri_.scheme_ = KeyUri::Scheme::kName;
    parse_name();
  }
  parse_attributes();
  write_text();
  return std::move(uri_);
}

void UriParser::parse_name() {
  const std::size_t end = std::min(text_.find('?', at_), text_.size());
  for (std::size_t i = at_; i < end; ++i) {
    const auto c = static_cast<unsigned char>(text_[i]);
    if (!std::isalnum(c) && c != '-' && c != '_' && c != '.')
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
  return std::any_of(kAttributes.begin(), kAttributes.end(), [rest](const AttributeName& name) {
    return rest.starts_with(name.written) && rest.substr(name.written.size()).starts_with('=');
  });
}

void UriParser::take(std::size_t begin, std::size_t end) {
  const std::string_view attribute = text_.substr(begin, end - begin);
  const std::size_t equals = attribute.find('=');
  if (equals == std::string_view::npos) reject(begin, "an attribute has no '='");
  std::string_view name = attribute.substr(0, equals);
  if (name == "pinfile") name = "pin-source";  // before RFC 7512
  const auto* const known =
      std::find_if(kAttributes.begin(), kAttributes.end(),
                   [&](const AttributeName& candidate) { return candidate.written == name; });
  const bool usable = known != kAttributes.end() &&
                      (uri_.scheme_ == KeyUri::Scheme::kPkcs11 || known->role == Role::kPin);
  if (!usable)
    reject(begin, "unknown attribute" + shown(begin, name) +
                      "; RFC 7512 names token, object, id, type, serial, model, manufacturer, "
                      "slot-id, pin-source and others");
  const std::size_t value = begin + equals + 1;
  if (known->standard == "pin-value") {
    if (uri_.pin_value_) reject(begin, "pin-value is given twice");
    take_pin_value(value, end);
  } else {
    store(*known, begin, decode(value, end));
    if (known->standard == "type") set_type(value, values_["type"]);
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
  if (name.standard != "id" && value.find('\0') != std::string::npos)
    reject(at, std::string(name.standard) + " holds a NUL");
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

void UriParser::write_text() {
  const auto value_of = [this](std::string_view name) -> std::optional<std::string> {
    const auto found = values_.find(name);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  };
  uri_.pin_source_ = value_of("pin-source");
  if (uri_.scheme_ == KeyUri::Scheme::kName) {
    uri_.text_ = "hwid://" + uri_.name_;
    return;
  }
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
  uri_.text_ = "pkcs11:" + path + (query.empty() ? "" : "?" + query);
  uri_.token_ = value_of("token");
  uri_.object_ = value_of("object");
  uri_.module_path_ = value_of("module-path");
  uri_.module_name_ = value_of("module-name");
  if (const auto id = value_of("id")) uri_.id_ = Bytes(id->begin(), id->end());
  uri_.pkcs11_.reset(p11_kit_uri_new());
  const int result = p11_kit_uri_parse(uri_.text_.c_str(), P11_KIT_URI_FOR_ANY, uri_.pkcs11_.get());
  if (result != P11_KIT_URI_OK)
    throw Error(Reason::kBadUri, "key URI " + uri_.text_ +
                                     ": p11_kit_uri_parse: " + p11_kit_uri_message(result) +
                                     "; library-version is MAJOR.MINOR, slot-id a number");
}

KeyUri KeyUri::parse(std::string_view text) { return UriParser(text).parse(); }

void KeyUri::FreeP11::operator()(p11_kit_uri* uri) const noexcept { p11_kit_uri_free(uri); }

std::string uri_escape(std::string_view value) {
  constexpr std::string_view kPlain = "-._~:[]@!$'()*+,=";  // pk11-res-avail less '&'
  std::string escaped;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 0x80 && std::isalnum(byte) != 0) || kPlain.find(c) != kPlain.npos;
    if (plain)
      escaped += c;
    else
      escaped += uri_escape_id(as_bytes(std::string_view(&c, 1)));
  }
  return escaped;
}

std::string uri_escape_id(ByteView id) {
  std::string escaped;
  for (const std::uint8_t byte : id) escaped.append("%").append(to_hex({&byte, 1}));
  return escaped;
}

}  // namespace hwid::core
