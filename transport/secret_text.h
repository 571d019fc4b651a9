#pragma once

#include <openssl/crypto.h>

#include <string>

namespace hwid::transport {

// A password on its way to a library that wants it as a string. Each copy is cleansed at its end.
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(const char* bytes, std::size_t size) : text_(bytes, size) {}
  SecretText(const SecretText&) = default;
  SecretText& operator=(const SecretText& other) {
    if (this != &other) {
      cleanse();
      text_ = other.text_;
    }
    return *this;
  }
  ~SecretText() { cleanse(); }

  bool empty() const noexcept { return text_.empty(); }
  const std::string& reveal() const noexcept { return text_; }  // greppable on purpose

 private:
  void cleanse() noexcept { OPENSSL_cleanse(text_.data(), text_.size()); }

  std::string text_;
};

}  // namespace hwid::transport
