#include "tools/hwid/x509/alt_names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "tools/hwid/command.h"

namespace hwid::tool::x509 {
namespace {

struct Kind {
  std::string_view word;
  int type;  // GEN_...
};
constexpr std::array<Kind, 4> kKinds = {
    {{"DNS:", GEN_DNS}, {"IP:", GEN_IPADD}, {"URI:", GEN_URI}, {"email:", GEN_EMAIL}}};
constexpr std::size_t kMostNames = 100;

const Kind* kind_of(std::string_view text) {
  const auto* const found = std::find_if(
      kKinds.begin(), kKinds.end(), [&](const Kind& kind) { return text.starts_with(kind.word); });
  return found != kKinds.end() ? found : nullptr;
}

bool is_alphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

std::string fault_of_label(std::string_view label) {
  if (label.empty()) return "an empty part between dots";
  if (label.size() > 63) return "a part of more than 63 characters";
  if (label.front() == '-' || label.back() == '-') return "a part begins or ends with a hyphen";
  const bool good = std::all_of(label.begin(), label.end(),
                                [](char c) { return is_alphanumeric(c) || c == '-'; });
  return good ? "" : "a host's name has letters, digits, hyphens and dots";
}

// RFC 1123, section 2.1, and a wildcard as the whole first label (RFC 6125, section 6.4.3).
std::string fault_of_host(std::string_view host) {
  if (host.empty()) return "it is empty";
  if (host.size() > 253) return "more than 253 characters";
  if (host.starts_with("*.")) host.remove_prefix(2);
  for (;;) {
    const std::size_t dot = host.find('.');
    std::string fault = fault_of_label(host.substr(0, dot));
    if (!fault.empty() || dot == std::string_view::npos) return fault;
    host.remove_prefix(dot + 1);
  }
}

bool is_plain_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// RFC 3986, section 3: the scheme, and only characters that a URI is written in.
std::string fault_of_uri(std::string_view uri) {
  if (uri.size() > 2048) return "more than 2048 characters";
  if (!is_plain_ascii(uri) || uri.find_first_of("\"<>\\^`{|}") != std::string_view::npos)
    return "characters that a URI is not written in; %-escape them";
  const std::size_t colon = uri.find(':');
  const std::string_view scheme = uri.substr(0, colon == std::string_view::npos ? 0 : colon);
  const bool good = !scheme.empty() && std::isalpha(static_cast<unsigned char>(scheme[0])) != 0 &&
                    std::all_of(scheme.begin(), scheme.end(), [](char c) {
                      return is_alphanumeric(c) || c == '+' || c == '-' || c == '.';
                    });
  if (!good) return "a URI begins with its scheme, as urn: or https:";
  return colon + 1 == uri.size() ? "nothing follows the scheme" : "";
}

std::string fault_of_email(std::string_view mailbox) {
  const std::size_t at = mailbox.rfind('@');
  if (mailbox.size() > 254 || !is_plain_ascii(mailbox)) return "no mailbox of plain characters";
  if (at == std::string_view::npos || at == 0) return "NAME@HOST is expected";
  return fault_of_host(mailbox.substr(at + 1));
}

std::string fault_of_text(int type, std::string_view value) {
  switch (type) {
    case GEN_DNS:
      return fault_of_host(value);
    case GEN_URI:
      return fault_of_uri(value);
    default:
      return fault_of_email(value);
  }
}

// 4 or 16 bytes; empty if it is no address.
core::Bytes address_bytes(const std::string& text) {
  core::Bytes bytes(16);
  if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1)
    bytes.resize(4);
  else if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1)
    bytes.clear();
  return bytes;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    std::string part = list.substr(begin, comma - begin);
    part.erase(0, part.find_first_not_of(' '));
    if (!parts.empty() && kind_of(part) == nullptr && kind_of(parts.back()) != nullptr &&
        parts.back().starts_with("URI:"))
      parts.back() += "," + part;
    else
      parts.push_back(part);
    begin = comma + 1;
  }
  return parts;
}

void add(GENERAL_NAMES* names, const std::string& part) {
  const auto fail = [&](const std::string& why) {
    const std::string shown = part.size() > 60 ? part.substr(0, 60) + "..." : part;
    throw UsageError("--san: \"" + shown + "\": " + why);
  };
  const Kind* const kind = kind_of(part);
  if (kind == nullptr) fail("it begins with none of DNS: IP: URI: email:");
  const std::string value = part.substr(kind->word.size());
  core::Bytes bytes(value.begin(), value.end());
  if (kind->type == GEN_IPADD) {
    bytes = address_bytes(value);
    if (bytes.empty()) fail("no IPv4 or IPv6 address");
  } else {
    const std::string fault = fault_of_text(kind->type, value);
    if (!fault.empty()) fail(fault);
  }
  std::unique_ptr<GENERAL_NAME, core::FreeWith<GENERAL_NAME_free>> name(GENERAL_NAME_new());
  ASN1_STRING* const text =
      kind->type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
  if (!name || text == nullptr) throw std::bad_alloc();
  GENERAL_NAME_set0_value(name.get(), kind->type, text);
  if (ASN1_STRING_set(text, bytes.data(), static_cast<int>(bytes.size())) != 1 ||
      sk_GENERAL_NAME_push(names, name.get()) <= 0)
    throw std::bad_alloc();
  (void)name.release();  // the list has it
}

std::string address_text(core::ByteView bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  return inet_ntop(family, bytes.data(), text.data(), text.size()) != nullptr ? text.data() : "";
}

struct Value {
  int type = 0;
  std::string bytes;
};
Value value_of(const GENERAL_NAME* name) {
  Value value;
  const void* const content = GENERAL_NAME_get0_value(name, &value.type);
  if (value.type == GEN_DNS || value.type == GEN_URI || value.type == GEN_EMAIL ||
      value.type == GEN_IPADD) {
    const auto* const text = static_cast<const ASN1_STRING*>(content);
    value.bytes.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  return value;
}

std::string fault_of(const Value& value) {
  switch (value.type) {
    case GEN_DNS:
    case GEN_URI:
    case GEN_EMAIL:
      return fault_of_text(value.type, value.bytes);
    case GEN_IPADD:
      return value.bytes.size() == 4 || value.bytes.size() == 16 ? "" : "no IPv4 or IPv6 address";
    default:
      return "only DNS, IP, URI and email names are signed here";
  }
}

}  // namespace

AltNames parse_alt_names(const std::vector<std::string>& texts) {
  if (texts.empty()) return nullptr;
  AltNames names = made(AltNames(GENERAL_NAMES_new()));
  for (const std::string& list : texts) {
    if (list.find('\0') != std::string::npos) throw UsageError("--san: a NUL in it");
    for (const std::string& part : split(list)) add(names.get(), part);
  }
  if (sk_GENERAL_NAME_num(names.get()) > static_cast<int>(kMostNames))
    throw UsageError("--san: more than " + std::to_string(kMostNames) + " names");
  return names;
}

std::string fault_of_alt_names(const GENERAL_NAMES* names) {
  const int count = sk_GENERAL_NAME_num(names);
  if (count < 1) return "the list is empty";
  if (count > static_cast<int>(kMostNames))
    return "more than " + std::to_string(kMostNames) + " names";
  for (int index = 0; index < count; ++index) {
    const std::string fault = fault_of(value_of(sk_GENERAL_NAME_value(names, index)));
    if (!fault.empty()) return "name " + std::to_string(index + 1) + ": " + fault;
  }
  return "";
}

std::vector<std::string> alt_name_texts(const GENERAL_NAMES* names) {
  std::vector<std::string> texts;
  for (int index = 0; names != nullptr && index < sk_GENERAL_NAME_num(names); ++index) {
    const Value value = value_of(sk_GENERAL_NAME_value(names, index));
    const auto* const kind = std::find_if(
        kKinds.begin(), kKinds.end(), [&](const Kind& known) { return known.type == value.type; });
    if (kind == kKinds.end()) {
      texts.emplace_back("other");
      continue;
    }
    texts.push_back(std::string(kind->word) + (value.type == GEN_IPADD
                                                   ? address_text(core::as_bytes(value.bytes))
                                                   : value.bytes));
  }
  return texts;
}

}  // namespace hwid::tool::x509
