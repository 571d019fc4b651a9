#include "provider/pkcs11/library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "provider/pkcs11/errors.h"

namespace hwid::pkcs11 {

using core::Error;
using core::Reason;

namespace {

[[noreturn]] void raise_not_loadable(const std::string& call, const std::string& path,
                                     const std::string& why, const std::string& next_step) {
  throw Error(Reason::kModuleNotLoadable,
              call + ": module=" + path + ": " + why + "; " + next_step);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// RTLD_LOCAL, never RTLD_DEEPBIND: that breaks programs with another malloc.
void* open_library(const std::string& file, const std::string& path) {
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  const char* const why = dlerror();
  raise_not_loadable("dlopen", path, why != nullptr ? why : "unknown error",
                     "install what it needs, or correct the path of the PKCS#11 module");
}

// The file that is mapped for a name that dlopen searched for.
std::string mapped_file(const std::string& path) {
  if (path.find('/') != std::string::npos) return path;
  link_map* map = nullptr;
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  return library != nullptr && dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : path;
}

bool copy(int from, int to) {
  struct stat status {};
  if (fstat(from, &status) != 0) return false;
  for (auto left = static_cast<std::size_t>(status.st_size); left > 0;) {
    const ssize_t copied = sendfile(to, from, nullptr, left);
    if (copied < 0 && errno == EINTR) continue;
    if (copied == 0) errno = EIO;  // the file became shorter
    if (copied <= 0) return false;
    left -= static_cast<std::size_t>(copied);
  }
  return true;
}

// The dynamic linker knows a library by its name, then by its inode: both must be new.
void* open_copy(const std::string& path) {
  const Descriptor file(open(mapped_file(path).c_str(), O_RDONLY | O_CLOEXEC));
  const Descriptor memory(memfd_create("hwid-pkcs11-module", MFD_CLOEXEC));
  if (file.get() < 0 || memory.get() < 0 || !copy(file.get(), memory.get()))
    raise_not_loadable(file.get() < 0 ? "open" : "memfd_create", path, std::strerror(errno),
                       "a forked process needs a copy of its own of this module; open keys after "
                       "the fork only, or use the TPM itself (type = tpm2)");
  std::string name = "/proc/self/fd/" + std::to_string(memory.get());
  while (dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD) != nullptr) name.insert(1, "./");
  return open_library(name, path);
}

}  // namespace

CK_FUNCTION_LIST* load_library(const std::string& path, Mapping mapping) {
  if (path.find('/') != std::string::npos && access(path.c_str(), F_OK) != 0)
    raise_not_loadable("dlopen", path, std::strerror(errno),
                       "correct the path of the PKCS#11 module (PKCS11_PROVIDER_MODULE, or module "
                       "in openssl.cnf)");
  void* const library = mapping == Mapping::own ? open_copy(path) : open_library(path, path);
  const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  if (get_list == nullptr)
    throw Error(Reason::kNotAModule,
                "dlsym: module=" + path +
                    ": is not a PKCS#11 module (it has no C_GetFunctionList); name the module of "
                    "your token");
  CK_FUNCTION_LIST* list = nullptr;
  const CK_RV rv = get_list(&list);
  if (rv != CKR_OK || list == nullptr)
    throw Error(Reason::kNotAModule, code_name(rv),
                call_text("C_GetFunctionList", rv, {{}, {}, path}) +
                    ": is not a PKCS#11 module that works; see its own log");
  return list;
}

}  // namespace hwid::pkcs11
