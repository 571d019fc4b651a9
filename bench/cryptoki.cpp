#include "bench/cryptoki.h"

#include <dlfcn.h>

#include <array>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace hwid::bench {
namespace {

using namespace std::string_view_literals;

// DigestInfo of SHA-256 (RFC 8017, 9.2, note 1).
constexpr std::string_view kSha256Info =
    "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"sv;

constexpr std::size_t kLargestSignature = 512;

const CK_FUNCTION_LIST* initialize(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  if (get == nullptr) throw std::runtime_error(path + " has no C_GetFunctionList");
  CK_FUNCTION_LIST* functions = nullptr;
  check(get(&functions), "C_GetFunctionList");
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  const CK_RV rv = functions->C_Initialize(&arguments);
  if (rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) check(rv, "C_Initialize");
  return functions;
}

CK_SLOT_ID find_slot(const CK_FUNCTION_LIST* functions, const std::string& label) {
  std::array<CK_SLOT_ID, 32> slots{};
  CK_ULONG count = slots.size();
  check(functions->C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList");
  std::string padded = label;
  padded.resize(sizeof(CK_TOKEN_INFO::label), ' ');
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_TOKEN_INFO info{};
    check(functions->C_GetTokenInfo(slots.at(i), &info), "C_GetTokenInfo");
    if (std::memcmp(info.label, padded.data(), padded.size()) == 0) return slots.at(i);
  }
  throw std::runtime_error("no token " + label);
}

}  // namespace

void check(CK_RV rv, const char* call) {
  if (rv == CKR_OK) return;
  std::ostringstream text;
  text << call << ": 0x" << std::hex << rv;
  throw std::runtime_error(text.str());
}

Token::Token(const std::string& module, const std::string& label, const std::string& pin)
    : functions_(initialize(module)),
      slot_(find_slot(functions_, label)),
      session_(open_session()) {
  std::string bytes = pin;
  const CK_RV rv = functions_->C_Login(session_, CKU_USER,
                                       reinterpret_cast<CK_UTF8CHAR*>(bytes.data()), bytes.size());
  if (rv != CKR_USER_ALREADY_LOGGED_IN) check(rv, "C_Login");
}

CK_SESSION_HANDLE Token::open_session() const {
  CK_SESSION_HANDLE session = 0;
  check(functions_->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &session),
        "C_OpenSession");
  return session;
}

CK_OBJECT_HANDLE Token::find(CK_SESSION_HANDLE session, const std::string& label) const {
  CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
  std::array<CK_ATTRIBUTE, 2> wanted{
      {{CKA_CLASS, &private_key, sizeof private_key},
       {CKA_LABEL, const_cast<char*>(label.data()), static_cast<CK_ULONG>(label.size())}}};
  std::array<CK_OBJECT_HANDLE, 2> found{};
  CK_ULONG count = 0;
  check(functions_->C_FindObjectsInit(session, wanted.data(), wanted.size()), "C_FindObjectsInit");
  check(functions_->C_FindObjects(session, found.data(), found.size(), &count), "C_FindObjects");
  check(functions_->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  if (count == 0) throw std::runtime_error("no private key " + label);
  return found[0];
}

CK_OBJECT_HANDLE Token::copy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) const {
  CK_BBOOL no = CK_FALSE;
  std::array<char, 4> label{'c', 'o', 'p', 'y'};  // so that the key's own stays unique
  std::array<CK_ATTRIBUTE, 2> changes{
      {{CKA_TOKEN, &no, sizeof no}, {CKA_LABEL, label.data(), label.size()}}};
  CK_OBJECT_HANDLE made = 0;
  check(functions_->C_CopyObject(session, key, changes.data(), changes.size(), &made),
        "C_CopyObject");
  return made;
}

void Token::finalize() const { check(functions_->C_Finalize(nullptr), "C_Finalize"); }

const char* scheme_name(Scheme scheme) {
  switch (scheme) {
    case Scheme::kRsaPkcs1:
      return "RSA-2048 PKCS#1";
    case Scheme::kRsaPss:
      return "RSA-2048 PSS";
    default:
      return "P-256";
  }
}

RawSigning::RawSigning(Scheme scheme, std::string digest)
    : mechanism_(scheme == Scheme::kRsaPkcs1 ? CKM_RSA_PKCS
                 : scheme == Scheme::kRsaPss ? CKM_RSA_PKCS_PSS
                                             : CKM_ECDSA),
      has_parameters_(scheme == Scheme::kRsaPss),
      input_(std::move(digest)) {
  if (scheme == Scheme::kRsaPkcs1) input_.insert(0, kSha256Info);
}

std::string RawSigning::sign(const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session,
                             CK_OBJECT_HANDLE key) const {
  CK_RSA_PKCS_PSS_PARAMS pss = pss_;
  CK_MECHANISM mechanism{mechanism_, nullptr, 0};
  if (has_parameters_) mechanism = {mechanism_, &pss, sizeof pss};
  std::array<CK_BYTE, kLargestSignature> signature{};
  CK_ULONG size = signature.size();
  // C_Sign takes a pointer to non-const and writes nothing.
  auto* const input = reinterpret_cast<CK_BYTE*>(const_cast<char*>(input_.data()));
  check(functions->C_SignInit(session, &mechanism, key), "C_SignInit");
  check(functions->C_Sign(session, input, input_.size(), signature.data(), &size), "C_Sign");
  return {reinterpret_cast<const char*>(signature.data()), size};
}

}  // namespace hwid::bench
