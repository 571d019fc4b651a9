#include "tools/hwid/x509/name.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "tools/hwid/command.h"
#include "tools/hwid/output.h"

namespace hwid::tool::x509 {
namespace {

struct Attribute {
  std::string type;
  std::string value;
  bool joined = false;     // to the attribute before it, in one RDN
  std::size_t number = 0;  // as the user counts, from 1
};

// A message shows no 5,000 characters.
std::string shortened(const std::string& text) {
  constexpr std::size_t kMost = 40;
  if (text.size() <= kMost) return text;
  std::size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::size_t characters_in(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
  }));
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = std::tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The two written forms differ in what separates, what may be escaped, and blanks.
class SubjectParser {
 public:
  explicit SubjectParser(const std::string& text)
      : text_(text), slashes_(text.starts_with('/')), at_(slashes_ ? 1 : 0) {}

  std::vector<Attribute> parse() {
    bool joined = false;
    for (;;) {
      Attribute attribute;
      attribute.joined = joined;
      attribute.type = type();
      attribute.value = value();
      attribute.number = attributes_.size() + 1;
      attributes_.push_back(attribute);
      if (at_ >= text_.size()) return attributes_;
      joined = text_[at_++] == '+';
    }
  }

 private:
  [[noreturn]] void fail(const std::string& part, const std::string& why) const {
    throw UsageError("--subject: part " + std::to_string(attributes_.size() + 1) + " (\"" +
                     shortened(part) + "\"): " + why);
  }
  char separator() const { return slashes_ ? '/' : ','; }

  std::string type() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '=') {
      if (text_[at_] == separator() || text_[at_] == '+') {
        const std::string part = text_.substr(begin, at_ - begin);
        fail(part, part.empty() ? "it is empty; TYPE=VALUE is expected, as in CN=device-7"
                                : "it has no \"=\"; TYPE=VALUE is expected, and a " +
                                      std::string(1, text_[at_]) + " in a value is written \\" +
                                      std::string(1, text_[at_]));
      }
      ++at_;
    }
    std::string name = text_.substr(begin, at_ - begin);
    if (at_ >= text_.size()) fail(name, "it has no \"=\"; TYPE=VALUE is expected");
    ++at_;
    if (!slashes_) {
      name.erase(0, name.find_first_not_of(' '));
      name.erase(name.find_last_not_of(' ') + 1);
    }
    return name;
  }

  char escaped(const std::string& so_far) {
    if (++at_ >= text_.size()) fail(so_far, "a \\ at the end escapes nothing");
    if (!slashes_) {
      const int high = hex_digit(text_[at_]);
      const int low = at_ + 1 < text_.size() ? hex_digit(text_[at_ + 1]) : -1;
      if (high >= 0 && low >= 0) {
        at_ += 2;
        return static_cast<char>(high * 16 + low);
      }
      if (std::string_view(",+\"\\<>;#= ").find(text_[at_]) == std::string_view::npos)
        fail(so_far + "\\" + text_[at_],
             "a \\ stands before one of , + \" \\ < > ; # = or a blank, or before two hexadecimal "
             "digits");
    }
    return text_[at_++];
  }

  std::string value() {
    std::string value;
    std::size_t kept = 0;  // blanks at the end count where they are escaped
    if (!slashes_) {
      while (at_ < text_.size() && text_[at_] == ' ') ++at_;
      if (at_ < text_.size() && text_[at_] == '#')
        fail(text_.substr(at_), "values in hexadecimal DER are not taken; a # is written \\#");
    }
    while (at_ < text_.size() && text_[at_] != separator() && text_[at_] != '+') {
      if (text_[at_] == '\\') {
        value += escaped(value);
        kept = value.size();
        continue;
      }
      if (!slashes_ && std::string_view("\";<>").find(text_[at_]) != std::string_view::npos)
        fail(value + text_[at_],
             std::string("a ") + text_[at_] + " in a value is written \\" + text_[at_]);
      value += text_[at_++];
      if (value.back() != ' ') kept = value.size();
    }
    if (!slashes_) value.resize(kept);
    return value;
  }

  const std::string& text_;
  const bool slashes_;
  std::size_t at_;
  std::vector<Attribute> attributes_;
};

// RFC 4514 begins with the last RDN; the order within one stays.
std::vector<Attribute> reversed(const std::vector<Attribute>& attributes) {
  std::vector<Attribute> turned;
  for (std::size_t end = attributes.size(); end > 0;) {
    std::size_t begin = end - 1;
    while (attributes[begin].joined) --begin;
    turned.insert(turned.end(), attributes.begin() + static_cast<std::ptrdiff_t>(begin),
                  attributes.begin() + static_cast<std::ptrdiff_t>(end));
    end = begin;
  }
  return turned;
}

int type_by_name(const std::string& type) {
  const core::ErrorMark mark;
  const int nid = OBJ_txt2nid(type.c_str());
  if (nid != NID_undef) return nid;
  std::string upper = type;  // RFC 4514, section 3: names are the same in upper and lower case
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return OBJ_sn2nid(upper.c_str());
}

// `value` is UTF-8. Empty if nothing is wrong.
std::string fault_of_value(int nid, const std::string& value) {
  if (value.empty()) return "it has no value";
  if (printable(value) != value) return "control characters, or bytes that are no UTF-8";
  const std::size_t count = characters_in(value);
  const ASN1_STRING_TABLE* const bounds = ASN1_STRING_TABLE_get(nid);
  if (bounds == nullptr) return count > 32768 ? "longer than 32768 characters" : "";
  if (bounds->maxsize > 0 && count > static_cast<std::size_t>(bounds->maxsize))
    return std::to_string(count) + " characters, and X.520 allows " +
           std::to_string(bounds->maxsize) + "; shorten it";
  if (bounds->minsize > 0 && count < static_cast<std::size_t>(bounds->minsize))
    return std::to_string(count) + " characters, and X.520 wants " +
           std::to_string(bounds->minsize);
  return "";
}

void add(X509_NAME* name, const Attribute& attribute) {
  const auto fail = [&](const std::string& why) {
    throw UsageError("--subject: part " + std::to_string(attribute.number) + " (" +
                     shortened(attribute.type) + "): " + why);
  };
  const int nid = type_by_name(attribute.type);
  if (nid == NID_undef)
    fail(
        "no attribute type is called so; usual ones are CN, O, OU, C, ST, L, serialNumber, "
        "emailAddress, DC, UID");
  const std::string fault = fault_of_value(nid, attribute.value);
  if (!fault.empty()) fail(fault);
  const core::ErrorMark mark;
  if (X509_NAME_add_entry_by_NID(
          name, nid, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(attribute.value.data()),
          static_cast<int>(attribute.value.size()), -1, attribute.joined ? -1 : 0) != 1) {
    const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
    fail((reason != nullptr ? reason : "not accepted") + std::string(": \"") +
         shortened(attribute.value) + "\"");
  }
}

}  // namespace

Name parse_subject(const std::string& text) {
  if (text.empty() || text == "/")
    throw UsageError("--subject: it is empty; at least CN=NAME is needed");
  if (text.find('\0') != std::string::npos) throw UsageError("--subject: a NUL in it");
  std::vector<Attribute> attributes = SubjectParser(text).parse();
  if (!text.starts_with('/')) attributes = reversed(attributes);
  Name name = made(Name(X509_NAME_new()));
  for (const Attribute& attribute : attributes) add(name.get(), attribute);
  return name;
}

std::string fault_of_name(const X509_NAME* name) {
  for (int index = 0; index < X509_NAME_entry_count(name); ++index) {
    const X509_NAME_ENTRY* const entry = X509_NAME_get_entry(name, index);
    const int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    unsigned char* data = nullptr;
    const int size = ASN1_STRING_to_UTF8(&data, X509_NAME_ENTRY_get_data(entry));
    std::string fault = "no text";
    if (size >= 0) {
      const std::string value(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
      OPENSSL_free(data);
      fault = fault_of_value(nid, value);
    }
    if (!fault.empty())
      return "part " + std::to_string(index + 1) + " (" +
             (nid != NID_undef ? OBJ_nid2sn(nid) : "unknown type") + "): " + fault;
  }
  return "";
}

std::string name_text(const X509_NAME* name) {
  const core::Bio out = made(core::Bio(BIO_new(BIO_s_mem())));
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : "";
}

}  // namespace hwid::tool::x509
