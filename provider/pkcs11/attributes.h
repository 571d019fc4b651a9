// The attributes of an object, read by one call as a rule.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/core/backend.h"
#include "provider/core/bytes.h"
#include "provider/core/protection.h"
#include "provider/pkcs11/session_pool.h"

namespace hwid::pkcs11 {

// Absent attributes are empty: so is what a token answers with length 0 (SoftHSM's empty
// CKA_PUBLIC_KEY_INFO). CKA_VALUE is only ever asked of certificates.
struct ObjectAttributes {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  CK_OBJECT_CLASS object_class = CK_UNAVAILABLE_INFORMATION;
  CK_KEY_TYPE key_type = CK_UNAVAILABLE_INFORMATION;
  std::string label;
  core::Bytes id;
  core::Bytes modulus;
  core::Bytes public_exponent;
  core::Bytes ec_params;
  core::Bytes ec_point;
  core::Bytes public_key_info;
  core::Bytes certificate;  // CKA_VALUE of a certificate
  core::Trust trust = core::Trust::kUnsaid;
  std::optional<bool> may_sign;
  bool always_authenticate = false;
  std::vector<CK_MECHANISM_TYPE> allowed_mechanisms;
};

// Reads `attributes` of one object into buffers of guessed size. A longer value costs one more
// call or two, if the token says that it is longer: where another attribute does not exist, SoftHSM
// says CK_UNAVAILABLE_INFORMATION of both. read_missing() asks on. Lengths are the token's word and
// bounded at 1 MiB. A module that fails for one attribute it does not know is asked for each alone.
// Used by one thread.
class AttributeReader {
 public:
  struct Item {
    CK_ATTRIBUTE_TYPE type;
    std::size_t guess;
  };
  AttributeReader(std::initializer_list<Item> items);

  // Throws what the token answers, unless some attributes could be had.
  void read(Lease& lease, CK_OBJECT_HANDLE object, const Place& place);
  // After read(): those that the object must have, where the token gave neither value nor length.
  void read_missing(Lease& lease, CK_OBJECT_HANDLE object,
                    const std::vector<CK_ATTRIBUTE_TYPE>& types, const Place& place);

  // Of the last read; empty if absent. Valid until the next.
  core::ByteView value(CK_ATTRIBUTE_TYPE type) const noexcept;
  std::optional<CK_ULONG> number(CK_ATTRIBUTE_TYPE type) const noexcept;
  std::optional<bool> flag(CK_ATTRIBUTE_TYPE type) const noexcept;

 private:
  struct Slot {
    Item item;
    core::Bytes buffer;
    std::size_t size = 0;
    bool unavailable = false;  // CK_UNAVAILABLE_INFORMATION, for one reason or another
  };
  CK_RV ask(Lease& lease, CK_OBJECT_HANDLE object, std::vector<Slot*>& slots, bool sizes_only);
  void ask_longer(Lease& lease, CK_OBJECT_HANDLE object, const Place& place);

  std::vector<Slot> slots_;
};

// All of the above but the certificate.
ObjectAttributes read_object(Lease& lease, CK_OBJECT_HANDLE object, const Place& place);

// Of a private key. What the token does not answer is unset.
core::Protection read_protection(Lease& lease, CK_OBJECT_HANDLE object, const Place& place);

// CKA_VALUE of an X.509 certificate, empty if it is of another kind, and CKA_TRUSTED; of a
// certificate in p11-kit's trust store, CKA_X_DISTRUSTED, too.
struct CertificateValue {
  core::Bytes der;
  core::Trust trust = core::Trust::kUnsaid;
};
CertificateValue read_certificate(Lease& lease, CK_OBJECT_HANDLE object, const Place& place,
                                  bool in_trust_store = false);
inline void set_certificate(ObjectAttributes& object, CertificateValue value) {
  object.certificate = std::move(value.der);
  object.trust = value.trust;
}

}  // namespace hwid::pkcs11
