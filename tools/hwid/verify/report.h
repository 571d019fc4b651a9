// What `hwid verify` found out about a key, and the verdict.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/facts.h"
#include "tools/hwid/output.h"

namespace hwid::tool::verify {

// kNote: it decides nothing. kWarning: the key may have been elsewhere before, or something could
// not be found out. kBad: in what is about the key, it can leave; in what is about the certificate,
// it is not this key's; in evidence, it does not hold.
enum class Finding { kGood, kNote, kWarning, kBad };
const char* finding_text(Finding finding) noexcept;  // "good", "note", "warning", "bad"

// The answer to what the device does not say.
inline constexpr char kNoAnswer[] = "no answer";

enum class Group { kCertificate, kAttributes, kAttempts, kToken, kEvidence };
const char* group_text(Group group) noexcept;     // "certificate", ..., for programs
const char* group_heading(Group group) noexcept;  // for people

// One question and its answer.
struct Check {
  Group group;
  std::string asked;   // "CKA_SENSITIVE", "C_WrapKey CKM_AES_KEY_WRAP"
  std::string answer;  // what the device said: "true", "CKR_KEY_UNEXTRACTABLE"
  Finding finding;
  std::string meaning;
};

enum class Verdict { kHardwareAttested, kTokenClaims, kSoftwareToken, kCanLeave };
const char* verdict_text(Verdict verdict) noexcept;  // "hardware-attested", ...

// Where the key is.
struct Device {
  enum class Kind { kPkcs11, kTpm2, kFile };
  Kind kind = Kind::kFile;
  core::TokenInfo info;  // of a file: `module` is its path
  // Why it is no hardware, as a sentence; empty where it claims to be.
  std::string software;
};
const char* kind_text(Device::Kind kind) noexcept;  // "PKCS#11 token", "TPM", "file"

struct KeyFacts {
  std::string uri;          // what was asked for; of a file its path
  std::string name;         // label
  std::string type;         // "RSA 2048"
  std::string fingerprint;  // SHA-256 of the SubjectPublicKeyInfo, hexadecimal; or empty
  std::string public_key;   // the SubjectPublicKeyInfo as PEM; or empty
};

// What somebody else can check: the key signed this now.
struct Signature {
  std::string algorithm;  // "ECDSA SHA2-256"
  std::string digest;     // OpenSSL's name; empty: the message itself is signed
  std::string message;
  core::Bytes value;  // as OpenSSL takes it: ECDSA as DER
};

// A proof by another key that the key is in a device of a known maker: what stands behind the
// verdict hardware-attested, and nothing else does. Who makes such a proof verifies it first.
struct Evidence {
  std::string kind;  // "TPM2_Certify"
  std::string by;    // whose word it is
};

struct Report {
  KeyFacts key;
  Device device;
  std::optional<CertificateFacts> certificate;
  std::optional<Signature> signature;
  std::vector<Check> checks;
  std::vector<Evidence> evidence;
  bool require_hardware = false;
  std::time_t time = 0;
  std::string host;

  void add(Group group, std::string asked, std::string answer, Finding finding,
           std::string meaning) {
    checks.push_back({group, std::move(asked), std::move(answer), finding, std::move(meaning)});
  }
};

// By attributes and attempts first: evidence does not help a key that came out.
Verdict verdict_of(const Report& report);
// Why, as sentences; what else must be known (copies elsewhere, what could not be tried) is part
// of it.
std::vector<std::string> reasons_of(const Report& report);
// True if the answer is yes: the key cannot leave, the certificate is its own, evidence that was
// given holds, and where hardware is required, there is no software, no past outside, and nothing
// open.
bool is_good(const Report& report);
// The attributes by which a device says that a key stays, and which it does not tell:
// "CKA_SENSITIVE, CKA_EXTRACTABLE". Empty: it says all of them.
std::string unsaid(const Report& report);

// How many of a group have that finding.
std::size_t count(const Report& report, Group group, Finding finding);
// The worst of a group; nullopt if it has none.
std::optional<Finding> worst(const Report& report, Group group);

// The command of OpenSSL that verifies the signature, with files key.pem, message.txt and
// signature.bin.
std::string command_to_check(const Signature& signature);

void print(Output& out, const Report& report);
Json to_json(const Report& report);

}  // namespace hwid::tool::verify
