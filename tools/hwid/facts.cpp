#include "tools/hwid/facts.h"

#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "tools/hwid/time_words.h"
#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::tool {
namespace {

std::string curve_name(EVP_PKEY* key) {
  std::array<char, 80> name{};
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), nullptr) != 1) return "?";
  const char* const nist = EC_curve_nid2nist(OBJ_sn2nid(name.data()));
  return nist != nullptr ? nist : name.data();
}

std::time_t time_of(const ASN1_TIME* time) {
  std::tm fields{};
  return ASN1_TIME_to_tm(time, &fields) == 1 ? transport::utc_time(fields) : 0;
}

std::string hexadecimal(core::ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<core::PublicKey> key_of(const core::Libcrypto& crypto, core::ByteView der) {
  try {
    return core::PublicKey::from_certificate(crypto, der);
  } catch (const core::Error&) {
    return std::nullopt;
  }
}

// One word for each answer that the device gave.
std::vector<std::string> traits(const core::Protection& protection) {
  struct Trait {
    std::optional<bool> value;
    const char* yes;
    const char* no;
  };
  const Trait all[] = {
      {protection.sensitive, "sensitive", "not sensitive"},
      {protection.extractable, "extractable", "unextractable"},
      {protection.always_sensitive, "always sensitive",
       protection.sensitive.value_or(false) ? "was not always sensitive" : nullptr},
      {protection.never_extractable, "never extractable",
       protection.extractable.value_or(false) ? nullptr : "was extractable before"},
      {protection.local, "made on the token", "not made on the token"},
      {protection.always_authenticate, "asks for the PIN at each use", nullptr},
      {protection.fixed_tpm, "fixedTPM", "not fixedTPM"},
      {protection.fixed_parent, "fixedParent", "not fixedParent"},
      {protection.sensitive_data_origin, "made in the TPM", "not made in the TPM"},
      {protection.restricted, "restricted", nullptr}};
  std::vector<std::string> words;
  for (const Trait& trait : all) {
    const char* const word = !trait.value ? nullptr : *trait.value ? trait.yes : trait.no;
    if (word != nullptr) words.emplace_back(word);
  }
  return words;
}

}  // namespace

std::string fingerprint_of(const core::Libcrypto& crypto, core::ByteView bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  std::size_t size = 0;
  if (EVP_Q_digest(crypto.get(), "SHA256", core::kNotHwid, bytes.data(), bytes.size(),
                   digest.data(), &size) != 1)
    return "";
  return hexadecimal({digest.data(), size});
}

const char* class_name(core::ObjectClass object_class) {
  switch (object_class) {
    case core::ObjectClass::kPrivateKey:
      return "private-key";
    case core::ObjectClass::kPublicKey:
      return "public-key";
    case core::ObjectClass::kCertificate:
      return "certificate";
    case core::ObjectClass::kOther:
      break;
  }
  return "other";
}

std::string key_type(const core::PublicKey& key) {
  const std::string name = core::algorithm_name(key.algorithm());
  if (core::is_rsa(key.algorithm())) return name + " " + std::to_string(key.bits());
  return key.algorithm() == core::Algorithm::kEc ? name + " " + curve_name(key.pkey()) : name;
}

std::optional<CertificateFacts> certificate_facts(const core::Libcrypto& crypto,
                                                  core::ByteView der) {
  const core::ErrorMark mark;
  const unsigned char* at = der.data();
  const core::Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate) return std::nullopt;
  CertificateFacts facts;
  facts.subject = transport::subject_of(certificate.get());
  facts.issuer = transport::issuer_of(certificate.get());
  facts.serial = transport::serial_of(certificate.get());
  facts.begins = time_of(X509_get0_notBefore(certificate.get()));
  facts.ends = time_of(X509_get0_notAfter(certificate.get()));
  facts.fingerprint = fingerprint_of(crypto, der);
  facts.key = key_of(crypto, der);
  return facts;
}

std::string end_text(std::time_t ends, std::time_t now) {
  const std::string count = duration_text(std::chrono::seconds(std::abs(ends - now)));
  return transport::utc_text(ends) + (ends > now ? ", in " + count : ", " + count + " ago");
}

std::string export_text(const core::Protection& protection) {
  const std::optional<bool> exportable = protection.exportable();
  std::string text = !exportable ? "unknown" : *exportable ? "yes" : "no";
  const char* separator = ": ";
  for (const std::string& word : traits(protection)) {
    text.append(separator).append(word);
    separator = ", ";
  }
  return text;
}

std::string pin_text(const core::TokenInfo& token) {
  std::string text = core::pin_state_text(token.user_pin);
  if (token.lockout)
    text += " (" + std::to_string(token.lockout->failures) + " of " +
            std::to_string(token.lockout->most_failures) + " failures)";
  if (token.user_pin_to_be_changed) text += ", to be changed";
  return text;
}

Json to_json(const core::Protection& protection) {
  Json json = Json::object();
  const auto put = [&json](const char* name, std::optional<bool> value) {
    if (value) json[name] = *value;
  };
  put("sensitive", protection.sensitive);
  put("extractable", protection.extractable);
  put("always_sensitive", protection.always_sensitive);
  put("never_extractable", protection.never_extractable);
  put("local", protection.local);
  put("always_authenticate", protection.always_authenticate);
  put("fixed_tpm", protection.fixed_tpm);
  put("fixed_parent", protection.fixed_parent);
  put("sensitive_data_origin", protection.sensitive_data_origin);
  put("restricted", protection.restricted);
  return json;
}

Json to_json(const CertificateFacts& certificate) {
  return {{"subject", certificate.subject},
          {"issuer", certificate.issuer},
          {"serial", certificate.serial},
          {"not_before", transport::utc_text(certificate.begins)},
          {"not_after", transport::utc_text(certificate.ends)},
          {"sha256", certificate.fingerprint}};
}

Json to_json(const core::TokenInfo& token) {
  Json json = {{"backend", token.backend}, {"kind", token.kind},     {"module", token.module},
               {"label", token.label},     {"serial", token.serial}, {"uri", token.uri}};
  if (token.slot_id) json["slot_id"] = *token.slot_id;
  json["slot_description"] = token.slot_description;
  json["manufacturer"] = token.manufacturer;
  json["model"] = token.model;
  json["firmware"] = token.firmware;
  json["present"] = token.present;
  json["initialized"] = token.initialized;
  json["served"] = token.served;
  json["login_required"] = token.login_required;
  json["write_protected"] = token.write_protected;
  json["protected_authentication_path"] = token.protected_authentication_path;
  json["user_pin"] = core::pin_state_text(token.user_pin);
  json["so_pin"] = core::pin_state_text(token.so_pin);
  if (token.lockout)
    json["lockout"] = {{"failures", token.lockout->failures},
                       {"most_failures", token.lockout->most_failures},
                       {"forgiven_after_s", token.lockout->forgiven_after},
                       {"recovery_s", token.lockout->recovery},
                       {"locked", token.lockout->locked}};
  if (!token.problem.empty()) json["problem"] = token.problem;
  return json;
}

}  // namespace hwid::tool
