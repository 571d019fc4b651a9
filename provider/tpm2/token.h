// The whole TPM, as one token.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "provider/core/backend.h"
#include "provider/core/config.h"
#include "provider/tpm2/key.h"
#include "provider/tpm2/nv.h"
#include "provider/tpm2/nv_store.h"
#include "provider/tpm2/policy_conf.h"
#include "provider/tpm2/tss2_pem.h"

namespace hwid::tpm2 {

// The whole TPM, as one token: its keys are those at handles, those in files, and the named ones.
class Token final : public core::Token {
 public:
  Token(const core::BackendConfig& section, std::shared_ptr<Device> device);

  std::string label() const override { return device_->label(); }
  std::vector<core::Object> find(const core::KeyUri& uri, const core::Wanted& wanted,
                                 const core::Access& access) override;
  std::shared_ptr<const core::Key> generate(const core::KeySpec& spec,
                                            const core::Access& access) override;
  std::vector<core::Object> remove(const core::KeyUri& uri, const core::Removal& what,
                                   const core::Access& access) override;
  core::StoredCertificate store_certificate(const core::CertificateSpec& spec,
                                            const core::Access& access) override;
  std::optional<std::uint32_t> free_place(const core::Access& access) override;
  void end_lockout(const core::Secret* lockout_auth, const core::Access& access) override;
  core::Object unwrap(core::ByteView der, const core::Access& access) override;
  core::Secret random(std::size_t size, const core::Access& access) override;

 private:
  // What one open found, and how its auth value may be had.
  struct Found {
    KeyRef ref;
    TPMT_PUBLIC area{};
    core::Bytes tss2;
    std::shared_ptr<const Tss2Key> file;  // what `tss2` holds
    enum class Ask { kNever, kIfConfigured, kProgramToo } ask = Ask::kIfConfigured;
  };
  Found at_handle(TPM2_HANDLE handle, const std::string& label, const core::Access& access);
  Found in_file(const std::string& path, const std::string& label, const core::Access& access);
  static Found from_tss2(const Tss2Key& key, const std::string& label, const core::Access& access);
  Found named(const core::NamedObject& object, const core::Access& access);
  std::vector<core::Object> one(Found found, const core::Wanted& wanted, const core::KeyUri& uri,
                                const core::Access& access);
  std::vector<core::Object> list(const core::Wanted& wanted, const core::Access& access);
  // Certificates in NV memory, and endorsement keys: token_nv.cpp.
  struct NvFound {
    NvPublic nv;
    std::string label, uri;
    std::vector<core::Object> certificates;
    std::string problem;          // why there are none; empty: there are
    bool has_more = false;        // than these certificates
    bool is_empty = false;        // only filler
    core::Bytes public_key = {};  // where there are none: SubjectPublicKeyInfo, or empty
  };
  NvSecrets nv_secrets(const core::KeyUri& uri, const NvPublic& nv,
                       const core::Access& access) const;
  void read_certificates(NvFound& found, const NvSecrets& secrets, const core::Access& access);
  std::vector<NvFound> readable_nv(const core::Secret* of_owner, const core::Access& access);
  std::vector<NvFound> beside(const core::PublicKey& key, const core::Secret* of_owner,
                              const core::Access& access);
  std::vector<core::Object> nv_objects(TPM2_HANDLE index, const std::string& label,
                                       const core::KeyUri& uri, const core::Wanted& wanted,
                                       const core::Access& access);
  void list_nv(const core::Wanted& wanted, const core::Access& access,
               std::vector<core::Object>& all);
  std::vector<core::Object> certificates_beside(const Found& found, const core::Access& access);
  std::vector<core::Object> endorsement(const core::KeyUri& uri, const core::Wanted& wanted,
                                        const core::Access& access);
  core::Object make_nv_other(const NvFound& found) const;
  core::Object make_nv_key(const NvFound& found, const core::Access& access) const;
  std::optional<TPM2_HANDLE> nv_index(const core::KeyUri& uri) const;
  std::vector<core::Object> remove_nv(TPM2_HANDLE index, const core::KeyUri& uri,
                                      const core::Removal& what, const core::Access& access);
  std::vector<NvFound> removable_beside(const Found& found, bool alone,
                                        const core::Secret* of_owner, const core::Access& access);
  std::vector<core::Object> remove_indexes(std::vector<NvFound> all,
                                           const core::Secret* owner_value, const char* done,
                                           const core::Access& access);
  std::set<TPM2_HANDLE> named_indexes() const;
  void require_ours(const NvFound& found) const;
  std::optional<core::Secret> owner_value(const core::Access& access) const;
  core::StoredCertificate store_beside(const core::CertificateSpec& spec,
                                       const core::Secret* owner_value, const core::Access& access);
  core::StoredCertificate store_at(TPM2_HANDLE index, const core::CertificateSpec& spec,
                                   const core::Secret* owner_value, const core::Access& access);
  void require_replacement(const NvOld& old, const core::StoredCertificate& stored,
                           const std::string& problem, bool is_forced) const;
  void add_listed(Found found, const core::Wanted& wanted, const std::string& uri,
                  const core::Access& access, std::vector<core::Object>& all);
  core::Object listed_key(const Found& found, const std::string& uri, const core::Access& access);
  core::Object make_other(const Found& found, const std::string& uri) const;
  core::Object make_object(Found found, const core::Wanted& wanted, const core::KeyUri* uri,
                           const std::string& uri_text, const core::Access& access);
  KeySecrets secrets_for(const Found& found, const core::KeyUri* uri,
                         const core::Access& access) const;
  // What must hold for the key to be used; null: its auth value is enough.
  std::shared_ptr<const KeyPolicy> policy_for(const Found& found, const core::KeyUri* uri,
                                              const core::Access& access) const;
  PolicySource policy_of(const core::KeyUri& uri, const core::Access& access) const;
  PolicySource policy_named(const std::string& name, const core::Access& access) const;
  std::optional<core::Secret> parent_value(const core::Access& access) const;
  std::optional<core::Secret> owner_value(const core::Removal& what,
                                          const core::Access& access) const;
  struct NewPolicy {
    std::shared_ptr<const KeyPolicy> policy;  // null: none
    core::Bytes digest;
    std::string settings;  // KeyDescription::policy
  };
  NewPolicy new_policy(const core::KeySpec& spec, const core::Access& access) const;
  std::shared_ptr<const core::Key> generate_at(const std::optional<TPM2_HANDLE>& handle,
                                               const core::KeySpec& spec,
                                               const core::Access& access);
  const core::NamedObject& require_named(const core::KeyUri& uri) const;
  std::string uri_of(const core::NamedObject& object) const;
  core::PublicKey public_half(const Found& found, const core::Access& access) const;
  template <typename Judge>
  auto placed(const Found& found, Judge&& judge) const;
  TPM2_HANDLE removable_handle(const core::KeyUri& uri) const;
  std::optional<TPM2_HANDLE> place_for(const core::KeySpec& spec) const;
  void require_place(TPM2_HANDLE handle, const core::Secret* owner_value,
                     const core::Access& access);

  const std::shared_ptr<Device> device_;
  const bool has_label_;
  const std::vector<core::NamedObject> objects_;
  const std::optional<std::uint32_t> parent_;
  const std::optional<core::Secret> parent_auth_;
  const core::ConfigLookup default_policy_, policies_;
};

inline Caller caller_of(const core::Access& access) { return {access.crypto, access.log}; }
inline std::optional<core::Secret> copy(const std::optional<core::Secret>& secret) {
  return secret ? std::optional(secret->clone()) : std::nullopt;
}

}  // namespace hwid::tpm2
