// Writes openssl.cnf files and fragments of them: the one place that knows config(5)'s quoting.
#pragma once

#include <string>
#include <string_view>

namespace hwid::openssl_conf {

// A text that grows from its beginning to its end; lines end with "\n". Throws kBadParameter for
// what no line can hold (line ends, NUL).
class Writer {
 public:
  Writer& comment(std::string_view text);  // one line
  Writer& section(std::string_view name);  // behind a blank line, or the comment on it
  Writer& set(std::string_view key, std::string_view value);
  Writer& include(std::string_view path);
  Writer& blank();
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

// `value` so that OpenSSL reads it as it is: config(5) gives a meaning to $ # ' " ` and \.
std::string in_quotes(std::string_view value);

}  // namespace hwid::openssl_conf
