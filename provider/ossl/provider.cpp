#include "provider/ossl/provider.h"

#include <openssl/core_names.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "provider/core/process.h"
#include "provider/ossl/tables.h"

namespace hwid::ossl {
namespace {

using core::Reason;

// Answered by every instance of ours, whatever its section is called.
constexpr char kIsHwid[] = "hwid-instance";

// PKCS11_PROVIDER_DEBUG is `file:PATH` and `level:N`, in any order, with the most at any N above 0.
std::string log_setting_of_peer(const std::string& debug) {
  if (debug.empty()) return "off";
  std::string level = "info";
  std::string sink = "stderr";
  std::istringstream options(debug);
  for (std::string option; std::getline(options, option, ',');) {
    if (!option.starts_with("level:"))
      sink = option;
    else
      level = option == "level:0" ? "info" : "debug";
  }
  return level + ":" + sink;
}

std::unique_ptr<core::Log> make_log(const std::optional<std::string>& setting) {
  std::string from = "HWID_LOG";
  try {
    const char* const variable = secure_getenv("HWID_LOG");
    if (variable != nullptr) return std::make_unique<core::Log>(variable);
    from = "openssl.cnf";
    if (setting) return std::make_unique<core::Log>(*setting);
    from = "PKCS11_PROVIDER_DEBUG";
    const char* const peers = secure_getenv("PKCS11_PROVIDER_DEBUG");
    if (peers != nullptr) return std::make_unique<core::Log>(log_setting_of_peer(peers));
  } catch (const core::Error& error) {
    // A wrong value must not stop the programs that use no key of ours.
    auto log = std::make_unique<core::Log>("warn:stderr");
    log->write(core::LogLevel::kWarn, from + ": " + error.what());
    return log;
  }
  return std::make_unique<core::Log>();
}

std::unique_ptr<core::AuditSink> make_audit(const std::optional<std::string>& setting,
                                            const core::Log& log) {
  try {
    return core::make_audit_sink(core::AuditSetting::parse(setting.value_or("")), log);
  } catch (const core::Error& error) {
    log.write(core::LogLevel::kWarn, error.what());  // raised again when a key is opened
    return nullptr;
  }
}

std::string property_value(const std::string& name) {
  const bool plain = !name.empty() && std::isalpha(static_cast<unsigned char>(name[0])) != 0 &&
                     std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  return plain ? name : "'" + name + "'";
}

template <typename Function>
Function* upcall(const OSSL_DISPATCH* upcalls, int id) noexcept {
  for (; upcalls->function_id != 0; ++upcalls) {
    if (upcalls->function_id == id) return reinterpret_cast<Function*>(upcalls->function);
  }
  return nullptr;
}

// Of us, mirrored in the child context, and of other instances of ours.
bool is_hwid(OSSL_PROVIDER* provider) {
  int is = 0;
  std::array<OSSL_PARAM, 2> params{OSSL_PARAM_construct_int(kIsHwid, &is),
                                   OSSL_PARAM_construct_end()};
  const core::ErrorMark mark;
  return OSSL_PROVIDER_get_params(provider, params.data()) == 1 && is == 1;
}

int has_no_digests(OSSL_PROVIDER* provider, void*) {
  if (is_hwid(provider)) return 1;
  const core::ErrorMark mark;
  int no_cache = 0;
  const OSSL_ALGORITHM* const rows =
      OSSL_PROVIDER_query_operation(provider, OSSL_OP_DIGEST, &no_cache);
  const bool none = rows == nullptr || rows->algorithm_names == nullptr;
  OSSL_PROVIDER_unquery_operation(provider, OSSL_OP_DIGEST, rows);
  return none ? 1 : 0;
}

int decodes_no_tss2(OSSL_PROVIDER* provider, void*) {
  if (is_hwid(provider)) return 1;
  const core::ErrorMark mark;
  int no_cache = 0;
  const OSSL_ALGORITHM* const rows =
      OSSL_PROVIDER_query_operation(provider, OSSL_OP_DECODER, &no_cache);
  bool does = false;
  for (const OSSL_ALGORITHM* row = rows; row != nullptr && row->algorithm_names != nullptr; ++row)
    does = does || (row->property_definition != nullptr &&
                    strcasestr(row->property_definition, "structure=tss2") != nullptr);
  OSSL_PROVIDER_unquery_operation(provider, OSSL_OP_DECODER, rows);
  return does ? 0 : 1;
}

}  // namespace

ErrorSink::ErrorSink(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls) noexcept
    : handle_(handle),
      new_error_(upcall<OSSL_FUNC_core_new_error_fn>(upcalls, OSSL_FUNC_CORE_NEW_ERROR)),
      set_error_debug_(
          upcall<OSSL_FUNC_core_set_error_debug_fn>(upcalls, OSSL_FUNC_CORE_SET_ERROR_DEBUG)),
      vset_error_(upcall<OSSL_FUNC_core_vset_error_fn>(upcalls, OSSL_FUNC_CORE_VSET_ERROR)) {}

namespace {

// What follows on an error that may have its cause in a chroot, which no other call tells of.
const char* note_on_root(Reason reason) noexcept {
  constexpr std::array kReasons = {Reason::kModuleNotLoadable, Reason::kModuleInitFailed,
                                   Reason::kNoToken,           Reason::kTokenNotInitialized,
                                   Reason::kTokenRemoved,      Reason::kNoObject,
                                   Reason::kKeyChanged,        Reason::kDeviceError,
                                   Reason::kPinMissing,        Reason::kBadReference};
  if (std::ranges::find(kReasons, reason) == kReasons.end() ||
      !core::Process::get().has_another_root())
    return "";
  return " (if that is there: this process has had another root directory, by chroot, since it "
         "read openssl.cnf; what the module or TPM needs must be in there, too, see "
         "hwid-programs(7))";
}

}  // namespace

void ErrorSink::raise(Reason reason, const char* what, core::SourceLoc at) const noexcept {
  if (new_error_ == nullptr || vset_error_ == nullptr) return;
  const auto set = [this](std::uint32_t number, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vset_error_(handle_, number, format, arguments);
    va_end(arguments);
  };
  new_error_(handle_);
  if (set_error_debug_ != nullptr) set_error_debug_(handle_, at.file, at.line, at.function);
  set(static_cast<std::uint32_t>(reason), "%s%s", what, note_on_root(reason));
}

Provider::Provider(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls, Parts parts)
    : errors_(handle, upcalls),
      handle_(handle),
      get_params_(upcall<OSSL_FUNC_core_get_params_fn>(upcalls, OSSL_FUNC_CORE_GET_PARAMS)),
      up_ref_(upcall<OSSL_FUNC_provider_up_ref_fn>(upcalls, OSSL_FUNC_PROVIDER_UP_REF)),
      crypto_(handle, upcalls),
      name_(parameter(OSSL_PROV_PARAM_CORE_PROV_NAME).value_or("hwid")),
      log_(make_log(parameter("log"))),
      audit_(make_audit(parameter("audit"), *log_)),
      router_(
          crypto_, *log_, audit_.get(), [this](const std::string& name) { return parameter(name); },
          [this, make = std::move(parts.make_backends)](const core::Config& config) {
            return make(config, *this);
          }),
      software_keys_(parts.make_software_keys(crypto_)) {
  core::Process::get().attach();
  for (int reason = 1; reason <= core::kLastReason; ++reason)
    reasons_[static_cast<std::size_t>(reason) - 1] = {
        static_cast<unsigned int>(reason),
        const_cast<char*>(core::reason_text(static_cast<Reason>(reason)))};
  copy_algorithms();
  set_environment(parts.tpm_environment);
}

Provider::~Provider() { core::Process::get().detach(); }

// OPENSSL_init_crypto(3) fails once OPENSSL_cleanup has begun. What takes a provider away then uses
// locks that are gone: ossl_provider_free its error strings', OSSL_LIB_CTX_free that of the child's
// parent.
void Provider::outlive_libcrypto() const noexcept {
  if (up_ref_ != nullptr && OPENSSL_init_crypto(0, nullptr) != 1) up_ref_(handle_, 0);
}

std::optional<std::string> Provider::parameter(const std::string& name) const {
  const char* value = nullptr;
  std::array<OSSL_PARAM, 2> params{
      OSSL_PARAM_construct_utf8_ptr(name.c_str(), const_cast<char**>(&value), 0),
      OSSL_PARAM_construct_end()};
  if (get_params_ == nullptr || get_params_(handle_, params.data()) != 1 || value == nullptr)
    return std::nullopt;
  return value;
}

// What the configuration says comes first.
void Provider::set_environment(const std::vector<std::string>& for_tpm) const {
  const auto lookup = [this](const std::string& name) { return parameter(name); };
  try {
    core::set_environment(core::configured_environment(lookup));
    if (core::configures_tpm(lookup)) core::set_environment(for_tpm);
  } catch (const core::Error& error) {
    log_->write(core::LogLevel::kWarn, error.what());  // reported again when a key is opened
  }
}

// The value names the algorithm: `rand = default` would be libcrypto's word for a section, namely
// the whole of the file, which then is not loaded.
bool Provider::wants_default_random() const {
  const std::optional<std::string> setting = parameter("rand");
  if (!setting || *setting == kDefaultRandom) return setting.has_value();
  log_->write(core::LogLevel::kWarn, "openssl.cnf: rand = " + *setting +
                                         ": unknown, and has no effect; write " + kDefaultRandom +
                                         ", or remove the line");
  return false;
}

// pkcs11-provider's: whoever configures it says that the token is a validated module (FIPS 140),
// and its keys are found by `fips=yes`.
bool Provider::is_assumed_fips() const {
  constexpr char kName[] = "pkcs11-module-assume-fips";
  const std::string setting = parameter(kName).value_or("false");
  if (setting == "true" || setting == "yes" || setting == "1") return true;
  if (setting != "false" && setting != "no" && setting != "0")
    log_->write(core::LogLevel::kWarn, std::string("openssl.cnf: ") + kName + " = " + setting +
                                           ": unknown, and has no effect; write true or false");
  return false;
}

void Provider::copy_algorithms() {
  std::string own = "provider=" + property_value(name_) + ",hwid.keys=yes";
  if (is_assumed_fips()) own += ",fips=yes";
  // Our own context keeps libcrypto's: what is asked for while a token is at work (rand.h).
  is_default_random_ =
      wants_default_random() &&
      RAND_set_DRBG_type(crypto_.child(), kDefaultRandom, core::kNotHwid, nullptr, nullptr) == 1;
  for (const OperationRows& rows : operation_rows()) {
    std::vector<OSSL_ALGORITHM> copies;
    for (const AlgorithmRow& row : rows.rows) {
      if (OpenSSL_version_num() < row.since || OpenSSL_version_num() >= row.before) continue;
      properties_.push_back(row.properties == nullptr ? own : own + "," + row.properties);
      copies.push_back({row.names, properties_.back().c_str(), row.functions, row.description});
    }
    copies.push_back({nullptr, nullptr, nullptr, nullptr});
    algorithms_.emplace_back(rows.operation, std::move(copies));
  }
}

const OSSL_ALGORITHM* Provider::algorithms(int operation) const noexcept {
  for (const auto& [id, rows] : algorithms_) {
    if (id != operation) continue;
    if (id == OSSL_OP_DIGEST) return is_passing(id) ? rows.data() : nullptr;
    const bool whole = id != OSSL_OP_RAND || is_default_random_ || is_passing(id);
    return rows.data() + (whole ? 0 : 1);
  }
  return nullptr;
}

// Whether another provider hashes is not found by a fetch, which would ask us again.
bool Provider::is_passing(int operation) const noexcept {
  if (operation == OSSL_OP_RAND) return !is_default_random_ && !crypto_.is_complete();
  return operation == OSSL_OP_DIGEST &&
         OSSL_PROVIDER_do_all(crypto_.child(), has_no_digests, nullptr) == 1;
}

bool Provider::leaves_tss2_to_another() {
  return !router_.unwraps() && OSSL_PROVIDER_do_all(crypto_.child(), decodes_no_tss2, nullptr) == 0;
}

int init(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls,
         const OSSL_DISPATCH** functions, void** provctx, Parts parts) noexcept {
  const ErrorSink errors(handle, upcalls);
  return guard(&errors, 0, [&] {
    *provctx = new Provider(handle, upcalls, std::move(parts));
    *functions = provider_functions();
    return 1;
  });
}

namespace provider {

void teardown(Provider* self) { delete self; }

const OSSL_PARAM* gettable_params(Provider*) {
  static const OSSL_PARAM kGettable[] = {OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, nullptr, 0),
                                         OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, nullptr, 0),
                                         OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, nullptr, 0),
                                         OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, nullptr),
                                         OSSL_PARAM_int(kIsHwid, nullptr),
                                         OSSL_PARAM_END};
  return kGettable;
}

int get_params(Provider*, OSSL_PARAM params[]) {
  const std::array<std::pair<const char*, const char*>, 3> texts{
      {{OSSL_PROV_PARAM_NAME, "hwid: hardware keys (PKCS#11, TPM 2.0)"},
       {OSSL_PROV_PARAM_VERSION, HWID_VERSION},
       {OSSL_PROV_PARAM_BUILDINFO, "hwid " HWID_VERSION}}};
  for (const auto& [name, text] : texts) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    if (param != nullptr && OSSL_PARAM_set_utf8_ptr(param, text) != 1) return 0;
  }
  for (const char* const name : {OSSL_PROV_PARAM_STATUS, kIsHwid}) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    if (param != nullptr && OSSL_PARAM_set_int(param, 1) != 1) return 0;
  }
  return 1;
}

const OSSL_ALGORITHM* query_operation(Provider* self, int operation, int* no_cache) {
  *no_cache = self->is_passing(operation) ? 1 : 0;
  return self->algorithms(operation);
}

const OSSL_ITEM* get_reason_strings(Provider* self) { return self->reasons(); }

namespace {

struct Capability {
  Provider* self;
  const char* name;
  OSSL_CALLBACK* callback;
  void* argument;
};

// Hands on a TLS group of another provider if its algorithm is one that we have a keymgmt for:
// libssl drops a group whose keymgmt, fetched without a query, is another provider's.
int hand_on_group(const OSSL_PARAM params[], void* argument) {
  const auto* const capability = static_cast<const Capability*>(argument);
  const OSSL_PARAM* const algorithm =
      OSSL_PARAM_locate_const(params, OSSL_CAPABILITY_TLS_GROUP_ALG);
  const char* name = nullptr;
  if (algorithm == nullptr || OSSL_PARAM_get_utf8_string_ptr(algorithm, &name) != 1) return 1;
  constexpr std::array<std::string_view, 3> kOurs{"EC", "X25519", "X448"};
  if (std::ranges::find(kOurs, std::string_view(name)) == kOurs.end()) return 1;
  return capability->callback(params, capability->argument);
}

int ask_provider(OSSL_PROVIDER* other, void* argument) {
  if (is_hwid(other)) return 1;  // would ask us again
  const core::ErrorMark mark;
  const auto* const capability = static_cast<const Capability*>(argument);
  OSSL_PROVIDER_get_capabilities(other, capability->name, hand_on_group, argument);
  return 1;
}

}  // namespace

int get_capabilities(Provider* self, const char* capability, OSSL_CALLBACK* callback,
                     void* argument) {
  if (std::string_view(capability) != "TLS-GROUP") return 1;
  Capability wanted{self, capability, callback, argument};
  OSSL_PROVIDER_do_all(self->crypto().get(), ask_provider, &wanted);
  return 1;
}

}  // namespace provider
}  // namespace hwid::ossl
