#include "tools/hwid/holdings.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "transport/certificate_text.h"

namespace hwid::tool {
namespace {

using core::Object;
using core::ObjectClass;

std::optional<core::PublicKey> public_key_of(const Object& object) {
  if (object.key) return object.key->public_key();
  if (object.public_key) return *object.public_key;
  return std::nullopt;
}

// A token says of a private key that it is for RSA-PSS only, and not always of its public half or
// certificate.
bool same_key(const std::optional<core::PublicKey>& a, const std::optional<core::PublicKey>& b) {
  if (!a || !b) return false;
  if (a == b) return true;
  const auto number = [](const core::PublicKey& key, const char* name) {
    BIGNUM* value = nullptr;
    EVP_PKEY_get_bn_param(key.pkey(), name, &value);
    return core::BigNum(value);
  };
  const auto has_same = [&](const char* name) {
    const core::BigNum of_a = number(*a, name);
    const core::BigNum of_b = number(*b, name);
    return of_a && of_b && BN_cmp(of_a.get(), of_b.get()) == 0;
  };
  const core::ErrorMark mark;
  return core::is_rsa(a->algorithm()) && core::is_rsa(b->algorithm()) &&
         has_same(OSSL_PKEY_PARAM_RSA_N) && has_same(OSSL_PKEY_PARAM_RSA_E);
}

// What the device says now; what it said when it was found, where it does not answer.
std::optional<core::Protection> protection_of(const Object& object) {
  if (!object.key) return object.protection;
  try {
    return object.key->protection();
  } catch (const core::Error&) {
    return object.protection;
  }
}

std::string id_text(const core::Bytes& id) { return core::uri_escape_id(id); }

std::string name_of(const Object& object) {
  if (!object.description.label.empty()) return object.description.label;
  return object.description.id.empty() ? "(no label)" : "id " + id_text(object.description.id);
}

void print(Output& out, const HeldCertificate& certificate, std::time_t now) {
  out.field("uri", certificate.object.description.uri);
  if (!certificate.object.description.traits.empty())
    out.field("kind", certificate.object.description.traits);
  if (!certificate.facts) {
    out.field("problem", "what the token answers is no certificate; export it, and look at it");
    return;
  }
  out.field("subject", certificate.facts->subject);
  out.field("issuer", certificate.facts->issuer);
  out.field("ends", end_text(certificate.facts->ends, now));
}

void print(Output& out, const HeldKey& key, const Holdings& holdings, std::time_t now) {
  out.heading((key.is_private() ? "key " : "public key ") + name_of(key.object));
  out.field("uri", key.object.description.uri);
  if (key.public_key) out.field("type", key_type(*key.public_key));
  if (key.protection) out.field("exportable", export_text(*key.protection));
  if (!key.object.problem.empty()) out.field("problem", key.object.problem);
  for (const std::size_t at : key.certificates) {
    const HeldCertificate& certificate = holdings.certificates[at];
    out.field("certificate",
              certificate.facts->subject + ", ends " + end_text(certificate.facts->ends, now));
    out.field("", certificate.object.description.uri);
  }
}

Json described(const Object& object) {
  Json json = {{"class", class_name(object.object_class)},
               {"label", object.description.label},
               {"uri", object.description.uri}};
  if (!object.description.id.empty()) json["id"] = id_text(object.description.id);
  if (!object.description.token.empty()) json["token"] = object.description.token;
  if (!object.description.traits.empty()) json["traits"] = object.description.traits;
  if (!object.problem.empty()) json["problem"] = object.problem;
  return json;
}

Json to_json(const HeldCertificate& certificate) {
  Json json = described(certificate.object);
  if (certificate.facts) json.update(tool::to_json(*certificate.facts));
  return json;
}

Json to_json(const HeldKey& key, const Holdings& holdings) {
  Json json = described(key.object);
  if (key.public_key) json["type"] = key_type(*key.public_key);
  if (key.protection) {
    const std::optional<bool> exportable = key.protection->exportable();
    json["exportable"] = exportable ? Json(*exportable) : Json(nullptr);
    json["protection"] = tool::to_json(*key.protection);
  }
  for (const std::size_t at : key.certificates)
    json["certificates"].push_back(to_json(holdings.certificates[at]));
  return json;
}

}  // namespace

Holdings sorted(const core::Libcrypto& crypto, std::vector<Object> objects) {
  Holdings holdings;
  for (Object& object : objects) {
    if (object.object_class == ObjectClass::kCertificate) {
      auto facts = certificate_facts(crypto, object.certificate);
      holdings.certificates.push_back({std::move(object), std::move(facts)});
    } else if (object.object_class == ObjectClass::kOther) {
      holdings.others.push_back(std::move(object));
    } else {
      HeldKey key{std::move(object), std::nullopt, std::nullopt, {}};
      key.public_key = public_key_of(key.object);
      if (key.is_private()) key.protection = protection_of(key.object);
      const bool is_known = std::ranges::any_of(holdings.keys, [&key](const HeldKey& other) {
        return other.is_private() && same_key(other.public_key, key.public_key);
      });
      if (key.is_private() || !is_known) holdings.keys.push_back(std::move(key));
    }
  }
  for (HeldKey& key : holdings.keys) {
    for (std::size_t at = 0; at < holdings.certificates.size(); ++at) {
      const auto& facts = holdings.certificates[at].facts;
      if (facts && same_key(facts->key, key.public_key)) key.certificates.push_back(at);
    }
  }
  return holdings;
}

void print(Output& out, const Holdings& holdings) {
  const std::time_t now = std::time(nullptr);
  for (const HeldKey& key : holdings.keys) print(out, key, holdings, now);
  for (std::size_t at = 0; at < holdings.certificates.size(); ++at) {
    const bool is_shown = std::ranges::any_of(holdings.keys, [at](const HeldKey& key) {
      return std::ranges::count(key.certificates, at) != 0;
    });
    if (is_shown) continue;
    out.heading("certificate " + name_of(holdings.certificates[at].object));
    print(out, holdings.certificates[at], now);
  }
  for (const Object& other : holdings.others) {
    out.heading((other.description.traits.empty() ? "object" : other.description.traits) + " " +
                name_of(other));
    out.field("uri", other.description.uri);
  }
}

Json to_json(const Holdings& holdings) {
  Json json = Json::array();
  for (const HeldKey& key : holdings.keys) json.push_back(to_json(key, holdings));
  for (const HeldCertificate& certificate : holdings.certificates)
    json.push_back(to_json(certificate));
  for (const Object& other : holdings.others) json.push_back(described(other));
  return json;
}

}  // namespace hwid::tool
