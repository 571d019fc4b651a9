// Where PINs are, what tokens say of them, and whether they are right: tried once, and never where
// only the last try is left.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "provider/core/error.h"
#include "provider/core/pin.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/hwid/status/tokens.h"
#include "tools/hwid/time_words.h"

namespace hwid::tool::doctor {
namespace {

using core::BackendConfig;
using core::PinState;
using core::Reason;
using core::TokenInfo;

// What was read: bytes that are rarely meant, in words. Never the PIN itself.
std::string oddity_of(const core::Secret& pin) {
  const core::ByteView bytes = pin.reveal();
  const auto is_blank = [](std::uint8_t byte) {
    return byte == ' ' || byte == '\t' || byte == '\r';
  };
  if (bytes.empty()) return "";
  if (bytes.size() >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf)
    return "begins with a byte order mark";
  if (bytes.back() == '\r') return "ends in a carriage return";
  if (is_blank(bytes.back())) return "ends in a blank";
  if (is_blank(bytes.front())) return "begins with a blank";
  const bool is_quoted = bytes.size() >= 2 && bytes.front() == bytes.back() &&
                         (bytes.front() == '"' || bytes.front() == '\'');
  return is_quoted ? "is in quotes" : "";
}

class PinCheck {
 public:
  PinCheck(Examination& examination, const TokenInfo& token, const BackendConfig& backend)
      : examination_(examination), token_(token), backend_(backend) {
    values_ = {{"token", token.label.empty() ? token.uri : token.label},
               {"label", token.label},
               {"module", token.module},
               {"uri", core::shell_word(token.uri)},
               {"backend", backend.name},
               {"user", user_text()}};
    find_source();
  }

  void run() {
    check_source();
    check_state();
    if (!silenced()) try_pin();
  }

  // Several tokens are meant: a program's PIN goes to none of them, and so does ours.
  void run_for_several(const std::vector<TokenInfo>& tokens) {
    values_["tokens"] = "";
    for (const TokenInfo& token : tokens)
      values_["tokens"].append(values_["tokens"].empty() ? "" : ", ").append(token.uri);
    if (examination_.key_uri) {
      look_for_key();
      return;
    }
    check_source();
    if (has_pin_ && !silenced()) add("pin-for-the-named");
  }

 private:
  bool silenced() const { return examination_.is_silenced(Probe::kPin, backend_.name); }
  void add(const char* id) { examination_.add(id, values_, backend_.name); }

  // The key's own PIN goes before the one of openssl.cnf.
  void find_source() {
    const auto& uri = examination_.key_uri;
    const bool has_own_value = uri && uri->pin_value();
    if (!has_own_value && uri && uri->pin_source())
      source_ = *uri->pin_source();
    else if (!has_own_value && !backend_.pin)
      source_ = backend_.pin_source;
    has_pin_ = has_own_value || backend_.pin || !source_.empty();
    values_["source"] = source_.empty() ? "the configuration" : source_;
  }

  void check_source() {
    if (source_.empty()) return;
    const std::string path = core::pin_source_path(source_);
    values_["path"] = path;
    try {
      oddity_ = oddity_of(core::read_pin_source(source_, core::Log()));
    } catch (const core::Error& error) {
      values_["error"] = error.what();
      report_source(path, error);
      return;
    }
    if (path.empty()) return;
    values_["owner"] = owner_text(path);
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return;
    if ((status.st_mode & S_IROTH) != 0) add("pin-file-readable");
    if (status.st_uid != 0 && status.st_uid != ::geteuid()) add("pin-file-of-other");
  }

  void report_source(const std::string& path, const core::Error& error) {
    const std::string text = error.what();
    values_["owner"] = path.empty() ? "" : owner_text(path);
    if (!core::is_pin_source(source_))
      add("pin-source-wrong");
    else if (text.find("it is empty") != std::string::npos)
      add("pin-empty");
    else if (error.reason == Reason::kBadConfiguration &&
             text.find("written by") != std::string::npos)
      add("pin-file-writable");
    else if (!path.empty() && read_error(path) == EACCES)
      add("pin-file-closed");
    else
      add("pin-source-not-there");
  }

  void check_state() {
    if (token_.kind == "tpm2") {
      check_lockout();
      return;
    }
    if (token_.user_pin == PinState::kLocked) add("pin-locked");
    if (token_.user_pin == PinState::kLastTry) add("pin-last-try");
    if (token_.user_pin == PinState::kNotSet && token_.login_required) add("pin-not-set");
    if (token_.user_pin_to_be_changed) add("pin-to-be-changed");
  }

  void check_lockout() {
    if (!token_.lockout) return;
    const core::Lockout& lockout = *token_.lockout;
    values_["failures"] = std::to_string(lockout.failures);
    values_["most"] = std::to_string(lockout.most_failures);
    values_["forgiven"] =
        lockout.forgiven_after == 0
            ? "none is ever forgiven"
            : "one is forgiven each " + duration_text(std::chrono::seconds(lockout.forgiven_after));
    if (token_.user_pin == PinState::kLocked) add("tpm-lockout");
    if (token_.user_pin == PinState::kLastTry) add("tpm-last-try");
  }

  // Of a TPM each key has an auth value of its own: the key's signature shows whether it is right.
  void try_pin() {
    if (token_.kind == "tpm2" || !token_.login_required) return;
    if (token_.protected_authentication_path) return;  // it would ask at its pad
    const core::PinPrompt prompt = Invocation::has_terminal() ? asking() : nullptr;
    if (!has_pin_ && (!examination_.key_uri || !prompt)) {
      if (examination_.key_uri) add("pin-missing");
      return;
    }
    begin_login();
    try {
      (void)examination_.invocation().router().open(login_uri(), core::Wanted{true, false, false},
                                                    prompt, core::Router::Origin::kProgram);
      examination_.passed("PIN of " + values_["token"]);
    } catch (const core::Error& error) {
      values_["error"] = error.what();
      report_login(error);
    }
  }

  void begin_login() const {
    examination_.begins_at_device(
        "logging in to token " + values_.at("token") + " of " + values_.at("module"),
        backend_.name);
  }

  // The user may take any time.
  core::PinPrompt asking() const {
    return [this](const std::string& token) {
      examination_.begins({"asking for the PIN"});
      std::optional<core::Secret> pin = Invocation::prompt()(token);
      begin_login();
      return pin;
    };
  }

  // Only a key that nobody has to log in for is found.
  void look_for_key() {
    const core::KeyUri& uri = *examination_.key_uri;
    try {
      (void)examination_.invocation().router().open(uri, core::Wanted{true, false, false}, nullptr,
                                                    examination_.key_origin);
    } catch (const core::Error& error) {
      if (error.reason != Reason::kPinMissing) return;  // that is told where the key is looked for
      values_["key"] = uri.text();
      add("pin-for-several");
    }
  }

  // That token, with the key's own PIN where it has one.
  core::KeyUri login_uri() const {
    const auto& uri = examination_.key_uri;
    std::string text = token_.uri;
    if (uri && uri->pin_source()) text += "?pin-source=" + core::uri_escape(*uri->pin_source());
    if (uri && uri->pin_value()) {
      const core::ByteView pin = uri->pin_value()->reveal();
      std::string escaped =
          core::uri_escape({reinterpret_cast<const char*>(pin.data()), pin.size()});
      text += "?pin-value=" + escaped;
      OPENSSL_cleanse(escaped.data(), escaped.size());
    }
    const core::Cleansed guard(text);
    return core::KeyUri::parse(text);
  }

  void report_login(const core::Error& error) {
    values_["oddity"] = oddity_;
    switch (error.reason) {
      case Reason::kPinWrong:
        add(oddity_.empty() ? "pin-wrong" : "pin-has-more");
        break;
      case Reason::kPinLocked:
        add("pin-locked");
        break;
      case Reason::kPinMissing:
        add("pin-missing");
        break;
      case Reason::kNoObject:
      case Reason::kUnsupported:  // the login went well, and nothing that is usable is there
        break;
      default:
        report_other(error);
        break;
    }
  }

  // What fails behind the login is told where the key is looked for.
  void report_other(const core::Error& error) {
    const std::string text = error.what();
    const bool is_behind =
        std::ranges::any_of(std::array{"C_FindObjects", "C_GetAttributeValue"},
                            [&text](const char* call) { return text.starts_with(call); });
    if (!is_behind)
      add("login-fails");
    else if (!examination_.key_uri)
      add("token-unreadable");
  }

  Examination& examination_;
  const TokenInfo& token_;
  const BackendConfig& backend_;
  Values values_;
  std::string source_;
  std::string oddity_;
  bool has_pin_ = false;
};

// Those that want a PIN, of what this backend's module shows: where it names no token of its own,
// another section's are among them.
std::vector<TokenInfo> takers_of(const BackendConfig& backend,
                                 const std::vector<TokenInfo>& meant) {
  std::vector<TokenInfo> takers;
  std::ranges::copy_if(meant, std::back_inserter(takers), [&backend](const TokenInfo& token) {
    const bool is_shown =
        token.backend == backend.name || (backend.token.empty() && token.module == backend.module);
    return is_shown && token.kind == "pkcs11" && token.login_required;
  });
  return takers;
}

}  // namespace

void probe_pins(Examination& examination) {
  const auto& uri = examination.key_uri;
  std::vector<TokenInfo> meant = status::usable(examination.inventory());
  if (uri) meant = tokens_meant(meant, *uri);
  for (const BackendConfig& backend : examination.config().backends) {
    if (!examination.concerns(backend)) continue;
    const std::vector<TokenInfo> takers = takers_of(backend, meant);
    bool is_one_told = false;
    for (const TokenInfo& token : meant) {
      if (token.backend != backend.name || is_one_told) continue;
      if (examination.is_silenced(Probe::kPin, backend.name)) continue;
      PinCheck check(examination, token, backend);
      is_one_told = takers.size() > 1;
      if (is_one_told)
        check.run_for_several(takers);
      else
        check.run();
    }
  }
}

}  // namespace hwid::tool::doctor
