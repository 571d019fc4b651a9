#include "tools/attest/request_evidence.h"

#include <openssl/asn1t.h>
#include <openssl/x509v3.h>

#include <limits>

#include "provider/core/error.h"
#include "tools/attest/certificates.h"
#include "tools/attest/structures.h"

namespace hwid::attest {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;

namespace {

constexpr char kTpmCertify[] = "2.23.133.20.1";  // tcg-attest-tpm-certify

using Sequence = std::unique_ptr<ASN1_SEQUENCE_ANY, decltype([](ASN1_SEQUENCE_ANY* all) {
                                   sk_ASN1_TYPE_pop_free(all, ASN1_TYPE_free);
                                 })>;
using Object = std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>>;
using ExtensionList =
    std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * all) {
                      sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
                    })>;

Object object(const char* oid) {
  Object made(OBJ_txt2obj(oid, 1));
  if (!made) throw std::bad_alloc();
  return made;
}

constexpr char kDraftName[] = "id-aa-evidence";

[[noreturn]] void damaged(const std::string& file, const char* form) {
  throw Error(Reason::kBadParameter,
              "request=" + file + ": the evidence in it (" + form +
                  ") is damaged, or there twice; have the request made anew");
}

// --- writing

class Writer {
 public:
  Writer() : parts_(sk_ASN1_TYPE_new_null()) {
    if (!parts_) throw std::bad_alloc();
  }
  Writer& oid(const char* oid) {
    push(V_ASN1_OBJECT, object(oid).release());
    return *this;
  }
  Writer& octets(ByteView bytes) { return string(V_ASN1_OCTET_STRING, bytes); }
  Writer& sequence(ByteView der) { return string(V_ASN1_SEQUENCE, der); }
  Bytes der() const {
    unsigned char* data = nullptr;
    const int size = i2d_ASN1_SEQUENCE_ANY(parts_.get(), &data);
    if (size <= 0) throw std::bad_alloc();
    Bytes bytes(data, data + size);
    OPENSSL_free(data);
    return bytes;
  }

 private:
  Writer& string(int type, ByteView bytes) {
    ASN1_STRING* const value = ASN1_STRING_type_new(type);
    if (value == nullptr ||
        ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size())) != 1) {
      ASN1_STRING_free(value);
      throw std::bad_alloc();
    }
    push(type, value);
    return *this;
  }
  void push(int type, void* value) {
    ASN1_TYPE* const part = ASN1_TYPE_new();
    if (part == nullptr) throw std::bad_alloc();
    ASN1_TYPE_set(part, type, value);
    if (sk_ASN1_TYPE_push(parts_.get(), part) <= 0) {
      ASN1_TYPE_free(part);
      throw std::bad_alloc();
    }
  }

  Sequence parts_;
};

// --- reading

class Reader {
  static constexpr int kAnyNumber = std::numeric_limits<int>::max();

 public:
  // `most`: how many parts it may have; more are damage.
  Reader(ByteView der, const std::string& file, int most = kAnyNumber) : file_(file) {
    const core::ErrorMark mark;
    const unsigned char* at = der.data();
    parts_.reset(d2i_ASN1_SEQUENCE_ANY(nullptr, &at, static_cast<long>(der.size())));
    if (!parts_ || at != der.data() + der.size() || size() > most) fail();
  }
  int size() const { return sk_ASN1_TYPE_num(parts_.get()); }
  ByteView octets(int index) const { return string(index, V_ASN1_OCTET_STRING); }
  ByteView sequence(int index) const { return string(index, V_ASN1_SEQUENCE); }
  bool is_text(int index) const { return type(index) == V_ASN1_IA5STRING; }
  bool is_oid(int index, const char* oid) const {
    const ASN1_TYPE* const part = sk_ASN1_TYPE_value(parts_.get(), index);
    return part != nullptr && part->type == V_ASN1_OBJECT &&
           OBJ_cmp(part->value.object, object(oid).get()) == 0;
  }
  // CertificateChoices, other [3] (RFC 5652, 10.2.2).
  bool is_other_certificate(int index) const {
    constexpr std::uint8_t kOther = 0xa3;
    return type(index) == V_ASN1_OTHER && string(index, V_ASN1_OTHER).front() == kOther;
  }
  core::Certificate certificate(int index) const {
    const core::ErrorMark mark;
    const ByteView der = sequence(index);
    const unsigned char* at = der.data();
    core::Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    if (!certificate || at != der.data() + der.size()) fail();
    return certificate;
  }
  [[noreturn]] void fail() const { damaged(file_, kDraftName); }

 private:
  int type(int index) const {
    const ASN1_TYPE* const part = sk_ASN1_TYPE_value(parts_.get(), index);
    return part != nullptr ? part->type : V_ASN1_UNDEF;
  }
  ByteView string(int index, int type) const {
    const ASN1_TYPE* const part = sk_ASN1_TYPE_value(parts_.get(), index);
    if (part == nullptr || part->type != type) fail();
    const ASN1_STRING* const value = part->value.asn1_string;
    return {ASN1_STRING_get0_data(value), static_cast<std::size_t>(ASN1_STRING_length(value))};
  }

  Sequence parts_;
  const std::string& file_;
};

Bytes copy(ByteView bytes) { return {bytes.begin(), bytes.end()}; }

// They stand in no order, and may be of others, too: of its CAs (a CA for AKs may have their
// purpose), or of who made another statement. Where none is an AK's, what is wrong with the first
// one says why.
Bytes ak_certificate_in(const Reader& certificates) {
  const core::ErrorMark mark;
  Bytes first;
  Bytes found;
  for (int index = 0; index < certificates.size(); ++index) {
    if (certificates.is_other_certificate(index)) continue;
    const core::Certificate each = certificates.certificate(index);
    const Bytes der = certificate_der(each.get());
    if (first.empty()) first = der;
    if (found.empty() && X509_check_ca(each.get()) == 0 && has_purpose(each.get(), kAkPurpose))
      found = der;
  }
  return found.empty() ? first : found;
}

// The one statement of a kind that is known; others say nothing here. What is there twice, or more
// than the draft has, could be read in two ways. A hint, which verifier is meant, is ignored.
Evidence parse_bundle(ByteView der, const std::string& file) {
  const Reader bundle(der, file, 2);
  const Reader statements(bundle.sequence(0), file);
  Evidence evidence;
  for (int index = 0; index < statements.size(); ++index) {
    const Reader statement(statements.sequence(index), file);
    if (!statement.is_oid(0, kTpmCertify)) continue;
    const bool has_hint = statement.size() == 3 && statement.is_text(2);
    if (evidence.certify || (statement.size() != 2 && !has_hint)) statement.fail();
    const Reader certify(statement.sequence(1), file, 3);
    evidence.certify = Statement{copy(certify.octets(0)), copy(certify.octets(1))};
    if (certify.size() < 3) continue;
    evidence.key = unmarshal_any_public(certify.octets(2));
    if (!evidence.key) certify.fail();
  }
  if (bundle.size() > 1)
    evidence.ak_certificate = ak_certificate_in(Reader(bundle.sequence(1), file));
  return evidence;
}

std::optional<Evidence> private_evidence(const X509_REQ* request, const std::string& file) {
  const core::ErrorMark mark;
  const ExtensionList extensions(X509_REQ_get_extensions(const_cast<X509_REQ*>(request)));
  if (!extensions) return std::nullopt;
  const Object oid = object(kPrivateOid);
  const int index = X509v3_get_ext_by_OBJ(extensions.get(), oid.get(), -1);
  auto* const extension = X509v3_get_ext(extensions.get(), index);  // const in OpenSSL 4
  if (extension == nullptr) return std::nullopt;
  const ASN1_OCTET_STRING* const value = X509_EXTENSION_get_data(extension);
  const unsigned char* at = ASN1_STRING_get0_data(value);
  const unsigned char* const end = at + ASN1_STRING_length(value);
  const std::unique_ptr<ASN1_UTF8STRING, core::FreeWith<ASN1_UTF8STRING_free>> text(
      d2i_ASN1_UTF8STRING(nullptr, &at, ASN1_STRING_length(value)));
  if (!text || at != end || X509v3_get_ext_by_OBJ(extensions.get(), oid.get(), index) >= 0)
    damaged(file, kPrivateOid);
  return parse_evidence(
      std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text.get())),
                  static_cast<std::size_t>(ASN1_STRING_length(text.get()))),
      file);
}

}  // namespace

std::string private_value(const Evidence& evidence) {
  const std::string json = to_text(evidence);
  const std::unique_ptr<ASN1_UTF8STRING, core::FreeWith<ASN1_UTF8STRING_free>> text(
      ASN1_UTF8STRING_new());
  unsigned char* data = nullptr;
  if (!text || ASN1_STRING_set(text.get(), json.data(), static_cast<int>(json.size())) != 1)
    throw std::bad_alloc();
  const int size = i2d_ASN1_UTF8STRING(text.get(), &data);
  if (size <= 0) throw std::bad_alloc();
  std::string der(reinterpret_cast<char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(data);
  return der;
}

std::string draft_value(const Evidence& evidence) {
  const Bytes sized = tpm2::marshal_public(evidence.key.value());
  const Bytes certify = Writer()
                            .octets(evidence.certify.value().attest)
                            .octets(evidence.certify->signature)
                            .octets(ByteView(sized).subspan(2))
                            .der();
  const Bytes statement = Writer().oid(kTpmCertify).sequence(certify).der();
  Writer bundle;
  bundle.sequence(Writer().sequence(statement).der());
  if (!evidence.ak_certificate.empty())
    bundle.sequence(Writer().sequence(evidence.ak_certificate).der());
  const Bytes der = bundle.der();
  return {der.begin(), der.end()};
}

std::optional<Evidence> evidence_in(const X509_REQ* request, const std::string& file) {
  if (std::optional<Evidence> found = private_evidence(request, file)) return found;
  const Object oid = object(kDraftOid);
  const int index = X509_REQ_get_attr_by_OBJ(request, oid.get(), -1);
  if (index < 0) return std::nullopt;
  X509_ATTRIBUTE* const attribute = X509_REQ_get_attr(request, index);
  const ASN1_TYPE* const value = X509_ATTRIBUTE_get0_type(attribute, 0);
  if (value == nullptr || value->type != V_ASN1_SEQUENCE || X509_ATTRIBUTE_count(attribute) != 1 ||
      X509_REQ_get_attr_by_OBJ(request, oid.get(), index) >= 0)
    damaged(file, kDraftName);
  const ASN1_STRING* const der = value->value.sequence;
  return parse_bundle(
      {ASN1_STRING_get0_data(der), static_cast<std::size_t>(ASN1_STRING_length(der))}, file);
}

}  // namespace hwid::attest
