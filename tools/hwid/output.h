// What a subcommand prints: text for people, or JSON for programs.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace hwid::tool {

using Json = nlohmann::ordered_json;

// `text` for a terminal: what a token says (labels) must not play with it. Control characters,
// those of C1 and of the text's direction too, and what is not UTF-8 become escapes ("\x1b").
std::string printable(std::string_view text);

enum class Colour { kNone, kGreen, kYellow, kRed };

// Standard output. Colours only where that is a terminal and NO_COLOR is not set.
class Output {
 public:
  explicit Output(bool json);

  bool json() const noexcept { return json_; }

  // Text, whole lines, printable() already where it is not ours. Nothing where JSON is wanted.
  void line(const std::string& text = "");
  // "  KEY     VALUE", the value in printable form.
  void field(const std::string& key, const std::string& value);
  void heading(const std::string& text);
  // `text`, as line() takes it.
  std::string coloured(Colour colour, const std::string& text) const;
  // One JSON document, indented. Nothing where text is wanted. Bytes that are no UTF-8 are
  // replaced.
  void document(const Json& value);
  // What is not the answer (progress, hints): to standard error, in both forms.
  static void note(const std::string& text);

  // Throws core::Error where not all of it could be written (a full disk, a closed pipe).
  static void finish();

 private:
  std::string painted(const char* code, const std::string& text) const;

  bool json_;
  bool colour_;
};

}  // namespace hwid::tool
