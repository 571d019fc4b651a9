#include "provider/core/key_reference.h"

#include <openssl/asn1.h>
#include <openssl/asn1t.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"

namespace hwid::core {
namespace {

constexpr std::string_view kPkcs11Description = "PKCS#11 Provider URI v1.0";
constexpr std::string_view kHwidDescription = "HWID Key Reference v1";
constexpr std::size_t kLongestUri = 4096;

using Asn1Sequence = std::unique_ptr<ASN1_SEQUENCE_ANY, decltype([](ASN1_SEQUENCE_ANY* all) {
                                       sk_ASN1_TYPE_pop_free(all, ASN1_TYPE_free);
                                     })>;

void append(ASN1_SEQUENCE_ANY* sequence, int type, std::string_view text) {
  ASN1_STRING* const string = ASN1_STRING_type_new(type);
  ASN1_TYPE* const value = ASN1_TYPE_new();
  if (string == nullptr || value == nullptr ||
      ASN1_STRING_set(string, text.data(), static_cast<int>(text.size())) != 1 ||
      sk_ASN1_TYPE_push(sequence, value) == 0) {
    ASN1_STRING_free(string);
    ASN1_TYPE_free(value);
    throw std::bad_alloc();
  }
  ASN1_TYPE_set(value, type, string);
}

std::optional<std::string> text_at(const ASN1_SEQUENCE_ANY* sequence, int index) {
  const ASN1_TYPE* const value = sk_ASN1_TYPE_value(sequence, index);
  const bool is_text = value->type == V_ASN1_UTF8STRING || value->type == V_ASN1_VISIBLESTRING ||
                       value->type == V_ASN1_PRINTABLESTRING || value->type == V_ASN1_IA5STRING;
  if (!is_text) return std::nullopt;
  const ASN1_STRING* const string = value->value.asn1_string;
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                     static_cast<std::size_t>(ASN1_STRING_length(string)));
}

}  // namespace

bool is_reference_label(std::string_view pem_label) noexcept {
  return pem_label == kPkcs11ReferenceLabel || pem_label == kHwidReferenceLabel;
}

bool is_tss2_label(std::string_view pem_label) noexcept {
  return pem_label == kTss2Label || pem_label == kOldTss2Label;
}

bool may_be_tss2(ByteView der) noexcept {
  constexpr std::array<std::uint8_t, 4> kTypes = {0x67, 0x81, 0x05, 0x0a};  // the arc 2.23.133.10
  constexpr std::size_t kLongestHeader = 8;  // of a SEQUENCE and an OBJECT IDENTIFIER
  const ByteView start = der.first(std::min(der.size(), kLongestHeader + kTypes.size()));
  return std::search(start.begin(), start.end(), kTypes.begin(), kTypes.end()) != start.end();
}

KeyReference encode_reference(const std::string& uri) {
  const bool pkcs11 = uri.starts_with("pkcs11:");
  const Asn1Sequence sequence(sk_ASN1_TYPE_new_null());
  if (!sequence) throw std::bad_alloc();
  if (pkcs11)
    append(sequence.get(), V_ASN1_VISIBLESTRING, kPkcs11Description);
  else
    append(sequence.get(), V_ASN1_UTF8STRING, kHwidDescription);
  append(sequence.get(), V_ASN1_UTF8STRING, uri);
  std::uint8_t* der = nullptr;
  const int size = i2d_ASN1_SEQUENCE_ANY(sequence.get(), &der);
  if (size <= 0) throw std::bad_alloc();
  KeyReference reference{pkcs11 ? kPkcs11ReferenceLabel : kHwidReferenceLabel,
                         Bytes(der, der + size)};
  OPENSSL_free(der);
  return reference;
}

std::optional<std::string> decode_reference(ByteView der) {
  const ErrorMark mark;
  const std::uint8_t* at = der.data();
  const Asn1Sequence sequence(d2i_ASN1_SEQUENCE_ANY(nullptr, &at, static_cast<long>(der.size())));
  if (!sequence || sk_ASN1_TYPE_num(sequence.get()) < 1) return std::nullopt;
  const std::optional<std::string> description = text_at(sequence.get(), 0);
  if (description != kPkcs11Description && description != kHwidDescription) return std::nullopt;
  const auto damaged = [](const char* why) {
    return Error(Reason::kBadReference, std::string("key reference: ") + why +
                                            "; write the file again from the key's URI");
  };
  if (sk_ASN1_TYPE_num(sequence.get()) != 2) throw damaged("it must hold a description and a URI");
  std::optional<std::string> uri = text_at(sequence.get(), 1);
  if (!uri || uri->empty()) throw damaged("it holds no URI");
  if (at != der.data() + der.size()) throw damaged("bytes follow its end");
  if (uri->size() > kLongestUri) throw damaged("its URI is longer than 4096 bytes");
  if (uri->find('\0') != std::string::npos) throw damaged("its URI holds a NUL");
  return uri;
}

}  // namespace hwid::core
