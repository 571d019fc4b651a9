#include "provider/tpm2/key_file.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <tss2/tss2_mu.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "provider/core/error.h"
#include "provider/core/key_reference.h"
#include "provider/core/libcrypto.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;

namespace {

constexpr std::size_t kLongestFile = 65536;

class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const noexcept { return value_; }

 private:
  int value_;
};

std::optional<Bytes> der_in_pem(ByteView content) {
  if (content.empty()) return std::nullopt;  // libcrypto makes no BIO of nothing
  const core::ErrorMark mark;
  const core::Bio bio(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  if (!bio) throw std::bad_alloc();
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  std::optional<Bytes> der;
  while (!der && PEM_read_bio(bio.get(), &label, &header, &data, &size) == 1) {
    if (core::is_tss2_label(label)) der.emplace(data, data + size);
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  }
  return der;
}

// IESYS_RESOURCE of tpm2-tss: handle, TPM2B_NAME, type of the resource, and its public area.
std::optional<SavedHandle> saved_handle(ByteView content) {
  constexpr std::uint32_t kKey = 1;
  constexpr std::uint32_t kNvIndex = 2;
  SavedHandle saved;
  TPM2B_NAME name{};
  UINT32 type = 0;
  std::size_t at = 0;
  if (Tss2_MU_UINT32_Unmarshal(content.data(), content.size(), &at, &saved.handle) !=
          TSS2_RC_SUCCESS ||
      Tss2_MU_TPM2B_NAME_Unmarshal(content.data(), content.size(), &at, &name) != TSS2_RC_SUCCESS ||
      Tss2_MU_UINT32_Unmarshal(content.data(), content.size(), &at, &type) != TSS2_RC_SUCCESS)
    return std::nullopt;
  if (type == kNvIndex && saved.handle >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX)
    throw Error(Reason::kUnsupported,
                "the file names an NV index; write tpm2:nv=INDEX instead of its file");
  const std::optional<TPM2B_PUBLIC> area = unmarshal_public(content.subspan(at));
  const std::uint32_t range = saved.handle >> TPM2_HR_SHIFT;
  if (type != kKey || !area || (range != TPM2_HT_PERSISTENT && range != TPM2_HT_TRANSIENT))
    return std::nullopt;
  saved.name.assign(name.name, name.name + name.size);
  saved.public_area = *area;
  return saved;
}

}  // namespace

Bytes read_whole(const std::string& what, const std::string& path) {
  const auto unreadable = [&](const std::string& why) {
    throw Error(Reason::kBadReference,
                what + " " + path + ": " + why + "; name a file that this program may read");
  };
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) unreadable(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) unreadable("it is no regular file");
  Bytes content(kLongestFile + 1);
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = read(file.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) unreadable(std::strerror(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kLongestFile) unreadable("it has more than 64 KiB");
  content.resize(size);
  return content;
}

KeyFile parse_key_file(ByteView content) {
  if (const std::optional<Bytes> der = der_in_pem(content)) return decode_tss2(*der);
  constexpr std::uint8_t kSequence = 0x30;
  if (!content.empty() && content[0] == kSequence) return decode_tss2(content);
  if (std::optional<SavedHandle> saved = saved_handle(content)) return *std::move(saved);
  throw Error(Reason::kBadReference,
              "it holds no TSS2 PRIVATE KEY and no saved handle; write one with `openssl genpkey` "
              "or `tpm2_encodeobject`");
}

KeyFile read_key_file(const std::string& path) {
  const Bytes content = read_whole("key file", path);
  try {
    return parse_key_file(content);
  } catch (const Error& error) {
    throw Error(error.reason, "key file " + path + ": " + error.what(), error.where);
  }
}

}  // namespace hwid::tpm2
