#include "tests/module/lies.h"

#include <cstring>

namespace hwid::test {
namespace {

CK_ULONG wrong(Lie lie, CK_ULONG length) noexcept {
  switch (lie) {
    case Lie::kTooSmall:
      return length > 0 ? length - 1 : 0;
    case Lie::kTooLarge:
      return length + 1;
    case Lie::kHuge:
      return 0x7fffffff;
    default:
      return CK_UNAVAILABLE_INFORMATION;
  }
}

// PKCS#11 pads texts with blanks and ends none by a zero byte. Modules know better.
template <std::size_t Size>
void wrong_text(Lie lie, CK_UTF8CHAR (&text)[Size]) noexcept {
  std::size_t used = Size;
  while (used > 0 && text[used - 1] == ' ') --used;
  if (lie == Lie::kNoSerial) return;
  if (lie == Lie::kBlank) {
    std::memset(text, ' ', Size);
  } else if (lie == Lie::kFull) {
    std::memset(text + used, 'x', Size - used);
  } else if (used < Size) {
    text[used] = 0;
    std::memset(text + used + 1, 0xa5, Size - used - 1);
  }
}

}  // namespace

void tell_wrongly(const Rule& rule, CK_ULONG* length) noexcept {
  if (length != nullptr) *length = wrong(rule.lie, *length);
}

void tell_wrongly(const Rule& rule, CK_ATTRIBUTE* attributes, CK_ULONG count) noexcept {
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_ATTRIBUTE& attribute = attributes[i];
    if (rule.only_attribute && *rule.only_attribute != attribute.type) continue;
    if (attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION)
      attribute.ulValueLen = wrong(rule.lie, attribute.ulValueLen);
  }
}

void tell_wrongly(const Rule& rule, CK_INFO* info) noexcept {
  wrong_text(rule.lie, info->manufacturerID);
  wrong_text(rule.lie, info->libraryDescription);
}

void tell_wrongly(const Rule& rule, CK_SLOT_INFO* info) noexcept {
  wrong_text(rule.lie, info->slotDescription);
  wrong_text(rule.lie, info->manufacturerID);
}

void tell_wrongly(const Rule& rule, CK_TOKEN_INFO* info) noexcept {
  if (rule.lie == Lie::kNoSerial) return wrong_text(Lie::kBlank, info->serialNumber);
  wrong_text(rule.lie, info->label);
  wrong_text(rule.lie, info->manufacturerID);
  wrong_text(rule.lie, info->model);
  wrong_text(rule.lie, info->serialNumber);
}

}  // namespace hwid::test
