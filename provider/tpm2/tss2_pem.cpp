#include "provider/tpm2/tss2_pem.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;

namespace {

constexpr std::size_t kLongestFile = 16384;
constexpr std::size_t kMostStatements = 64;

// Contents of the OBJECT IDENTIFIERs: {joint-iso-itu-t(2) 23 133 tpm-key-files(10) ...}.
constexpr std::array<std::uint8_t, 6> kLoadableOid = {0x67, 0x81, 0x05, 0x0a, 0x01, 0x03};
constexpr std::array<std::uint8_t, 6> kImportableOid = {0x67, 0x81, 0x05, 0x0a, 0x01, 0x04};
constexpr std::array<std::uint8_t, 6> kSealedOid = {0x67, 0x81, 0x05, 0x0a, 0x01, 0x05};
constexpr std::array<std::uint8_t, 5> kOldLoadableOid = {0x67, 0x81, 0x05, 0x0a, 0x02};

[[noreturn]] void damaged(const std::string& field, const std::string& why) {
  throw Error(Reason::kBadReference, "TSS2 PRIVATE KEY: " + field + ": " + why +
                                         "; the file is damaged: write it again, or take it from "
                                         "a copy");
}

// A tag with its class and form, as ASN1_get_object tells them.
struct Tag {
  int number;
  int form;  // V_ASN1_UNIVERSAL, or V_ASN1_CONTEXT_SPECIFIC | V_ASN1_CONSTRUCTED
  bool operator==(const Tag&) const = default;
};
constexpr Tag kBoolean{V_ASN1_BOOLEAN, V_ASN1_UNIVERSAL};
constexpr Tag kInteger{V_ASN1_INTEGER, V_ASN1_UNIVERSAL};
constexpr Tag kOctetString{V_ASN1_OCTET_STRING, V_ASN1_UNIVERSAL};
constexpr Tag kOid{V_ASN1_OBJECT, V_ASN1_UNIVERSAL};
constexpr Tag kUtf8String{V_ASN1_UTF8STRING, V_ASN1_UNIVERSAL};
constexpr Tag kSequence{V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL | V_ASN1_CONSTRUCTED};
constexpr Tag explicit_tag(int number) {
  return {number, V_ASN1_CONTEXT_SPECIFIC | V_ASN1_CONSTRUCTED};
}

// Reads what stands in a SEQUENCE, one element after the other.
class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}
  bool at_end() const noexcept { return rest_.empty(); }

  bool next_is(Tag wanted) const {
    const std::optional<Element> element = peek();
    return element && element->tag == wanted;
  }

  // The content of the next element.
  ByteView take(Tag wanted, const char* field) {
    const std::optional<Element> element = peek();
    if (!element || element->tag != wanted)
      damaged(field, at_end() ? "it is missing" : "it is not what the format has in this place");
    rest_ = rest_.subspan(element->size);
    return element->content;
  }

  Reader sequence(const char* field) { return Reader(take(kSequence, field)); }

  // [number] EXPLICIT OPTIONAL: a reader of what is inside, if it is there.
  std::optional<Reader> optional(int number, const char* field) {
    if (!next_is(explicit_tag(number))) return std::nullopt;
    return Reader(take(explicit_tag(number), field));
  }

  void end(const char* field) const {
    if (!at_end()) damaged(field, "bytes follow its end");
  }

 private:
  struct Element {
    Tag tag;
    ByteView content;
    std::size_t size;  // with its header
  };

  std::optional<Element> peek() const {
    if (rest_.empty()) return std::nullopt;
    const core::ErrorMark mark;
    const unsigned char* at = rest_.data();
    long length = 0;
    int number = 0;
    int tag_class = 0;
    const int form =
        ASN1_get_object(&at, &length, &number, &tag_class, static_cast<long>(rest_.size()));
    constexpr int kError = 0x80;
    constexpr int kIndefinite = 0x01;
    if ((form & (kError | kIndefinite)) != 0 || length < 0) return std::nullopt;
    const auto header = static_cast<std::size_t>(at - rest_.data());
    const auto size = static_cast<std::size_t>(length);
    return Element{{number, tag_class | (form & V_ASN1_CONSTRUCTED)},
                   rest_.subspan(header, size),
                   header + size};
  }

  ByteView rest_;
};

// The value of an EXPLICIT field, which holds one element.
ByteView only(std::optional<Reader>& field, Tag tag, const char* name) {
  const ByteView content = field->take(tag, name);
  field->end(name);
  return content;
}

bool boolean(ByteView content, const char* field) {
  if (content.size() != 1) damaged(field, "it is no BOOLEAN");
  return content[0] != 0;
}

// Two's complement; the values of 32-bit unsigned numbers, and of 32-bit signed ones that mean
// them.
std::uint32_t number(ByteView content, const char* field) {
  if (content.empty() || content.size() > 8) damaged(field, "it is no number of 32 bits");
  const bool negative = (content[0] & 0x80) != 0;
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  for (const std::uint8_t byte : content) value = value << 8 | byte;
  const bool fits = negative ? value >= 0xffffffff80000000 : value <= 0xffffffff;
  if (!fits) damaged(field, "it is no number of 32 bits");
  return static_cast<std::uint32_t>(value);
}

std::string text(ByteView content) { return {content.begin(), content.end()}; }
Bytes copy(ByteView content) { return {content.begin(), content.end()}; }

std::vector<PolicyStatement> statements(Reader list, const char* field) {
  std::vector<PolicyStatement> all;
  while (!list.at_end()) {
    if (all.size() == kMostStatements) damaged(field, "it has more than 64 statements");
    Reader statement = list.sequence(field);
    std::optional<Reader> code = statement.optional(0, field);
    std::optional<Reader> parameters = statement.optional(1, field);
    if (!code || !parameters) damaged(field, "a statement lacks its command");
    statement.end(field);
    all.push_back(
        {number(only(code, kInteger, field), field), copy(only(parameters, kOctetString, field))});
  }
  return all;
}

std::vector<NamedPolicy> named_policies(Reader list) {
  constexpr char kField[] = "authPolicy";
  std::vector<NamedPolicy> all;
  while (!list.at_end()) {
    if (all.size() == kMostStatements) damaged(kField, "it has more than 64 policies");
    Reader entry = list.sequence(kField);
    NamedPolicy policy;
    if (std::optional<Reader> name = entry.optional(0, kField))
      policy.name = text(only(name, kUtf8String, kField));
    std::optional<Reader> body = entry.optional(1, kField);
    if (!body) damaged(kField, "a policy has no statements");
    policy.statements = statements(body->sequence(kField), kField);
    body->end(kField);
    entry.end(kField);
    all.push_back(std::move(policy));
  }
  return all;
}

// The one SEQUENCE in an EXPLICIT field.
Reader list_in(std::optional<Reader>& field, const char* name) {
  return Reader(only(field, kSequence, name));
}

void set_parent(Tss2Key& key, std::uint32_t parent) {
  key.parent = parent == 0 ? TPM2_RH_OWNER : parent;
  const bool hierarchy = key.parent == TPM2_RH_OWNER || key.parent == TPM2_RH_NULL ||
                         key.parent == TPM2_RH_ENDORSEMENT || key.parent == TPM2_RH_PLATFORM;
  if (!hierarchy && (key.parent >> TPM2_HR_SHIFT) != TPM2_HT_PERSISTENT)
    damaged("parent", "it is neither a hierarchy nor a persistent handle");
}

void set_public(Tss2Key& key, ByteView content) {
  const std::optional<TPM2B_PUBLIC> area = unmarshal_public(content);
  if (!area) damaged("pubkey", "it is no TPM2B_PUBLIC");
  key.public_area = *area;
}

void set_private(Tss2Key& key, ByteView content) {
  std::size_t size = 0;
  const bool whole = content.size() > 2 &&
                     Tss2_MU_TPM2B_PRIVATE_Unmarshal(content.data(), content.size(), &size,
                                                     &key.private_area) == TSS2_RC_SUCCESS &&
                     size == content.size();
  if (!whole) damaged("privkey", "it is no TPM2B_PRIVATE");
}

Tss2Key::Kind kind_of(ByteView oid) {
  if (std::ranges::equal(oid, kLoadableOid)) return Tss2Key::Kind::kLoadable;
  if (std::ranges::equal(oid, kImportableOid)) return Tss2Key::Kind::kImportable;
  if (std::ranges::equal(oid, kSealedOid)) return Tss2Key::Kind::kSealed;
  throw Error(Reason::kBadReference,
              "TSS2 PRIVATE KEY: type: 0x" +
                  core::to_hex(oid.first(std::min<std::size_t>(oid.size(), 16))) +
                  " is none of the types of key that draft-bottomley-tpm2-keys has; write the key "
                  "again with a tool of today");
}

// The form that openssl_tpm2_engine wrote before the draft.
void read_old(Reader& fields, Tss2Key& key) {
  if (auto parent = fields.optional(1, "parent"))
    set_parent(key, number(only(parent, kInteger, "parent"), "parent"));
  auto area = fields.optional(2, "pubkey");
  if (!area) damaged("pubkey", "it is missing");
  set_public(key, only(area, kOctetString, "pubkey"));
  if (auto policy = fields.optional(3, "policy"))
    key.policy = statements(list_in(policy, "policy"), "policy");
}

void read_fields(Reader& fields, Tss2Key& key) {
  if (auto policy = fields.optional(1, "policy"))
    key.policy = statements(list_in(policy, "policy"), "policy");
  if (auto secret = fields.optional(2, "secret"))
    key.secret = copy(only(secret, kOctetString, "secret"));
  if (auto policies = fields.optional(3, "authPolicy"))
    key.auth_policy = named_policies(list_in(policies, "authPolicy"));
  if (auto description = fields.optional(4, "description"))
    key.description = text(only(description, kUtf8String, "description"));
  if (auto rsa = fields.optional(5, "rsaParent"))
    key.rsa_parent = boolean(only(rsa, kBoolean, "rsaParent"), "rsaParent");
  if (auto name = fields.optional(6, "parentName"))
    key.parent_name = copy(only(name, kOctetString, "parentName"));
  set_parent(key, number(fields.take(kInteger, "parent"), "parent"));
  set_public(key, fields.take(kOctetString, "pubkey"));
}

// Writes DER from the inside out.
Bytes element(int tag, ByteView content) {
  Bytes out{static_cast<std::uint8_t>(tag)};
  const std::size_t size = content.size();
  if (size >= 0x10000)
    throw Error(Reason::kInternal,
                "TSS2 PRIVATE KEY: a field is too long; this is a mistake of "
                "the program");
  if (size >= 0x80) out.push_back(size >= 0x100 ? 0x82 : 0x81);
  if (size >= 0x100) out.push_back(static_cast<std::uint8_t>(size >> 8));
  out.push_back(static_cast<std::uint8_t>(size & 0xff));
  out.insert(out.end(), content.begin(), content.end());
  return out;
}

constexpr int kSequenceTag = V_ASN1_CONSTRUCTED | V_ASN1_SEQUENCE;

Bytes in_field(int number, ByteView content) {
  return element(V_ASN1_CONTEXT_SPECIFIC | V_ASN1_CONSTRUCTED | number, content);
}

Bytes integer(std::uint32_t value) {
  Bytes content;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto byte = static_cast<std::uint8_t>(value >> shift);
    if (byte != 0 || !content.empty() || shift == 0) content.push_back(byte);
  }
  if ((content[0] & 0x80) != 0) content.insert(content.begin(), 0);  // else it would be negative
  return element(V_ASN1_INTEGER, content);
}

void append(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }

Bytes list_of(const std::vector<PolicyStatement>& policy) {
  Bytes all;
  for (const PolicyStatement& statement : policy) {
    Bytes body = in_field(0, integer(statement.command));
    append(body, in_field(1, element(V_ASN1_OCTET_STRING, statement.parameters)));
    append(all, element(kSequenceTag, body));
  }
  return element(kSequenceTag, all);
}

Bytes list_of(const std::vector<NamedPolicy>& policies) {
  Bytes all;
  for (const NamedPolicy& policy : policies) {
    Bytes body;
    if (!policy.name.empty())
      body = in_field(0, element(V_ASN1_UTF8STRING, core::as_bytes(policy.name)));
    append(body, in_field(1, list_of(policy.statements)));
    append(all, element(kSequenceTag, body));
  }
  return element(kSequenceTag, all);
}

Bytes marshal_private(const TPM2B_PRIVATE& area) {
  Bytes bytes(sizeof area + 2);
  std::size_t size = 0;
  if (Tss2_MU_TPM2B_PRIVATE_Marshal(&area, bytes.data(), bytes.size(), &size) != TSS2_RC_SUCCESS)
    throw Error(Reason::kInternal,
                "Tss2_MU_TPM2B_PRIVATE_Marshal: the private area has no form; this is a "
                "mistake of the program");
  bytes.resize(size);
  return bytes;
}

ByteView oid_of(Tss2Key::Kind kind) {
  switch (kind) {
    case Tss2Key::Kind::kImportable:
      return kImportableOid;
    case Tss2Key::Kind::kSealed:
      return kSealedOid;
    case Tss2Key::Kind::kLoadable:
      break;
  }
  return kLoadableOid;
}

constexpr std::array<std::uint8_t, 3> kTrue = {V_ASN1_BOOLEAN, 1, 0xff};
constexpr std::array<std::uint8_t, 3> kFalse = {V_ASN1_BOOLEAN, 1, 0x00};

}  // namespace

Tss2Key decode_tss2(ByteView der) {
  if (der.size() > kLongestFile) damaged("SEQUENCE", "it has more than 16 KiB");
  Reader whole(der);
  Reader fields = whole.sequence("SEQUENCE");
  whole.end("SEQUENCE");
  Tss2Key key;
  const ByteView oid = fields.take(kOid, "type");
  const bool old = std::ranges::equal(oid, kOldLoadableOid);
  if (!old) key.kind = kind_of(oid);
  if (auto empty = fields.optional(0, "emptyAuth"))
    key.empty_auth = boolean(only(empty, kBoolean, "emptyAuth"), "emptyAuth");
  if (old)
    read_old(fields, key);
  else
    read_fields(fields, key);
  set_private(key, fields.take(kOctetString, "privkey"));
  fields.end("privkey");
  return key;
}

Bytes encode_tss2(const Tss2Key& key) {
  Bytes body = element(V_ASN1_OBJECT, oid_of(key.kind));
  // Always, since tpm2-openssl takes one that is absent for TRUE.
  append(body, in_field(0, key.empty_auth ? kTrue : kFalse));
  if (!key.policy.empty()) append(body, in_field(1, list_of(key.policy)));
  if (!key.secret.empty()) append(body, in_field(2, element(V_ASN1_OCTET_STRING, key.secret)));
  if (!key.auth_policy.empty()) append(body, in_field(3, list_of(key.auth_policy)));
  if (!key.description.empty())
    append(body, in_field(4, element(V_ASN1_UTF8STRING, core::as_bytes(key.description))));
  if (key.rsa_parent) append(body, in_field(5, kTrue));
  if (!key.parent_name.empty())
    append(body, in_field(6, element(V_ASN1_OCTET_STRING, key.parent_name)));
  append(body, integer(key.parent));
  append(body, element(V_ASN1_OCTET_STRING, marshal_public(key.public_area)));
  append(body, element(V_ASN1_OCTET_STRING, marshal_private(key.private_area)));
  return element(kSequenceTag, body);
}

void require_usable(const Tss2Key& key) {
  const auto refuse = [](const char* what, const char* next) {
    throw Error(Reason::kUnsupported, std::string("TSS2 PRIVATE KEY: ") + what + "; " + next);
  };
  if (key.kind == Tss2Key::Kind::kSealed)
    refuse("it is sealed data (2.23.133.10.1.5) and no key",
           "unseal it with tpm2_unseal, or name a file with a key");
  if (key.kind != Tss2Key::Kind::kImportable) return;
  const TPMA_OBJECT attributes = key.public_area.publicArea.objectAttributes;
  if ((attributes & (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT)) != 0)
    refuse(
        "it is an importable key (2.23.133.10.1.4), and its attributes (fixedTPM, fixedParent) "
        "keep it where it was made",
        "duplicate a key that was made without them");
  if ((attributes & TPMA_OBJECT_ENCRYPTEDDUPLICATION) != 0)
    refuse(
        "it is an importable key (2.23.133.10.1.4) that wants an inner wrapper "
        "(encryptedDuplication), whose key the file does not have",
        "import it with tpm2_import, and name its handle");
}

TPM2B_ENCRYPTED_SECRET seed_of(const Tss2Key& key) {
  TPM2B_ENCRYPTED_SECRET seed{};
  if (key.kind != Tss2Key::Kind::kImportable) return seed;
  std::size_t size = 0;
  const bool whole = key.secret.size() > 2 &&
                     Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(key.secret.data(), key.secret.size(),
                                                              &size, &seed) == TSS2_RC_SUCCESS &&
                     size == key.secret.size();
  if (!whole) damaged("secret", "it is no TPM2B_ENCRYPTED_SECRET");
  return seed;
}

}  // namespace hwid::tpm2
