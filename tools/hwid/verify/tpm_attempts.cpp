// What a TPM does when it is asked for a key: device_checks.h.
#include <openssl/core_names.h>
#include <openssl/ec.h>

#include "provider/tpm2/errors.h"
#include "provider/tpm2/public_area.h"
#include "tools/hwid/verify/device_checks.h"

namespace hwid::tool::verify {
namespace {

using tpm2::Commands;
using tpm2::Entity;
using tpm2::TpmError;

bool is_set(const TPMT_PUBLIC& area, TPMA_OBJECT attribute) noexcept {
  return (area.objectAttributes & attribute) != 0;
}

// A storage key of nobody's TPM: its private half is not kept.
TPMT_PUBLIC fresh_parent() {
  TPMT_PUBLIC area = tpm2::storage_template(tpm2::StorageKey::kP256).publicArea;
  area.objectAttributes &= ~static_cast<TPMA_OBJECT>(
      TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN);
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  BIGNUM* x = nullptr;
  BIGNUM* y = nullptr;
  if (key) {
    EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, &x);
    EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, &y);
  }
  const core::BigNum x_owner(x);
  const core::BigNum y_owner(y);
  constexpr int kSize = 32;
  TPMS_ECC_POINT& point = area.unique.ecc;
  if (x == nullptr || y == nullptr || BN_bn2binpad(x, point.x.buffer, kSize) != kSize ||
      BN_bn2binpad(y, point.y.buffer, kSize) != kSize)
    throw std::bad_alloc();
  point.x.size = point.y.size = kSize;
  return area;
}

// An attempt's answer; nothing: the key came out.
struct Answer {
  std::optional<TSS2_RC> refusal;
  std::size_t bytes = 0;
};

Answer duplicate(Commands& commands, const Entity& key, const Entity& parent, bool inner_wrapper) {
  try {
    const tpm2::Duplicate out = commands.duplicate(key, parent, inner_wrapper);
    return {std::nullopt, out.private_area.size()};
  } catch (const TpmError& error) {
    // What heals, or is our fault, is no answer about the key.
    const TSS2_RC code = tpm2::base_code(error.rc);
    if (code >= TPM2_RC_WARN || code == TPM2_RC_BAD_AUTH ||
        std::string_view(error.call) != "TPM2_Duplicate")
      throw;
    return {error.rc, 0};
  }
}

Answer duplicate_to_parent(Commands& commands, const Entity& key, const TPMT_PUBLIC& parent) {
  const Entity loaded = commands.load_external({0, parent});
  try {
    const Answer answer = duplicate(commands, key, loaded, true);
    commands.flush_if_there(loaded.handle);
    return answer;
  } catch (const TpmError& error) {
    if (!tpm2::is_tcti_error(error.rc)) commands.flush_if_there(loaded.handle);
    throw;
  }
}

const char* meaning_of(TSS2_RC refusal, bool has_policy) noexcept {
  switch (tpm2::base_code(refusal)) {
    case TPM2_RC_ATTRIBUTES:
      return "refused: its attributes forbid it";
    case TPM2_RC_AUTH_UNAVAILABLE:
    case TPM2_RC_POLICY_FAIL:
      return has_policy ? "refused: its policy asks for more than was offered"
                        : "refused: it has no policy that could allow it";
    case TPM2_RC_HIERARCHY:
      return "refused: it never leaves in clear";
    case TPM2_RC_COMMAND_CODE:
      return "refused: this TPM has no such command";
    default:
      return "refused";
  }
}

void add_attempt(const char* asked, const Answer& answer, const TPMT_PUBLIC& area, Report& report) {
  if (answer.refusal)
    report.add(Group::kAttempts, asked, tpm2::code_name(*answer.refusal), Finding::kGood,
               meaning_of(*answer.refusal, area.authPolicy.size != 0));
  else
    report.add(Group::kAttempts, asked, "TPM_RC_SUCCESS", Finding::kBad,
               "the private area of " + std::to_string(answer.bytes) +
                   " bytes came out, and was wiped at once");
}

// Where nothing forbids it the key would cross the bus, for whoever listens there. What a TPM gives
// to a new parent, under a seed that only that one can read, says the same of its policy.
bool never_leaves_in_clear(const TPMT_PUBLIC& area) noexcept {
  return is_set(area,
                TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_ENCRYPTEDDUPLICATION);
}

void add_not_tried(const char* asked, Report& report) {
  report.add(Group::kAttempts, asked, "not tried", Finding::kNote,
             "its attributes allow it, and who listens on the way to the TPM would have the key");
}

void add_encrypted_duplication(const TPMT_PUBLIC& area, Report& report) {
  const bool is_fixed = is_set(area, TPMA_OBJECT_FIXEDTPM);
  const bool is_encrypted = is_set(area, TPMA_OBJECT_ENCRYPTEDDUPLICATION);
  report.add(Group::kAttributes, "encryptedDuplication", is_encrypted ? "true" : "false",
             Finding::kNote,
             is_fixed       ? "of no matter: it is not duplicated"
             : is_encrypted ? "it leaves encrypted only, for a parent that is named"
                            : "it may leave in clear");
}

}  // namespace

void attempt_on_tpm(const tpm2::Key& key, Report& report) {
  const TPMT_PUBLIC parent = fresh_parent();
  tpm2::PublicObject object;
  std::optional<Answer> in_clear;
  Answer wrapped;
  key.with_object([&](Commands& commands, const Entity& entity) {
    object = commands.read_public(entity.handle);
    if (never_leaves_in_clear(object.public_area))
      in_clear =
          duplicate(commands, entity, {TPM2_RH_NULL, tpm2::handle_name(TPM2_RH_NULL)}, false);
    wrapped = duplicate_to_parent(commands, entity, parent);
  });
  examine_attributes(tpm2::protection(object.public_area), report);
  add_encrypted_duplication(object.public_area, report);
  report.add(Group::kAttempts, "TPM2_ReadPublic", "TPM_RC_SUCCESS", Finding::kGood,
             "the public half and no more; name " + core::to_hex(object.name));
  constexpr const char* kInClear = "TPM2_Duplicate in clear";
  if (in_clear)
    add_attempt(kInClear, *in_clear, object.public_area, report);
  else
    add_not_tried(kInClear, report);
  add_attempt("TPM2_Duplicate to a new parent", wrapped, object.public_area, report);
}

}  // namespace hwid::tool::verify
