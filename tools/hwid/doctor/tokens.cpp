// Whether the tokens that openssl.cnf and the key name are there.
#include "tools/hwid/status/tokens.h"

#include <algorithm>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/doctor/lost_variable.h"
#include "tools/hwid/doctor/module_files.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

using core::BackendConfig;
using core::KeyUri;
using core::TokenInfo;
using Tokens = std::vector<TokenInfo>;

std::string list_of(const std::vector<std::string>& parts, const char* none) {
  std::string text;
  for (const std::string& part : parts) text.append(text.empty() ? "" : ", ").append(part);
  return text.empty() ? none : text;
}

std::vector<std::string> labels_of(const Tokens& tokens) {
  std::vector<std::string> labels;
  for (const TokenInfo& token : tokens) {
    if (token.present && token.initialized) labels.push_back(token.label);
  }
  std::ranges::sort(labels);  // slots come in any order
  return labels;
}

// A label has 32 bytes: what is longer was cut when the token was initialized.
std::optional<std::string> near_label(const std::string& wanted,
                                      const std::vector<std::string>& labels) {
  for (const std::string& label : labels) {
    const bool is_cut =
        label.size() >= 3 && (wanted.starts_with(label) || label.starts_with(wanted));
    if (is_cut && label != wanted) return label;
  }
  return openssl_conf::nearest(wanted, labels);
}

class TokenCheck {
 public:
  TokenCheck(Examination& examination, const BackendConfig& backend)
      : examination_(examination), backend_(backend) {
    for (const TokenInfo& token : examination.inventory()) {
      if (token.backend == backend.name || same_module(token)) tokens_.push_back(token);
    }
    values_ = {{"backend", backend.name}, {"module", device_text(backend)}};
    const std::string looks = where_module_looks(backend.module);
    values_["looks"] = looks.empty() ? "" : "; it looks into " + looks;
  }

  void run() {
    if (report_problem()) return;
    if (!backend_.token.empty())
      require_label(backend_.token, "token");
    else if (labels_of(tokens_).empty())
      report_none();
    const auto& uri = examination_.key_uri;
    if (uri && uri->token() && *uri->token() != backend_.token) require_in_uri(*uri);
    report_twins();
  }

 private:
  void add(const char* id) { examination_.add(id, values_, backend_.name); }

  // The inventory shows a token once, for the section that serves it.
  bool same_module(const TokenInfo& token) const {
    return !backend_.module.empty() && token.module == backend_.module;
  }

  // Nothing of the module can be looked at.
  bool report_problem() {
    const bool any = std::ranges::any_of(tokens_, [](const TokenInfo& t) { return t.present; });
    const auto bad = std::ranges::find_if(
        tokens_, [](const TokenInfo& token) { return !token.problem.empty(); });
    if (any || bad == tokens_.end()) return false;
    values_["error"] = bad->problem;
    add("token-unreadable");
    return true;
  }

  void require_label(const std::string& wanted, const std::string& setting) {
    const std::vector<std::string> labels = labels_of(tokens_);
    if (std::ranges::find(labels, core::one_line(wanted)) != labels.end()) {
      examination_.passed("token " + wanted);
      return;
    }
    values_["wanted"] = wanted;
    values_["setting"] = setting;
    values_["there"] = list_of(labels, "none");
    if (const auto near = near_label(wanted, labels)) {
      values_["near"] = *near;
      add("token-label-wrong");
    } else if (labels.empty()) {
      report_none();
    } else if (!report_lost()) {
      add("token-not-there");
    }
  }

  void require_in_uri(const KeyUri& uri) {
    Tokens served = tokens_;
    std::erase_if(served, [](const TokenInfo& token) { return !token.served; });
    if (!tokens_meant(served, uri).empty() || *uri.token() == backend_.token) return;
    if (examination_.is_silenced(Probe::kKey, backend_.name)) return;
    values_["uri"] = uri.text();
    if (!backend_.token.empty()) {
      values_["wanted"] = *uri.token();
      values_["there"] = backend_.token;
      values_["near"] = backend_.token;
      const std::vector<std::string> served = {backend_.token};
      add(near_label(*uri.token(), served) ? "uri-token-wrong" : "uri-token-not-served");
      return;
    }
    require_label(*uri.token(), "token=");
  }

  // The variable that says where the module's tokens are was lost on the way here.
  bool report_lost() {
    const std::string variable = variable_of_module(backend_.module);
    const auto lost = variable.empty() ? std::nullopt : lost_variable(variable);
    if (!lost) return false;
    values_["variable"] = variable;
    values_["value"] = lost->value;
    values_["process"] = lost->process;
    values_["way"] = lost->way;
    add("module-environment-lost");
    return true;
  }

  void report_none() {
    if (const auto fault = fault_of_module_files(backend_.module)) {
      for (const auto& [name, value] : fault->values) values_[name] = value;
      add(fault->id);
      return;
    }
    if (report_lost()) return;
    const auto blank = std::ranges::find_if(
        tokens_, [](const TokenInfo& token) { return token.present && !token.initialized; });
    if (blank == tokens_.end()) {
      add("token-none");
      return;
    }
    values_["uri"] = core::shell_word(blank->uri);
    values_["label"] = backend_.token.empty() ? "LABEL" : core::shell_word(backend_.token);
    add("token-not-initialized");
  }

  void report_twins() {
    for (const TokenInfo& token : tokens_) {
      if (!token.present || !token.initialized || !token.served) continue;
      const auto count = std::ranges::count_if(tokens_, [&](const TokenInfo& other) {
        return other.present && other.initialized && other.label == token.label;
      });
      if (count < 2 || !is_meant_by_label(token)) continue;
      std::vector<std::string> uris;
      for (const TokenInfo& other : tokens_) {
        if (other.present && other.label == token.label) uris.push_back(other.uri);
      }
      values_["label"] = token.label;
      values_["uris"] = list_of(uris, "");
      values_["uri"] = token.uri;
      add("token-label-twice");
      return;
    }
  }

  // By what was named, no serial number tells it from the other.
  bool is_meant_by_label(const TokenInfo& token) const {
    const auto& uri = examination_.key_uri;
    if (uri) return tokens_meant(tokens_, *uri).size() > 1;
    return backend_.token == token.label;
  }

  Examination& examination_;
  const BackendConfig& backend_;
  Tokens tokens_;
  Values values_;
};

// A TPM is there once it answers; what it says of itself comes with the PINs.
void check_tpm(Examination& examination, const BackendConfig& backend) {
  for (const TokenInfo& token : examination.inventory()) {
    if (token.backend != backend.name) continue;
    if (token.problem.empty())
      examination.passed("TPM " + token.module);
    else
      examination.add("tpm-unreadable", {{"tcti", token.module}, {"error", token.problem}},
                      backend.name);
  }
}

}  // namespace

void probe_tokens(Examination& examination) {
  for (const BackendConfig& backend : examination.config().backends) {
    if (!examination.concerns(backend) || examination.is_silenced(Probe::kToken, backend.name))
      continue;
    examination.begins_at_device("looking at " + device_text(backend), backend.name);
    if (backend.type == "tpm2")
      check_tpm(examination, backend);
    else
      TokenCheck(examination, backend).run();
  }
}

}  // namespace hwid::tool::doctor
