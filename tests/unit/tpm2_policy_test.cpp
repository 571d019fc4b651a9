#include <doctest/doctest.h>

#include "provider/core/error.h"
#include "provider/tpm2/policy.h"
#include "provider/tpm2/policy_conf.h"
#include "tests/unit/tpm2_data.h"

using namespace hwid;
using core::Bytes;
using test::tss2_key;

namespace {

// As tpm2_policypcr, tpm2_policyauthvalue and tpm2_policycommandcode print them for a trial
// session.
std::string digest_text(const tpm2::Policy& policy) {
  const core::Libcrypto crypto;
  const auto digest = tpm2::policy_digest(crypto, TPM2_ALG_SHA256, policy);
  return digest ? core::to_hex(*digest) : "none";
}

tpm2::PcrStatement pcrs(const std::string& text) {
  const tpm2::WrittenPcrs written = tpm2::parse_pcrs(text).value();
  return {written.selection, {}, written.values};
}

core::ConfigLookup settings(const std::map<std::string, std::string>& values) {
  return [values](const std::string& key) -> std::optional<std::string> {
    const auto found = values.find(key);
    return found != values.end() ? std::optional(found->second) : std::nullopt;
  };
}

}  // namespace

TEST_CASE("pcr: what users write") {
  const std::string zeros(64, '0');
  const std::string ones(64, 'f');
  const auto text = [](const std::string& written) {
    const auto parsed = tpm2::parse_pcrs(written);
    return parsed ? tpm2::pcrs_text(parsed->selection) : "none";
  };
  CHECK(text("sha256:0,7") == "sha256:0,7");
  CHECK(text("sha256:7,0") == "sha256:0,7");  // a TPM has no other order
  CHECK(text("sha256:7 sha256:0") == "sha256:0,7");
  CHECK(text("sha1:4+sha256:0") == "sha1:4+sha256:0");
  CHECK(text(" sha512:23  sha384:1 ") == "sha512:23+sha384:1");
  for (const char* const wrong :
       {"", "sha256", "sha256:", "sha256:24", "sha256:-1", "sha256:1,", "sha256:,1", "sha256:1,1",
        "sha256:x", "md5:1", "sha256:1=", "sha256:1=00", "SHA256:1", "sha256:0x1", "7"})
    CHECK(text(wrong) == "none");
  CHECK(text("sha256:1=" + zeros) == "sha256:1");
  CHECK(text("sha256:1=" + zeros + " sha256:2") == "none");  // all or none
  CHECK(text("sha256:1,2=" + zeros) == "none");
  CHECK(text("sha1:1=" + zeros) == "none");
  const auto values = tpm2::parse_pcrs("sha256:7=" + ones + " sha256:1=" + zeros).value().values;
  REQUIRE(values.size() == 2);
  CHECK(values[0].pcr == 1);
  CHECK(tpm2::values_text(values) == "sha256:1=" + zeros + " sha256:7=" + ones);
}

TEST_CASE("policy: digests are those of the TPM") {
  const std::string value(64, '0');
  CHECK(digest_text({{tpm2::AuthValueStatement{}}}) ==
        "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e");
  CHECK(digest_text({{tpm2::AuthValueStatement{true}}}) ==
        digest_text({{tpm2::AuthValueStatement{false}}}));
  CHECK(digest_text({{tpm2::CommandStatement{TPM2_CC_Sign}}}) ==
        "cc6918b226273b08f5bd406d7f10cf160f0a7d13dfd83b7770ccbcd1aa80d811");
  CHECK(digest_text({{pcrs("sha256:16")}}) == "none");
  CHECK(digest_text({{pcrs("sha256:16=" + value)}}) != "none");
  CHECK(digest_text({{pcrs("sha256:16"), tpm2::AuthValueStatement{}}}) == "none");
}

TEST_CASE("policy: what a key is good for") {
  const tpm2::Policy sign{{tpm2::CommandStatement{TPM2_CC_Sign}, tpm2::AuthValueStatement{}}};
  const tpm2::Policy decrypt{{tpm2::CommandStatement{TPM2_CC_RSA_Decrypt}}};
  tpm2::OrStatement one_of;
  one_of.branches = {sign, decrypt};
  const tpm2::Policy either{{one_of}};
  CHECK(tpm2::allows(sign, TPM2_CC_Sign));
  CHECK_FALSE(tpm2::allows(sign, TPM2_CC_RSA_Decrypt));
  CHECK(tpm2::allows(either, TPM2_CC_RSA_Decrypt));
  CHECK_FALSE(tpm2::allows(either, TPM2_CC_ECDH_ZGen));
  CHECK(tpm2::needs_value(sign));
  CHECK(tpm2::asks_value(either));
  CHECK_FALSE(tpm2::needs_value(either));
  CHECK_FALSE(tpm2::asks_value(decrypt));
}

TEST_CASE("policy: a file's policy that is not the key's is told at its first use") {
  const core::Libcrypto crypto;
  tpm2::Tss2Key key = tss2_key("policy.pem");  // whose authPolicy is 0x1111...
  CHECK(std::string(tpm2::policy_of_file(crypto, key)->problem.value().what())
            .find("the key asks for " + std::string(64, '1')) != std::string::npos);
  const auto problem = [&](std::uint32_t command, const Bytes& parameters) -> std::string {
    key.policy = {{command, parameters}};
    return tpm2::policy_of_file(crypto, key)->problem.value().what();
  };
  CHECK(problem(TPM2_CC_PolicyPCR, {}).find("no selection of PCRs") != std::string::npos);
  CHECK(problem(TPM2_CC_PolicyPCR, {0, 0, 0, 1, 0, 11, 3, 0, 0, 1, 7}).find("another length") !=
        std::string::npos);
  CHECK(problem(TPM2_CC_PolicyPCR, {0, 0, 0, 1, 0, 11, 200, 0, 0, 1}).find("no selection") !=
        std::string::npos);
  CHECK(problem(TPM2_CC_PolicyAuthValue, {1}).find("has parameters") != std::string::npos);
  CHECK(problem(TPM2_CC_PolicyCommandCode, {1, 2, 3}).find("has no command") != std::string::npos);
  CHECK(problem(TPM2_CC_PolicyAuthorize, {0, 4, 1, 2, 3, 4}).find("who signs") !=
        std::string::npos);
  CHECK(problem(TPM2_CC_PolicyNV, {}).find("TPM2_PolicyNV, which is not executed") !=
        std::string::npos);
  CHECK(problem(0x7fffffff, {}).find("command 0x7fffffff") != std::string::npos);
}

TEST_CASE("policy: settings come back with the values that PCRs are to have") {
  const core::Libcrypto crypto;
  const std::string value(64, 'a');
  const tpm2::PolicySource source{
      settings({{"statements", "pcr auth-value"}, {"pcr", "sha256:7=" + value}}), {}, "policy x"};
  const tpm2::Policy policy = tpm2::read_policy(crypto, TPM2_ALG_SHA256, source);
  CHECK(tpm2::settings_text(source, policy) ==
        "statements = pcr auth-value\npcr = sha256:7=" + value + "\n");
  // And go into a file and out of it.
  tpm2::Tss2Key key = tss2_key("policy.pem");
  key.description = "a key";
  tpm2::put_policy(crypto, TPM2_ALG_SHA256, policy, key);
  CHECK(key.description == "a key; PCRs sha256:7=" + value);
  CHECK(tpm2::without_values(key.description) == "a key");
  CHECK(tpm2::without_values("another") == "another");
  const Bytes digest = tpm2::policy_digest(crypto, TPM2_ALG_SHA256, policy).value();
  std::copy(digest.begin(), digest.end(), key.public_area.publicArea.authPolicy.buffer);
  const auto read = tpm2::policy_of_file(crypto, tpm2::decode_tss2(tpm2::encode_tss2(key)));
  REQUIRE(read->alternatives.size() == 1);
  const auto& pcr = std::get<tpm2::PcrStatement>(read->alternatives[0].statements.at(0));
  CHECK(tpm2::values_text(pcr.values) == "sha256:7=" + value);
}
