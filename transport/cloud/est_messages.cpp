#include "transport/cloud/est_messages.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <new>

namespace hwid::transport::est {

namespace {

constexpr int kMostCertificates = 64;
constexpr int kMostAttributes = 64;

using Pkcs7Ptr = std::unique_ptr<PKCS7, OpensslDelete<PKCS7_free>>;
using AttributePtr = std::unique_ptr<X509_ATTRIBUTE, OpensslDelete<X509_ATTRIBUTE_free>>;

struct SequenceDelete {
  void operator()(ASN1_SEQUENCE_ANY* items) const noexcept {
    sk_ASN1_TYPE_pop_free(items, ASN1_TYPE_free);
  }
};
using SequencePtr = std::unique_ptr<ASN1_SEQUENCE_ANY, SequenceDelete>;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The whole of `der` as one object, by the d2i function of its type; null where it is none.
template <typename Owner, typename Decode>
Owner decode(std::string_view der, Decode d2i) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  Owner object(d2i(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (at != end) object.reset();
  return object;
}

std::string_view bytes_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string name_of(const ASN1_OBJECT* object) {
  const int nid = OBJ_obj2nid(object);
  if (nid != NID_undef) return OBJ_nid2sn(nid);
  char digits[128] = "";
  OBJ_obj2txt(digits, sizeof digits, object, 1);
  return digits;
}

// One item of CsrAttrs is an object identifier, or an attribute: an identifier and its values.
class Reader {
 public:
  void take(const ASN1_TYPE* item) {
    if (item->type == V_ASN1_OBJECT) return take_identifier(item->value.object);
    if (item->type != V_ASN1_SEQUENCE)
      throw Garbage("an item is neither an object identifier nor an attribute");
    const auto attribute = decode<AttributePtr>(bytes_of(item->value.sequence), d2i_X509_ATTRIBUTE);
    if (!attribute) throw Garbage("an attribute is broken");
    take_attribute(attribute.get());
  }

  CsrAttributes result() && { return std::move(found_); }

 private:
  void take_identifier(const ASN1_OBJECT* object) {
    const int nid = OBJ_obj2nid(object);
    int digest = NID_undef;
    int key = NID_undef;
    if (nid == NID_pkcs9_challengePassword) {
      found_.challenge_password = true;
    } else if (nid == NID_rsaEncryption || nid == NID_X9_62_id_ecPublicKey) {
      found_.key_type = nid == NID_rsaEncryption ? "RSA" : "EC";
    } else if (nid != NID_undef && OBJ_find_sigid_algs(nid, &digest, &key) == 1) {
      if (digest != NID_undef) found_.digest = OBJ_nid2sn(digest);
    } else if (EVP_get_digestbyname(OBJ_nid2sn(nid)) != nullptr) {
      found_.digest = OBJ_nid2sn(nid);
    } else {
      found_.others.push_back(name_of(object));
    }
  }

  void take_attribute(X509_ATTRIBUTE* attribute) {
    const ASN1_OBJECT* const object = X509_ATTRIBUTE_get0_object(attribute);
    const int count = X509_ATTRIBUTE_count(attribute);
    if (count > kMostAttributes) throw Garbage("an attribute has too many values");
    const int nid = OBJ_obj2nid(object);
    const bool is_request = nid == NID_ext_req || nid == NID_ms_ext_req;
    if (!is_request) take_identifier(object);
    for (int i = 0; i < count; ++i) {
      const ASN1_TYPE* const value = X509_ATTRIBUTE_get0_type(attribute, i);
      if (is_request)
        take_extensions(value);
      else if (nid == NID_X9_62_id_ecPublicKey && value->type == V_ASN1_OBJECT)
        found_.group = name_of(value->value.object);
      else if (nid == NID_rsaEncryption && value->type == V_ASN1_INTEGER)
        found_.rsa_bits = bits_in(value->value.integer);
    }
  }

  // The identifier alone (RFC 7030), or extensions as a request has them (RFC 9908).
  void take_extensions(const ASN1_TYPE* value) {
    if (value->type == V_ASN1_OBJECT)
      return found_.extensions.push_back(name_of(value->value.object));
    if (value->type != V_ASN1_SEQUENCE) throw Garbage("extensionRequest holds no extensions");
    struct Delete {
      void operator()(X509_EXTENSIONS* list) const noexcept {
        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
      }
    };
    const auto list = decode<std::unique_ptr<X509_EXTENSIONS, Delete>>(
        bytes_of(value->value.sequence), d2i_X509_EXTENSIONS);
    if (!list || sk_X509_EXTENSION_num(list.get()) > kMostAttributes)
      throw Garbage("extensionRequest is broken");
    for (int i = 0; i < sk_X509_EXTENSION_num(list.get()); ++i)
      found_.extensions.push_back(
          name_of(X509_EXTENSION_get_object(sk_X509_EXTENSION_value(list.get(), i))));
  }

  static int bits_in(const ASN1_INTEGER* number) {
    constexpr std::int64_t kMostBits = 65536;
    std::int64_t bits = 0;
    if (ASN1_INTEGER_get_int64(&bits, number) != 1 || bits < 1 || bits > kMostBits)
      throw Garbage("the length of an RSA key is no sane number");
    return static_cast<int>(bits);
  }

  CsrAttributes found_;
};

}  // namespace

std::string from_base64(std::string_view text) {
  std::string packed;
  packed.reserve(text.size());
  std::copy_if(text.begin(), text.end(), std::back_inserter(packed),
               [](char c) { return !is_blank(c); });
  if (packed.empty()) throw Garbage("it is empty");
  const std::size_t padding = packed.size() - (packed.find_last_not_of('=') + 1);
  const bool is_alphabet =
      packed.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") >=
      packed.size() - padding;
  if (!is_alphabet || padding > 2 || packed.size() % 4 != 0 || packed.size() > INT_MAX)
    throw Garbage("it is not base64, or not all of it came");
  std::string bytes(packed.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(packed.data()),
                                   static_cast<int>(packed.size()));
  if (size < 0) throw Garbage("it is not base64");
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

std::vector<X509Ptr> certificates_in(const std::string& body) {
  const auto message = decode<Pkcs7Ptr>(from_base64(body), d2i_PKCS7);
  if (!message) throw Garbage("it is base64, but of no PKCS#7 message");
  if (PKCS7_type_is_signed(message.get()) == 0 || message->d.sign == nullptr)
    throw Garbage("it is a PKCS#7 message, but not SignedData (certs-only)");
  if (sk_PKCS7_SIGNER_INFO_num(message->d.sign->signer_info) > 0)
    throw Garbage("somebody has signed the message, which certs-only is not");
  const STACK_OF(X509)* const list = message->d.sign->cert;
  if (sk_X509_num(list) < 1) throw Garbage("there is no certificate in it");
  if (sk_X509_num(list) > kMostCertificates)
    throw Garbage("there are more than " + std::to_string(kMostCertificates) +
                  " certificates in it");
  std::vector<X509Ptr> found;
  for (int i = 0; i < sk_X509_num(list); ++i) {
    X509* const certificate = sk_X509_value(list, i);
    if (X509_up_ref(certificate) != 1) throw std::bad_alloc();
    found.emplace_back(certificate);
  }
  return found;
}

CsrAttributes csr_attributes_in(const std::string& body) {
  const auto items = decode<SequencePtr>(from_base64(body), d2i_ASN1_SEQUENCE_ANY);
  if (!items) throw Garbage("it is base64, but of no CsrAttrs");
  if (sk_ASN1_TYPE_num(items.get()) > kMostAttributes) throw Garbage("there are too many items");
  Reader reader;
  for (int i = 0; i < sk_ASN1_TYPE_num(items.get()); ++i)
    reader.take(sk_ASN1_TYPE_value(items.get(), i));
  return std::move(reader).result();
}

}  // namespace hwid::transport::est
