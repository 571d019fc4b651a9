#include "tools/hwid/attest/endorsement.h"

#include "provider/core/error.h"
#include "tools/hwid/attest/device.h"

namespace hwid::tool::attestation {

using core::Bytes;

namespace {

std::string types_text() {
  std::string all;
  for (const tpm2::EkType& type : tpm2::ek_types()) all.append(", ").append(type.name);
  return all;
}

bool is_any(const tpm2::EkType&) noexcept { return true; }
bool is_rsa(const tpm2::EkType& type) noexcept { return type.is_rsa; }
bool is_ecc(const tpm2::EkType& type) noexcept { return !type.is_rsa; }

// What --ek says, where that is no template.
auto kind_named(const std::string& kind) {
  if (!kind.empty() && kind != "rsa" && kind != "ecc")
    throw UsageError("--ek " + kind + ": there is no such kind; choose one of: rsa, ecc" +
                     types_text());
  return kind.empty() ? is_any : kind == "rsa" ? is_rsa : is_ecc;
}

}  // namespace

void add_ek_option(po::options_description& options, const std::string& what,
                   const std::string& otherwise) {
  const std::string text =
      what + ": rsa, ecc or a template of TCG's such as L-1, H-3 (default: " + otherwise + ")";
  options.add_options()("ek", po::value<std::string>()->value_name("KIND"), text.c_str());
}

void add_endorsement_options(po::options_description& options, const std::string& otherwise) {
  add_ek_option(options, "the endorsement key", otherwise);
  options.add_options()(
      "endorsement-auth-source", po::value<std::string>()->value_name("SOURCE"),
      "where the auth value of the endorsement hierarchy is, as --pin-source (default: none)");
}

void add_ek_certificate_option(po::options_description& options) {
  options.add_options()("ek-cert", po::value<std::string>()->value_name("FILE"),
                        "the EK certificate, where the TPM itself does not have it");
}

Bytes given_ek_certificate(Invocation& invocation) {
  return invocation.has("ek-cert") ? certificate_in(invocation, invocation.text("ek-cert"))
                                   : Bytes();
}

Endorsement::Endorsement(Invocation& invocation, const tpm2::Key& ak, const Bytes& name)
    : value_(invocation.secret("endorsement-auth-source")) {
  const std::string kind = invocation.text("ek");
  const tpm2::Attester attester(ak);
  if (const tpm2::EkType* const type = tpm2::ek_type_named(kind)) {
    key_ = attester.endorsement_key(*type, value_.get());
    return;
  }
  if (kind.empty() && !name.empty()) {
    std::optional<tpm2::EndorsementKey> named = attester.endorsement_key_named(name, value_.get());
    if (!named)
      throw core::Error(core::Reason::kUnsupported,
                        "challenge: it was made for another endorsement key than this TPM has; "
                        "make a new request on this machine with `hwid attest request`");
    key_ = *std::move(named);
    return;
  }
  key_ = attester.endorsement_key(kind_named(kind), value_.get());
}

Bytes Endorsement::certificate() const {
  return key_.certificates.empty() ? Bytes() : key_.certificates.front();
}

std::string Endorsement::text() const {
  return std::string(key_.type->key) + (key_.persistent != 0
                                            ? ", persistent at " + tpm2::hex(key_.persistent)
                                            : std::string(", made by template ") + key_.type->name);
}

core::Secret Endorsement::activate(const tpm2::Key& ak, const tpm2::Credential& credential) const {
  return tpm2::Attester(ak).activate(key_, value_.get(), credential);
}

Bytes ek_certificate_of(Invocation& invocation, const tpm2::Key& ak) {
  const std::string kind = invocation.text("ek");
  const tpm2::EkType* const type = tpm2::ek_type_named(kind);
  const auto is_of_kind = type == nullptr ? kind_named(kind) : nullptr;
  const auto is_of = [&](const tpm2::EkType& each) {
    return type == nullptr ? is_of_kind(each) : &each == type;
  };
  try {
    Bytes found = tpm2::Attester(ak).ek_certificate(is_of);
    if (!found.empty() || kind.empty()) return found;
  } catch (const core::Error& error) {
    if (!kind.empty()) throw;
    HWID_LOG(invocation.log(), kInfo, std::string("EK certificate: ") + error.what());
    return {};
  }
  throw core::Error(core::Reason::kNoObject,
                    "EK certificate: the TPM has none of the kind " + kind +
                        "; give it with --ek-cert FILE, or leave --ek out");
}

}  // namespace hwid::tool::attestation
