#include "tests/token/outcomes_world.h"

#include <dlfcn.h>
#include <openssl/pem.h>
#include <p11-kit/pkcs11.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "tests/fixture/paths.h"

namespace hwid::test::outcomes {
namespace {

struct CloseFile {
  void operator()(FILE* file) const noexcept { std::fclose(file); }
};

Certificate read_certificate(const std::string& path) {
  const std::unique_ptr<FILE, CloseFile> file(std::fopen(path.c_str(), "re"));
  Certificate found(file ? PEM_read_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!found) throw std::runtime_error("no certificate: " + path);
  return found;
}

CK_FUNCTION_LIST* softhsm() {
  void* const library = dlopen(softhsm_module().c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* list = nullptr;
  return get(&list) == CKR_OK && list->C_Initialize(nullptr) == CKR_OK ? list : nullptr;
}

CK_OBJECT_HANDLE find_public(const CK_FUNCTION_LIST& list, CK_SESSION_HANDLE session,
                             std::string label) {
  CK_OBJECT_CLASS object_class = CKO_PUBLIC_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &object_class, sizeof object_class},
                           {CKA_LABEL, label.data(), static_cast<CK_ULONG>(label.size())}};
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
  CK_ULONG count = 0;
  list.C_FindObjectsInit(session, wanted, 2);
  list.C_FindObjects(session, &object, 1, &count);
  list.C_FindObjectsFinal(session);
  return count == 1 ? object : CK_INVALID_HANDLE;
}

bool hide_publics(const CK_FUNCTION_LIST& list) {
  CK_SLOT_ID slots[8];
  CK_ULONG count = 8;
  CK_SESSION_HANDLE session = 0;
  std::string pin = SoftHsmToken::kPin;
  std::string other = "another-label";
  CK_ATTRIBUTE renamed = {CKA_LABEL, other.data(), static_cast<CK_ULONG>(other.size())};
  return list.C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK &&
         list.C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                            &session) == CKR_OK &&
         list.C_Login(session, CKU_USER, reinterpret_cast<CK_UTF8CHAR*>(pin.data()),
                      static_cast<CK_ULONG>(pin.size())) == CKR_OK &&
         list.C_SetAttributeValue(session, find_public(list, session, "ec-by-id"), &renamed, 1) ==
             CKR_OK &&
         list.C_DestroyObject(session, find_public(list, session, "ec-by-cert")) == CKR_OK;
}

}  // namespace

World::World() {
  token.use_in_this_process();
  const char* const keys[][3] = {{"rsa", "rsa:2048", "01"},
                                 {"ec", "ec:P-256", "02"},
                                 {"ec-by-id", "ec:P-256", "03"},
                                 {"ec-by-cert", "ec:P-256", "04"}};
  for (const auto& [label, type, id] : keys) {
    CertificateRequest request;
    request.common_name = label;
    const Pki::Credential issued = pki.issue(label, request, type);
    token.import_key(issued.key_file, label, id);
    certificates_[label] = read_certificate(issued.certificate_file);
  }
  token.add_certificate(pki.file("ec-by-cert.pem"), "certificate-of-it", "04");
  token.add_certificate(pki.file("rsa.pem"), "leaf", "05");
  few.import_key(pki.file("rsa.key"), "rsa", "01");
  few.add_certificate(pki.file("rsa.pem"), "leaf", "05");
  hide_public_halves();
  // So that no child has to link it anew. Nothing of it runs here.
  if (dlopen((module_dir() + "/hwid.so").c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    throw std::runtime_error(dlerror());
}

void World::hide_public_halves() const {
  const pid_t child = fork();
  if (child == 0) {
    CK_FUNCTION_LIST* const list = softhsm();
    _exit(list != nullptr && hide_publics(*list) ? 0 : 1);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0)
    throw std::runtime_error("the public halves could not be hidden");
}

// SoftHSM writes at each login and waits for the disk: in memory, where there is room.
World& world() {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  static World made;
  return made;
}

}  // namespace hwid::test::outcomes
