#include "tools/openssl_conf/writer.h"

#include "provider/core/error.h"

namespace hwid::openssl_conf {
namespace {

void require_one_line(std::string_view text) {
  if (text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos) return;
  throw core::Error(core::Reason::kBadParameter,
                    "openssl.cnf: " + std::string(text) +
                        ": a line end or NUL cannot be written there; choose another name");
}

}  // namespace

std::string in_quotes(std::string_view value) {
  require_one_line(value);
  std::string text;
  for (std::size_t at = 0; at < value.size(); ++at) {
    const char c = value[at];
    if ((c == ' ' || c == '\t') && (at == 0 || at + 1 == value.size())) {
      text.append("\"").append(1, c).append("\"");  // a backslash does not keep it at the end
      continue;
    }
    if (std::string_view("$#'\"`\\").find(c) != std::string_view::npos) text += '\\';
    text += c;
  }
  return text;
}

Writer& Writer::comment(std::string_view text) {
  require_one_line(text);
  text_.append("# ").append(text).append("\n");
  return *this;
}

Writer& Writer::section(std::string_view name) {
  require_one_line(name);
  const std::size_t last = text_.rfind('\n', text_.size() - 2) + 1;  // npos + 1 is 0
  const bool after_comment = text_.size() > 1 && text_[last] == '#';
  if (!text_.empty() && !text_.ends_with("\n\n") && !after_comment) text_ += '\n';
  text_.append("[").append(name).append("]\n");
  return *this;
}

Writer& Writer::set(std::string_view key, std::string_view value) {
  require_one_line(key);
  text_.append(key).append(" = ").append(in_quotes(value)).append("\n");
  return *this;
}

Writer& Writer::include(std::string_view path) {
  text_.append(".include ").append(in_quotes(path)).append("\n");
  return *this;
}

Writer& Writer::blank() {
  text_ += '\n';
  return *this;
}

}  // namespace hwid::openssl_conf
