#include "tools/hwid/doctor/cause.h"

#include <algorithm>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/doctor/cause_rows.h"

namespace hwid::tool::doctor {
namespace {

struct Title {
  Probe probe;
  const char* text;
};
constexpr Title kTitles[] = {{Probe::kGreengrass, "AWS IoT Greengrass: config.yaml"},
                             {Probe::kConfFile, "openssl.cnf: the file"},
                             {Probe::kConfLayout, "openssl.cnf: the way to hwid"},
                             {Probe::kProviderModule, "hwid.so"},
                             {Probe::kConfKeys, "openssl.cnf: settings"},
                             {Probe::kConfValues, "openssl.cnf: values"},
                             {Probe::kUris, "device.conf and the key's name"},
                             {Probe::kModule, "PKCS#11 modules, and the way to the TPM"},
                             {Probe::kToken, "Tokens and TPMs"},
                             {Probe::kPin, "PINs and auth values"},
                             {Probe::kKey, "The key"},
                             {Probe::kUse, "The key in use"},
                             {Probe::kCertificate, "The certificate"},
                             {Probe::kTrust, "The CAs that are trusted"},
                             {Probe::kPolicy, "The policy of AWS IoT"},
                             {Probe::kNetwork, "The network"},
                             {Probe::kTls, "TLS"},
                             {Probe::kMqtt, "MQTT"},
                             {Probe::kDoctor, "The doctor itself"}};

// In the order of the probes; of one probe's rows in that of the table.
std::vector<Cause> sorted_rows() {
  std::vector<Cause> all;
  for (const std::span<const Cause> rows : cause_rows())
    all.insert(all.end(), rows.begin(), rows.end());
  std::ranges::stable_sort(all, {}, &Cause::probe);
  return all;
}

// A value's place in a text: "{file}", or "{'file'}" for one word of a shell.
struct Place {
  std::string_view name;  // empty: there is none
  bool is_word = false;
  std::size_t end = 0;  // of its closing brace
};

Place place_at(std::string_view text, std::size_t at) {
  const std::size_t end = text[at] == '{' ? text.find('}', at) : std::string_view::npos;
  if (end == std::string_view::npos) return {};
  Place place{text.substr(at + 1, end - at - 1), false, end};
  if (place.name.size() > 2 && place.name.front() == '\'' && place.name.back() == '\'')
    place = {place.name.substr(1, place.name.size() - 2), true, end};
  return place;
}

// Quoted only where a shell would take it apart.
std::string word_of(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+=,-";
  const bool is_plain = !text.empty() && text.find_first_not_of(kPlain) == std::string::npos;
  return is_plain ? text : core::shell_word(text);
}

// "{file}" as Markdown shows it: *FILE*.
std::string with_places(std::string_view text) {
  std::string shown;
  bool in_code = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '`') in_code = !in_code;
    const Place place = place_at(text, at);
    if (place.name.empty()) {
      shown += text[at] == '<' && !in_code ? std::string("&lt;") : std::string(1, text[at]);
      continue;
    }
    std::string name(place.name);
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
    shown += in_code ? name : "*" + name + "*";
    at = place.end;
  }
  return shown;
}

}  // namespace

const char* title_of(Probe probe) noexcept {
  const auto* const row = std::ranges::find(kTitles, probe, &Title::probe);
  return row != std::end(kTitles) ? row->text : "";
}

std::span<const Cause> causes() noexcept {
  static const std::vector<Cause> rows = sorted_rows();
  return rows;
}

const Cause& cause_of(std::string_view id) {
  const std::span<const Cause> all = causes();
  const auto found =
      std::ranges::find(all, id, [](const Cause& cause) { return std::string_view(cause.id); });
  if (found == all.end())
    throw core::Error(core::Reason::kInternal,
                      "hwid doctor: no cause is called " + std::string(id) + "; report it");
  return *found;
}

std::string filled(std::string_view text, const Values& values) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const Place place = place_at(text, at);
    const auto value = place.name.empty() ? values.end() : values.find(std::string(place.name));
    if (value == values.end()) {
      result += text[at];
      continue;
    }
    result += place.is_word ? word_of(value->second) : value->second;
    at = place.end;
  }
  return result;
}

std::string markdown() {
  std::string text =
      "<!-- Written by `hwid doctor --causes`: change the table in tools/hwid/doctor instead. -->\n"
      "# Troubleshooting\n\n"
      "`hwid doctor` looks at everything on the way from openssl.cnf to the broker, names the "
      "first\n"
      "cause of a fault, what it saw, and what mends it:\n\n"
      "    hwid doctor                                      # this machine's openssl.cnf and "
      "tokens\n"
      "    hwid doctor --key hwid://device                  # and that key\n"
      "    hwid doctor --config /etc/hwid/device.conf       # and the way to the broker\n\n"
      "What follows is all that it knows, in the order in which it looks. Words in CAPITALS stand\n"
      "for what it sees. Rows marked *risk* are no fault yet: all works.\n";
  const Cause* last = nullptr;
  for (const Cause& cause : causes()) {
    if (last == nullptr || last->probe != cause.probe)
      text.append("\n## ").append(title_of(cause.probe)).append("\n");
    last = &cause;
    text.append("\n### ").append(cause.id).append("\n\n");
    text.append(cause.weight == Weight::kRisk ? "*Risk.* " : "");
    const std::string sentence = with_places(cause.cause);
    text.append("**").append(sentence).append(sentence.ends_with('?') ? "**\n\n" : ".**\n\n");
    text.append("- Seen: ").append(with_places(cause.evidence)).append("\n");
    text.append("- Fix: ").append(with_places(cause.fix)).append("\n");
  }
  return text;
}

}  // namespace hwid::tool::doctor
