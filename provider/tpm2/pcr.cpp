#include "provider/tpm2/pcr.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "provider/tpm2/errors.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;

namespace {

constexpr unsigned kPcrs = 24;  // of the PC Client profile, which all have
constexpr std::uint8_t kSelectSize = kPcrs / 8;

struct BankRow {
  TPMI_ALG_HASH bank;
  const char* name;  // as tpm2-tools writes it
};
constexpr std::array<BankRow, 8> kBanks = {{{TPM2_ALG_SHA1, "sha1"},
                                            {TPM2_ALG_SHA256, "sha256"},
                                            {TPM2_ALG_SHA384, "sha384"},
                                            {TPM2_ALG_SHA512, "sha512"},
                                            {TPM2_ALG_SM3_256, "sm3_256"},
                                            {TPM2_ALG_SHA3_256, "sha3_256"},
                                            {TPM2_ALG_SHA3_384, "sha3_384"},
                                            {TPM2_ALG_SHA3_512, "sha3_512"}}};

// Adds one PCR, in the bank's place of the list; false: the list is full, or it is there.
bool add_pcr(TPML_PCR_SELECTION& pcrs, TPMI_ALG_HASH bank, unsigned pcr) {
  TPMS_PCR_SELECTION* const begin = pcrs.pcrSelections;
  TPMS_PCR_SELECTION* const end = begin + pcrs.count;
  TPMS_PCR_SELECTION* found = std::find_if(
      begin, end, [&](const TPMS_PCR_SELECTION& selection) { return selection.hash == bank; });
  if (found == end) {
    if (pcrs.count == TPM2_NUM_PCR_BANKS) return false;
    ++pcrs.count;
    *found = {bank, kSelectSize, {}};
  }
  BYTE& byte = found->pcrSelect[pcr / 8];
  const auto bit = static_cast<BYTE>(1U << pcr % 8);
  if ((byte & bit) != 0) return false;
  byte |= bit;
  return true;
}

// "0,7", or "7=HEX", of one bank.
bool add_written(WrittenPcrs& written, TPMI_ALG_HASH bank, std::string_view list) {
  const std::size_t equals = list.find('=');
  std::optional<Bytes> value;
  if (equals != std::string_view::npos) {
    value = parse_hex(list.substr(equals + 1));
    if (!value || value->size() != hash_size(bank)) return false;
    list = list.substr(0, equals);
    if (list.find(',') != std::string_view::npos) return false;
  }
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    unsigned pcr = kPcrs;
    const auto [stop, error] = std::from_chars(list.data() + at, list.data() + end, pcr);
    if (error != std::errc() || stop != list.data() + end || pcr >= kPcrs) return false;
    if (!add_pcr(written.selection, bank, pcr)) return false;
    if (value) written.values.push_back({bank, pcr, *value});
    at = end + 1;
  }
  return true;
}

}  // namespace

void each_pcr(const TPML_PCR_SELECTION& pcrs,
              const std::function<void(TPMI_ALG_HASH, unsigned)>& see) {
  for (std::uint32_t i = 0; i < pcrs.count && i < TPM2_NUM_PCR_BANKS; ++i) {
    const TPMS_PCR_SELECTION& bank = pcrs.pcrSelections[i];
    for (unsigned pcr = 0; pcr < bank.sizeofSelect * 8U && pcr < TPM2_PCR_SELECT_MAX * 8U; ++pcr) {
      if ((bank.pcrSelect[pcr / 8] >> pcr % 8 & 1) != 0) see(bank.hash, pcr);
    }
  }
}

std::size_t selected_pcrs(const TPML_PCR_SELECTION& pcrs) {
  std::size_t count = 0;
  each_pcr(pcrs, [&](TPMI_ALG_HASH, unsigned) { ++count; });
  return count;
}

bool take_pcr(TPML_PCR_SELECTION& pcrs, TPMI_ALG_HASH bank, unsigned pcr) noexcept {
  if (pcr >= TPM2_PCR_SELECT_MAX * 8U) return false;
  for (std::uint32_t i = 0; i < pcrs.count && i < TPM2_NUM_PCR_BANKS; ++i) {
    TPMS_PCR_SELECTION& selection = pcrs.pcrSelections[i];
    const auto bit = static_cast<BYTE>(1U << pcr % 8);
    if (selection.hash != bank || (selection.pcrSelect[pcr / 8] & bit) == 0) continue;
    selection.pcrSelect[pcr / 8] &= static_cast<BYTE>(~bit);
    return true;
  }
  return false;
}

std::optional<WrittenPcrs> parse_pcrs(const std::string& text) {
  WrittenPcrs written;
  std::string blanks = text;
  std::ranges::replace(blanks, '+', ' ');
  std::istringstream words(blanks);
  for (std::string word; words >> word;) {
    const std::size_t colon = word.find(':');
    const auto* const bank = std::ranges::find(kBanks, word.substr(0, colon), &BankRow::name);
    if (colon == std::string::npos || bank == kBanks.end() ||
        !add_written(written, bank->bank, std::string_view(word).substr(colon + 1)))
      return std::nullopt;
  }
  const std::size_t count = selected_pcrs(written.selection);
  if (count == 0 || (!written.values.empty() && written.values.size() != count))
    return std::nullopt;
  std::vector<PcrValue> ordered;
  each_pcr(written.selection, [&](TPMI_ALG_HASH bank, unsigned pcr) {
    for (const PcrValue& value : written.values) {
      if (value.bank == bank && value.pcr == pcr) ordered.push_back(value);
    }
  });
  written.values = std::move(ordered);
  return written;
}

std::string bank_text(TPMI_ALG_HASH bank) {
  const auto* const row = std::ranges::find(kBanks, bank, &BankRow::bank);
  return row != kBanks.end() ? row->name : hex(bank);
}

std::string values_text(const std::vector<PcrValue>& values) {
  std::string text;
  for (const PcrValue& value : values)
    text += (text.empty() ? "" : " ") + bank_text(value.bank) + ":" + std::to_string(value.pcr) +
            "=" + core::to_hex(value.value);
  return text;
}

std::string pcrs_text(const TPML_PCR_SELECTION& pcrs) {
  std::string text;
  std::optional<TPMI_ALG_HASH> last;
  each_pcr(pcrs, [&](TPMI_ALG_HASH bank, unsigned pcr) {
    if (last != bank) text += (text.empty() ? "" : "+") + bank_text(bank) + ":";
    if (last == bank) text += ",";
    last = bank;
    text += std::to_string(pcr);
  });
  return text;
}

Bytes pcr_digest(const core::Libcrypto& crypto, TPMI_ALG_HASH hash,
                 const std::vector<PcrValue>& values) {
  Bytes all;
  for (const PcrValue& value : values)
    all.insert(all.end(), value.value.begin(), value.value.end());
  return SessionCrypto(crypto, hash).hash({all});
}

std::optional<Bytes> parse_hex(std::string_view text) {
  Bytes bytes;
  if (text.size() % 2 != 0) return std::nullopt;
  for (std::size_t at = 0; at < text.size(); at += 2) {
    unsigned byte = 0;
    const char* const end = text.data() + at + 2;
    const auto [stop, error] = std::from_chars(text.data() + at, end, byte, 16);
    if (error != std::errc() || stop != end) return std::nullopt;
    bytes.push_back(static_cast<std::uint8_t>(byte));
  }
  return bytes;
}

}  // namespace hwid::tpm2
