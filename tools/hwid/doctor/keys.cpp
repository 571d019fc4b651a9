// Whether the key is there, is what it should be, and signs.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/store.h>

#include <algorithm>
#include <array>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/facts.h"
#include "tools/hwid/holdings.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

using core::KeyUri;
using core::Object;
using core::ObjectClass;
using core::Reason;

constexpr core::Wanted kEverything{true, true, true, true};

std::string text_of_id(const core::Bytes& id) { return core::uri_escape_id(id); }

const char* words_of(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::kPrivateKey:
      return "a private key";
    case ObjectClass::kPublicKey:
      return "a public key";
    case ObjectClass::kCertificate:
      return "a certificate";
    case ObjectClass::kOther:
      break;
  }
  return "another object";
}

// These commands are authorized by the key's parent alone.
bool is_about_parent(const std::string& message) {
  return std::ranges::any_of(
      std::array{"TPM2_Load:", "TPM2_Import:", "TPM2_CreatePrimary:"},
      [&message](const char* command) { return message.find(command) != std::string::npos; });
}

// What a TPM answers to the use of a key, by the code's or command's name in the message; null: not
// known here.
const char* id_of_tpm_answer(const std::string& message) {
  struct Answer {
    const char* name;
    const char* id;
  };
  constexpr Answer kAnswers[] = {
      {"TPM_RC_INTEGRITY", "tpm-key-foreign"},
      {"TPM_RC_AUTH_FAIL", "key-auth"},
      {"TPM_RC_BAD_AUTH", "key-auth"},
      {"TPM_RC_OBJECT_MEMORY", "tpm-no-slots"},
      {"TPM_RC_SESSION_MEMORY", "tpm-no-slots"},
      {"TPM_RC_OBJECT_HANDLES", "tpm-no-slots"},
      {"TPM_RC_SESSION_HANDLES", "tpm-no-slots"},
      {"TPM_RC_MEMORY", "tpm-no-slots"},
      {"TPM_RC_POLICY_FAIL", "tpm-policy"},
      {"TPM_RC_PCR_CHANGED", "tpm-policy"},
      {"TPM2_Policy", "tpm-policy"}};  // the command that does not hold, whatever the code
  const auto* const found = std::ranges::find_if(kAnswers, [&message](const Answer& answer) {
    return message.find(answer.name) != std::string::npos;
  });
  if (found == std::end(kAnswers)) return nullptr;
  const bool is_auth = std::string_view(found->id) == "key-auth";
  return is_auth && is_about_parent(message) ? "tpm-parent-auth" : found->id;
}

class KeyCheck {
 public:
  explicit KeyCheck(Examination& examination)
      : examination_(examination), uri_(*examination.key_uri) {
    values_ = {{"uri", uri_.text()}, {"key", shown_source(examination.key)}};
    if (uri_.token()) values_["token"] = *uri_.token();
  }

  void run() {
    if (uri_.type() && *uri_.type() != ObjectClass::kPrivateKey) {
      values_["type"] = words_of(*uri_.type());
      add("uri-type-wrong");
      return;
    }
    try {
      const std::vector<Object> found = examination_.invocation().router().open(
          uri_, core::Wanted{true, false, false}, nullptr, examination_.key_origin);
      if (found.empty() || !found.front().key)
        explain_absence();
      else
        check(found.front());
    } catch (const core::Error& error) {
      report(error);
    }
  }

 private:
  void add(const char* id) { examination_.add(id, values_, examination_.key_scope); }

  void check(const Object& object) {
    examination_.passed("key " + values_["key"] + " (" + key_type(object.key->public_key()) + ")");
    EVP_PKEY* const half = object.key->public_key().pkey();
    if (EVP_PKEY_up_ref(half) == 1) examination_.set_private_key(core::EvpPkey(half));
    core::Protection protection;
    try {
      protection = object.key->protection();
    } catch (const core::Error&) {  // a token that does not say
      return;
    }
    values_["facts"] = export_text(protection);
    if (protection.exportable().value_or(false)) add("key-can-leave");
  }

  void report(const core::Error& error) {
    values_["error"] = error.what();
    if (const char* const of_tpm = id_of_tpm_answer(error.what())) {
      add(of_tpm);
      return;
    }
    switch (error.reason) {
      case Reason::kNoObject:
      case Reason::kNoPrivateKey:
        if (std::string(error.what()).find("store its public key") != std::string::npos)
          add("key-without-public-half");
        else
          explain_absence();
        break;
      case Reason::kSeveralObjects:
        add("key-several");
        break;
      case Reason::kPinMissing:
      case Reason::kPinWrong:
        add("key-auth");
        break;
      case Reason::kUnsupported:
        add("key-of-other-kind");
        break;
      default:
        add("key-fails");
        break;
    }
  }

  // All that is on the tokens that are meant, to find what else may be.
  std::vector<Object> objects() {
    std::vector<Object> all;
    for (const core::TokenInfo& token : tokens_meant(examination_.inventory(), uri_)) {
      try {
        for (Object& object : examination_.invocation().router().open(
                 KeyUri::parse(token.uri), kEverything, nullptr, core::Router::Origin::kProgram))
          all.push_back(std::move(object));
      } catch (const core::Error&) {  // what it does not show cannot be meant
      }
    }
    return all;
  }

  bool is_meant(const Object& object) const {
    const core::KeyDescription& it = object.description;
    if (!uri_.object() && !uri_.id()) return false;
    return (!uri_.object() || *uri_.object() == it.label) && (!uri_.id() || *uri_.id() == it.id);
  }

  void explain_absence() {
    const std::vector<Object> all = objects();
    std::vector<std::string> labels;
    const Object* half = nullptr;
    const Object* of_label = nullptr;
    for (const Object& object : all) {
      if (is_meant(object)) half = &object;
      if (uri_.object() && *uri_.object() == object.description.label) of_label = &object;
      if (object.object_class == ObjectClass::kPrivateKey)
        labels.push_back(object.description.label);
    }
    std::ranges::sort(labels);  // tokens list them in any order
    std::string there;
    for (const std::string& label : labels) there.append(there.empty() ? "" : ", ").append(label);
    if (values_["error"].empty()) values_["error"] = values_["uri"] + ": nothing is there";
    values_["there"] = there.empty() ? "no private key" : there;
    values_["generate"] = core::shell_word(values_["key"]);
    if (half != nullptr && half->object_class != ObjectClass::kPrivateKey)
      report_half(*half);
    else if (of_label != nullptr && uri_.id())
      report_id(*of_label);
    else if (const auto near =
                 uri_.object() ? openssl_conf::nearest(*uri_.object(), labels) : std::nullopt)
      report_label(*near);
    else
      add(uri_.scheme() == KeyUri::Scheme::kTpm2 ? "tpm-key-not-there" : "key-not-there");
  }

  void report_half(const Object& object) {
    values_["half"] = words_of(object.object_class);
    add("key-only-other-half");
  }
  void report_id(const Object& object) {
    values_["id"] = text_of_id(object.description.id);
    add("key-id-wrong");
  }
  void report_label(const std::string& near) {
    values_["near"] = near;
    add("key-label-wrong");
  }

  Examination& examination_;
  const KeyUri& uri_;
  Values values_;
};

// Signs as a program does, by OpenSSL's way to the provider, and verifies in software.
class UseCheck {
 public:
  explicit UseCheck(Examination& examination) : examination_(examination) {
    values_ = {{"key", shown_source(examination.key)},
               {"file", examination.conf_file()},
               {"section", examination.invocation().section().section()},
               {"properties", properties()}};
  }

  void run() {
    core::EvpPkey key;
    try {
      key = open_private_key(examination_.invocation(), examination_.key);
    } catch (const core::Error& error) {
      values_["error"] = error.what();
      const char* const of_tpm = id_of_tpm_answer(error.what());
      add(of_tpm != nullptr               ? of_tpm
          : is_fips_wanted_in_vain()      ? "properties-want-fips"
          : values_["properties"].empty() ? "openssl-cannot-open"
                                          : "properties-hide-hwid");
      return;
    }
    const std::string problem = signature_problem(key.get());
    if (problem.empty()) {
      examination_.set_private_key(std::move(key));
      return;
    }
    values_["error"] = problem;
    const bool may_not = problem.find("CKA_SIGN") != std::string::npos ||
                         problem.find("may not") != std::string::npos;
    const char* of_tpm = id_of_tpm_answer(problem);
    const bool has_no_parent =
        examination_.key_uri->file() && problem.find("TPM_RC_HANDLE") != std::string::npos;
    if (has_no_parent) of_tpm = "tpm-parent-not-there";
    add(may_not ? "key-may-not-sign" : of_tpm != nullptr ? of_tpm : "key-does-not-sign");
  }

 private:
  void add(const char* id) { examination_.add(id, values_, examination_.key_scope); }

  std::string properties() const {
    const CONF* const conf = examination_.conf();
    const std::string init = openssl_conf::own_text(conf, "default", "openssl_conf");
    const std::string section = openssl_conf::own_text(conf, init, "alg_section");
    return section.empty() ? "" : openssl_conf::own_text(conf, section, "default_properties");
  }

  // All that is fetched must have fips=yes, and hwid does not say that of itself.
  bool is_fips_wanted_in_vain() const {
    OSSL_LIB_CTX* const crypto = examination_.invocation().crypto();
    if (EVP_default_properties_is_fips_enabled(crypto) != 1) return false;
    bool is_said = false;
    const auto see = [](OSSL_STORE_LOADER* loader, void* said) {
      const char* const properties = OSSL_STORE_LOADER_get0_properties(loader);
      if (OSSL_STORE_LOADER_is_a(loader, "hwid") == 1 && properties != nullptr &&
          std::string_view(properties).find("fips=yes") != std::string_view::npos)
        *static_cast<bool*>(said) = true;
    };
    OSSL_STORE_LOADER_do_all_provided(crypto, see, &is_said);
    return !is_said;
  }

  std::string signature_problem(EVP_PKEY* key) {
    constexpr std::array<unsigned char, 13> kMessage = {'h', 'w', 'i', 'd', ' ',  'd', 'o',
                                                        'c', 't', 'o', 'r', '\n', 0};
    if (EVP_PKEY_is_a(key, "X25519") == 1 || EVP_PKEY_is_a(key, "X448") == 1) return "";
    const bool is_edwards = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
    const char* const digest = is_edwards ? nullptr : "SHA256";
    OSSL_LIB_CTX* const crypto = examination_.invocation().crypto();
    const core::EvpMdCtx signing(EVP_MD_CTX_new());
    std::vector<unsigned char> signature(1024);
    std::size_t size = signature.size();
    ERR_clear_error();
    if (EVP_DigestSignInit_ex(signing.get(), nullptr, digest, crypto, nullptr, key, nullptr) != 1 ||
        EVP_DigestSign(signing.get(), signature.data(), &size, kMessage.data(), kMessage.size()) !=
            1)
      return take_crypto_errors();
    const core::EvpMdCtx verifying(EVP_MD_CTX_new());
    ERR_clear_error();
    if (EVP_DigestVerifyInit_ex(verifying.get(), nullptr, digest, crypto, nullptr, key, nullptr) !=
            1 ||
        EVP_DigestVerify(verifying.get(), signature.data(), size, kMessage.data(),
                         kMessage.size()) != 1)
      return "the signature does not verify with the key's own public half";
    return "";
  }

  Examination& examination_;
  Values values_;
};

}  // namespace

void probe_key(Examination& examination) {
  if (!examination.key_uri || examination.is_silenced(Probe::kKey, examination.key_scope)) return;
  examination.begins_with_key("looking for key " + shown_source(examination.key));
  KeyCheck(examination).run();
}

void probe_use(Examination& examination) {
  if (!examination.key_uri || examination.is_silenced(Probe::kUse, examination.key_scope)) return;
  examination.begins_with_key("signing with key " + shown_source(examination.key));
  UseCheck(examination).run();
}

}  // namespace hwid::tool::doctor
