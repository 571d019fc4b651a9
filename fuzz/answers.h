// A PKCS#11 module in memory, whose answers are a fuzzer's bytes.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "fuzz/bytes_reader.h"
#include "provider/core/bytes.h"
#include "provider/pkcs11/cryptoki.h"

namespace hwid::fuzz {

// How an attribute is answered. None writes behind the caller's buffer: no caller could help that.
enum class AttributeLie : std::uint8_t {
  kNone,
  kUnavailable,    // CKR_ATTRIBUTE_SENSITIVE and no length
  kLengthIfShort,  // the length, where v2.40 wants CK_UNAVAILABLE_INFORMATION
  kClaimsMore,     // CKR_OK with a length beyond what was written, and maybe beyond the buffer
  kClaimsLess,     // CKR_OK with a length below what was written
  kGrows,          // longer each time it is asked for
  kUnknownAtAll,   // the whole call fails with CKR_GENERAL_ERROR
  kCount,
};

struct FuzzAttribute {
  CK_ATTRIBUTE_TYPE type = 0;
  AttributeLie lie = AttributeLie::kNone;
  CK_ULONG claimed = 0;
  core::Bytes value;
};

struct FuzzObject {
  std::vector<FuzzAttribute> attributes;

  const FuzzAttribute* find(CK_ATTRIBUTE_TYPE type) const noexcept;
  core::ByteView value(CK_ATTRIBUTE_TYPE type) const noexcept;
  bool is_honest() const noexcept;
};

enum class ListLie : std::uint8_t {
  kNone,
  kClaimsMore,  // CKR_OK with more entries than there is room for
  kTooSmall,    // CKR_BUFFER_TOO_SMALL for ever
  kHuge,        // CKR_BUFFER_TOO_SMALL with a huge count
  kEmpty,
  kEndless,        // of objects: each batch is full
  kUnknown,        // of objects: handles that do not exist
  kTwice,          // of objects
  kIgnoresWanted,  // of objects: all of them, whatever was looked for
  kCount,
};

inline constexpr std::size_t kFixedLabels = 7;

// What one input makes of the module. One thread.
class Answers {
 public:
  // The input in use: the module's functions know no other way to it.
  static Answers& current() noexcept;
  static CK_FUNCTION_LIST* functions();

  // `fixed_label`: the label is one of few, since the process remembers every token by its own.
  void read(BytesReader& input, bool fixed_label);
  void take_away() noexcept { gone_ = true; }  // the token, and every session

  // Every call does what it should, whatever values the objects have.
  bool keeps_to_the_standard() const noexcept;
  std::size_t open_sessions() const noexcept { return sessions_.size(); }
  std::size_t active_searches() const noexcept { return searches_.size(); }
  CK_TOKEN_INFO info(CK_SLOT_ID slot) const noexcept;
  // What C_Sign says of a signature's size, where there is room for `size` bytes.
  CK_ULONG claimed_signature(CK_ULONG size) const noexcept {
    return signature_lie_ < 0x80 ? size : signature_lie_ - 0x80U;
  }

  std::vector<FuzzObject> objects;

 private:
  friend struct Functions;
  CK_RV next() noexcept;  // what the plan has for this call
  CK_RV list(const std::vector<CK_ULONG>& all, ListLie lie, CK_ULONG* out, CK_ULONG* count) const;
  CK_RV attribute(FuzzAttribute& known, CK_ATTRIBUTE& asked);
  bool matches(const FuzzObject& object, const CK_ATTRIBUTE* wanted, CK_ULONG count) const;
  FuzzObject* object(CK_OBJECT_HANDLE handle);

  bool gone_ = false;
  std::vector<CK_RV> plan_;
  std::size_t calls_ = 0;
  CK_TOKEN_INFO info_{};
  bool fixed_label_ = false;
  std::uint8_t label_ = 0;
  std::vector<CK_ULONG> slots_, mechanisms_;
  ListLie slots_lie_ = ListLie::kNone, mechanisms_lie_ = ListLie::kNone,
          objects_lie_ = ListLie::kNone;
  CK_STATE state_ = 0;
  std::uint8_t signature_lie_ = 0;
  std::set<CK_SESSION_HANDLE> sessions_, searches_;
  CK_SESSION_HANDLE last_session_ = 0;
  std::vector<CK_ULONG> found_;
};

}  // namespace hwid::fuzz
