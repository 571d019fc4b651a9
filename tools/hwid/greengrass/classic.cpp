// hwid greengrass classic: config.yaml of the Java Nucleus and its PKCS#11 plugin.
#include <filesystem>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/beside_key.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/doctor/module_files.h"
#include "tools/hwid/greengrass/check.h"
#include "tools/hwid/greengrass/core_device.h"
#include "tools/hwid/greengrass/document.h"
#include "tools/hwid/greengrass/plugin.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/hwid/pin/administered_token.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::KeyUri;
using core::Reason;
using core::Secret;
using core::TokenInfo;
using greengrass::CoreDevice;

constexpr char kRoot[] = "/greengrass/v2";

void add_options(po::options_description& options) {
  greengrass::add_core_options(options, kRoot);
  auto add = options.add_options();
  add("nucleus-version", po::value<std::string>()->value_name("VERSION")->required(),
      "of the software to be installed: java -jar Greengrass.jar --version");
  add("force", po::bool_switch(),
      "replace FILE if it exists, and another certificate that stands beside the key");
}

// What leads to a key in a token: a name is followed, and a file that stands for the key.
KeyUri key_uri(Invocation& invocation, const std::string& source) {
  if (is_key_uri(source)) return followed(invocation, source);
  const std::string uri = uri_in_file(source, read_file(source));
  if (uri.empty())
    throw Error(Reason::kUnsupported,
                "file=" + source +
                    ": it stands for no key in hardware; an ordinary key's file is written into "
                    "config.yaml by hand");
  return followed(invocation, KeyUri::parse(uri).text());
}

// A name of the module that outlives its next version: as openssl.cnf has it, and without the
// version at its end where that is the same file.
std::string lasting_path(const core::BackendConfig* backend, const std::string& module) {
  std::error_code error;
  const auto is_it = [&](const std::string& path) {
    return path.starts_with('/') && std::filesystem::equivalent(path, module, error);
  };
  std::string path = backend != nullptr && is_it(backend->module) ? backend->module : module;
  const std::size_t version = path.rfind(".so.");
  if (version == std::string::npos) return path;
  for (std::size_t end = version + 3; end != std::string::npos; end = path.find('.', end + 1)) {
    if (is_it(path.substr(0, end))) return path.substr(0, end);
  }
  return path;
}

TokenInfo java_token(Invocation& invocation, const KeyUri& uri) {
  if (uri.scheme() == KeyUri::Scheme::kTpm2)
    throw Error(Reason::kUnsupported,
                uri.text() +
                    ": Java reaches keys through PKCS#11 modules alone; name a key of "
                    "tpm2-pkcs11's, or take Nucleus Lite: `hwid greengrass lite`");
  TokenInfo token = token_meant(invocation, uri);
  if (token.kind != "pkcs11")
    throw Error(Reason::kUnsupported,
                token.uri +
                    ": hwid serves this TPM by itself, and Java reaches keys through PKCS#11 "
                    "modules alone; name a key of tpm2-pkcs11's, or take Nucleus Lite: `hwid "
                    "greengrass lite`");
  token.module = lasting_path(serving_backend(invocation, token), token.module);
  greengrass::require_java_library(token.module);
  greengrass::require_java_slot(token.slot_id.value_or(0));
  return token;
}

// What a program would use, by the same rules: it is tried, and written.
Secret pin_of(Invocation& invocation, const KeyUri& uri, const TokenInfo& token) {
  const core::BackendConfig* const backend = serving_backend(invocation, token);
  const core::PinPrompt prompt = Invocation::prompt();
  core::PinChain chain;
  chain.uri_value = uri.pin_value() ? &*uri.pin_value() : nullptr;
  chain.uri_source = uri.pin_source() ? &*uri.pin_source() : nullptr;
  chain.configured_value = backend != nullptr && backend->pin ? &*backend->pin : nullptr;
  chain.configured_source =
      backend != nullptr && !backend->pin_source.empty() ? &backend->pin_source : nullptr;
  chain.prompt = &prompt;
  chain.log = &invocation.log();
  const std::string text = "token=" + token.label;
  std::optional<Secret> pin = chain.obtain(text);
  if (!pin)
    throw Error(Reason::kPinMissing,
                text + ": Greengrass's plugin wants its PIN; name where it is with --pin-source");
  greengrass::require_java_pin(*pin, text);
  return std::move(*pin);
}

KeyUri in_slot(const KeyUri& uri, const TokenInfo& token) {
  KeyUri there = KeyUri::parse(uri.text());
  if (uri.text().find("slot-id=") == std::string::npos) there.set_slot_id(*token.slot_id);
  return there;
}

std::string install_command(const CoreDevice& device, const std::string& file) {
  return "sudo -E java -Droot=" + core::shell_word(device.root) +
         " -Dlog.store=FILE -jar Greengrass.jar --init-config " + core::shell_word(file) +
         " --trusted-plugin aws.greengrass.crypto.Pkcs11Provider.jar"
         " --component-default-user ggc_user:ggc_group --setup-system-service true";
}

class Writing {
 public:
  explicit Writing(Invocation& invocation)
      : invocation_(invocation),
        file_(greengrass::config_file(invocation)),
        device_(greengrass::core_device(invocation, kRoot)),
        java_({}, {}) {}

  Exit run() {
    require_not_needed("out", file_, {invocation_.text("config")});
    require_writable(file_, greengrass::existing(invocation_));
    read_certificate();
    open_key();
    std::string text = greengrass::document_of(device_, classic_);
    const core::Cleansed guard(text);
    // What the file itself says is looked at before the token is written to.
    if (!greengrass::Config::parse(text, file_).fault() && !content_.empty())
      beside_ = store_certificate(java_, *uri_, content_, device_.certificate,
                                  {invocation_.flag("force"), nullptr});
    const greengrass::Check check(text, file_, "");
    if (!check.is_good()) return check.refuse(invocation_.out());
    write_file(file_, text, 0600, greengrass::existing(invocation_));
    tell(check);
    return kGood;
  }

 private:
  // One that is on a token is there already, and looked for by the check.
  void read_certificate() {
    if (!device_.certificate.empty() && !is_key_uri(device_.certificate))
      content_ = read_file(device_.certificate);
  }

  // As Java will: by that module and PIN, in that slot.
  void open_key() {
    const KeyUri uri = key_uri(invocation_, device_.key);
    const TokenInfo token = java_token(invocation_, uri);
    classic_.version = invocation_.text("nucleus-version");
    classic_.library = token.module;
    classic_.slot = *token.slot_id;
    classic_.token = token.label;
    classic_.pin = pin_of(invocation_, uri, token);
    java_.use_settings(
        greengrass::plugin_settings(doctor::kGreengrassBackend, classic_.library, classic_.pin));
    uri_.emplace(in_slot(uri, token));
    classic_.label = open_in_device(java_, *uri_, core::Router::Origin::kProgram).description.label;
    greengrass::require_java_label(classic_.label);
  }

  void tell(const greengrass::Check& check) {
    Output& out = invocation_.out();
    Json document;
    const auto put = [&](const char* name, const std::string& text) {
      if (text.empty()) return;
      out.field(name, text);
      document[name] = text;
    };
    out.heading("Greengrass's configuration: written");
    put("file", file_);
    put("thing", device_.thing);
    put("library", classic_.library);
    put("slot", std::to_string(classic_.slot));
    put("token", classic_.token);
    put("label", classic_.label);
    if (beside_) put("certificate", result_text(beside_->stored.result));
    // A service has it only where its unit says so.
    put("environment", doctor::place_of_module(classic_.library));
    check.tell(out, document);
    Output::note(
        "The file holds the token's PIN, as the plugin wants it: only its owner reads it. "
        "Greengrass copies it below " +
        printable(device_.root) + ".");
    if (document.contains("environment"))
      Output::note(
          "Greengrass needs that variable too: Environment= in its service (systemctl edit "
          "greengrass).");
    if (greengrass::is_renewed(device_.key) || greengrass::is_renewed(device_.certificate))
      Output::note(
          "`hwid renew` changes files, and Greengrass goes to the token: give `hwid renew` the "
          "hook that hwid-greengrass(1) shows, and no --new-key.");
    document["command"] = install_command(device_, file_);
    out.line("\nGo on with:\n  " + printable(install_command(device_, file_)));
    out.document(document);
  }

  Invocation& invocation_;
  const std::string file_;
  const CoreDevice device_;
  Invocation java_;
  std::string content_;  // of the certificate's file; empty: it is on the token
  std::optional<KeyUri> uri_;
  greengrass::Classic classic_;
  std::optional<BesideKey> beside_;
};

Exit run(Invocation& invocation) { return Writing(invocation).run(); }

}  // namespace

const Command kGreengrassClassic = {
    "greengrass classic",
    "[--config FILE] --nucleus-version VERSION [--out FILE] [OPTION...]",
    "config.yaml of the Java Nucleus, for a key on a PKCS#11 token",
    "Writes the config.yaml that Greengrass's installer takes, with the PKCS#11 plugin on the "
    "token of\n"
    "the device's key: Java goes there itself, past OpenSSL. A certificate in a file is stored "
    "beside\n"
    "the key first, as `hwid import` does, since Java looks for it there. Then all is looked at "
    "that\n"
    "`hwid doctor --config FILE` looks at; what does not work is not written. The file holds the "
    "PIN.",
    "  hwid greengrass classic --config device.conf --nucleus-version 2.14.0\n"
    "  hwid greengrass classic --config device.conf --nucleus-version 2.14.0 --out "
    "GreengrassInstaller/config.yaml\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
