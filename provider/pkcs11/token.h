// core::Token for one open: a shared token, with what this backend's section says of it.
#pragma once

#include <atomic>

#include "provider/core/backend.h"
#include "provider/pkcs11/key.h"
#include "provider/pkcs11/public_half.h"
#include "provider/pkcs11/shared_token.h"

namespace hwid::pkcs11 {

class Token final : public core::Token {
 public:
  // `fresh_info`: what C_GetTokenInfo said just now, or null if nothing was asked.
  Token(std::shared_ptr<SharedToken> token, const TokenPolicy& policy, core::Standing standing,
        const CK_TOKEN_INFO* fresh_info);

  // Its objects' URIs name the serial number, too. REQUIRES: no other thread has it yet.
  void name_serial() noexcept { names_serial_ = true; }

  std::string label() const override { return token_->label(); }
  std::string serial() const override { return token_->serial(); }
  bool takes_pin() const noexcept override { return token_->needs_login(policy_); }
  core::Standing standing() const noexcept override { return standing_; }
  std::vector<core::Object> find(const core::KeyUri& uri, const core::Wanted& wanted,
                                 const core::Access& access) override;
  std::shared_ptr<const core::Key> generate(const core::KeySpec& spec,
                                            const core::Access& access) override;
  std::vector<core::Object> remove(const core::KeyUri& uri, const core::Removal& what,
                                   const core::Access& access) override;
  void store_key(const core::KeyImport& key, const core::Access& access) override;
  core::StoredCertificate store_certificate(const core::CertificateSpec& spec,
                                            const core::Access& access) override;
  core::Object unwrap(core::ByteView der, const core::Access& access) override;
  core::Secret random(std::size_t size, const core::Access& access) override;

 private:
  Credentials credentials(const core::Access& access, const core::PinChain& pins);
  void log_in(const core::Access& access);
  bool log_in_if_possible(const core::KeyUri& uri, const core::Wanted& wanted,
                          const core::Access& access);
  std::vector<core::Object> search(const core::KeyUri& uri, const core::Wanted& wanted,
                                   const core::Access& access, bool login);
  // What one search is about.
  struct Picking {
    Lease& lease;
    std::vector<ObjectAttributes>& objects;
    const SearchFor& searched;
    const core::KeyUri& uri;
    const core::Wanted& wanted;
    const core::Access& access;
    std::vector<core::Object> out{};
    std::vector<CK_OBJECT_HANDLE> picked{};  // what `out` has
  };
  std::vector<core::Object> pick(Picking picking) const;
  void add_private_keys(Picking& picking) const;
  core::Object without_use(Picking& picking, const ObjectAttributes& object,
                           const std::string& problem) const;
  void add_public_keys(Picking& picking) const;
  void add_certificates(Picking& picking) const;
  void add_others(Picking& picking) const;
  std::shared_ptr<const core::Key> generate_pair(const core::KeySpec& spec, bool chosen_id,
                                                 const core::Access& access);
  core::KeyDescription describe(const ObjectAttributes& object, const core::KeyUri* uri) const;
  std::shared_ptr<const core::Key> make_key(const ObjectAttributes& object,
                                            const core::PublicKey& public_key,
                                            core::KeyDescription description,
                                            const core::Access& access,
                                            std::uint64_t handle_generation,
                                            std::shared_ptr<const void> in_session = nullptr) const;
  void keep_pin_for(const std::vector<core::Object>& objects, bool always_authenticate,
                    const core::Access& access);

  const std::shared_ptr<SharedToken> token_;
  const TokenPolicy policy_;
  const core::Standing standing_;
  const CK_TOKEN_INFO info_;
  std::atomic<bool> info_is_fresh_;  // until the first login
  bool names_serial_ = false;
};

}  // namespace hwid::pkcs11
