#include "provider/tpm2/tcti.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

namespace hwid::tpm2 {

using core::Reason;

namespace {

void close_tcti(TSS2_TCTI_CONTEXT* context) { Tss2_TctiLdr_Finalize(&context); }

// Of all TCTIs of tpm2-tss none has more than one.
std::array<TSS2_TCTI_POLL_HANDLE, 8> poll_handles(TSS2_TCTI_CONTEXT* context,
                                                  std::size_t& count) noexcept {
  std::array<TSS2_TCTI_POLL_HANDLE, 8> handles{};
  count = handles.size();
  if (Tss2_Tcti_GetPollHandles(context, handles.data(), &count) != TSS2_RC_SUCCESS ||
      count > handles.size())
    count = 0;
  return handles;
}

void close_at_exec(TSS2_TCTI_CONTEXT* context) noexcept {
  std::size_t count = 0;
  const auto handles = poll_handles(context, count);
  for (std::size_t i = 0; i < count; ++i) {
    const int flags = fcntl(handles[i].fd, F_GETFD);
    if (flags >= 0) fcntl(handles[i].fd, F_SETFD, flags | FD_CLOEXEC);
  }
}

struct Explanation {
  Reason reason;
  std::string text;  // the cause; the next step
};

std::string group_name(gid_t gid) {
  std::array<char, 4096> buffer{};
  group entry{};
  group* found = nullptr;
  if (getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return found->gr_name;
  return std::to_string(gid);
}

// What is wrong with the file itself; nothing is opened.
std::optional<Explanation> inspect_device(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    if (errno == EACCES)
      return Explanation{Reason::kNotPermitted,
                         path + ": a directory above it may not be entered; correct its mode"};
    return Explanation{Reason::kNoToken,
                       "there is no " + path +
                           "; enable the TPM in the firmware, load its driver, or correct tcti"};
  }
  if (!S_ISCHR(status.st_mode))
    return Explanation{Reason::kBadConfiguration,
                       path + " is not a device; name the TPM's device in tcti"};
  return std::nullopt;
}

// Why a device file cannot be used: what opening it says.
Explanation explain_device(const std::string& path) {
  if (const auto wrong = inspect_device(path)) return *wrong;
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  const int error = errno;
  if (fd >= 0) {
    close(fd);
    return {Reason::kNoToken, path +
                                  " can be opened, but is no TPM 2.0 that answers; check its "
                                  "driver, or correct tcti"};
  }
  if (error == EACCES || error == EPERM) {
    struct stat status {};
    (void)stat(path.c_str(), &status);
    const std::string group = group_name(status.st_gid);
    return {Reason::kNotPermitted, "user " + std::to_string(geteuid()) + " may not open " + path +
                                       " (group " + group + "); add the user to the group " +
                                       group};
  }
  if (error == EBUSY)
    return {Reason::kNoToken, path +
                                  " is in use by another program, and takes only one; use "
                                  "device:/dev/tpmrm0, or the resource manager that has it"};
  return {Reason::kNoToken, path + ": " + std::strerror(error) + "; check its driver"};
}

// The configuration behind any "pcap:".
std::string_view without_capture(std::string_view configuration) {
  constexpr std::string_view kCapture = "pcap:";
  while (configuration.starts_with(kCapture)) configuration.remove_prefix(kCapture.size());
  return configuration;
}

constexpr std::string_view kDevice = "device:";

// Where tpm2-tss looks for a device by itself, in its order.
constexpr std::array<const char*, 2> kDefaultDevices = {"device:/dev/tpmrm0", "device:/dev/tpm0"};

// The path of "device:PATH", also behind "pcap:"; empty if it is none.
std::string device_path(std::string_view configuration) {
  configuration = without_capture(configuration);
  if (!configuration.starts_with(kDevice)) return {};
  return std::string(configuration.substr(kDevice.size()));
}

Explanation explain(const std::string& configuration, TSS2_RC rc) {
  if (const std::string path = device_path(configuration); !path.empty())
    return explain_device(path);
  const std::string name = configuration.substr(0, configuration.find(':'));
  if (name == "device") return explain_device("/dev/tpmrm0");
  if (configuration.empty())
    return {Reason::kNoToken,
            "none of the TPMs that tpm2-tss looks for by itself answers (tpm2-abrmd, "
            "/dev/tpmrm0, /dev/tpm0, swtpm, mssim); " +
                explain_device("/dev/tpmrm0").text};
  if (rc == TSS2_TCTI_RC_NOT_SUPPORTED)
    return {Reason::kBadConfiguration,
            "tpm2-tss has no TCTI of that name; correct tcti, or install the "
            "package of libtss2-tcti-" +
                name + ".so.0"};
  if (rc == TSS2_TCTI_RC_BAD_VALUE)
    return {Reason::kBadConfiguration,
            "the TCTI does not understand its configuration; correct tcti"};
  if (name == "tabrmd")
    return {Reason::kNoToken,
            "tpm2-abrmd does not answer; start it, and in programs that fork after they used "
            "D-Bus themselves write tcti = cmd:tpm2_send -T " +
                configuration};
  return {Reason::kNoToken, "no TPM answers there; start it, or correct tcti"};
}

}  // namespace

int Tcti::descriptor() const noexcept {
  std::size_t count = 0;
  const auto handles = poll_handles(context_, count);
  return count != 0 ? handles[0].fd : -1;
}

// The device TCTI writes a command to whatever file it is given, even where that is no device and
// loses its first bytes: so it is looked at before, which also spares tpm2-tss's noise.
Tcti open_tcti(const std::string& configuration) {
  constexpr char kCall[] = "Tss2_TctiLdr_Initialize";
  const Place place{tcti_text(configuration), {}};
  if (const std::string path = device_path(configuration); !path.empty()) {
    if (const auto wrong = inspect_device(path))
      raise(wrong->reason, TSS2_TCTI_RC_IO_ERROR, kCall, place, wrong->text);
  }
  TSS2_TCTI_CONTEXT* context = nullptr;
  const TSS2_RC rc =
      Tss2_TctiLdr_Initialize(configuration.empty() ? nullptr : configuration.c_str(), &context);
  if (rc != TSS2_RC_SUCCESS || context == nullptr) {
    const Explanation why = explain(configuration, rc);
    raise(why.reason, rc, kCall, place, why.text);
  }
  Tcti tcti(context, close_tcti);
  close_at_exec(context);
  return tcti;
}

std::string tcti_text(const std::string& configuration) {
  return configuration.empty() ? "default" : configuration;
}

bool uses_dbus(const std::string& configuration) noexcept {
  const std::string_view way = without_capture(configuration);
  if (way.empty()) {  // the default: tpm2-tss unloads each way that it tries in vain
    void* const library = dlopen("libtss2-tcti-tabrmd.so.0", RTLD_LAZY | RTLD_NOLOAD);
    if (library != nullptr) dlclose(library);
    return library != nullptr;
  }
  return way.substr(0, way.find(':')).ends_with("tabrmd") || way.starts_with("libtss2-tcti-tabrmd");
}

const char* found_by_default(const std::string& configuration, int descriptor) noexcept {
  if (!without_capture(configuration).empty()) return nullptr;
  if (descriptor < 0) return "swtpm";  // it connects for each command
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return nullptr;
  if (S_ISCHR(status.st_mode)) {
    for (const char* const way : kDefaultDevices) {
      struct stat device {};
      if (stat(way + kDevice.size(), &device) == 0 && device.st_rdev == status.st_rdev) return way;
    }
    return nullptr;
  }
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return nullptr;
  return address.ss_family == AF_UNIX ? "tabrmd" : "mssim";
}

namespace {

// What stands for the default where D-Bus cannot be asked and the parent found nothing either.
const char* default_without_dbus() noexcept {
  for (const char* const way : kDefaultDevices)
    if (access(way + kDevice.size(), F_OK) == 0) return way;
  return "tabrmd";
}

}  // namespace

std::string tcti_without_dbus(const std::string& configuration, const char* found) {
  std::string_view way = without_capture(configuration);
  const std::string capture = configuration.substr(0, configuration.size() - way.size());
  if (way.empty()) way = found != nullptr ? found : default_without_dbus();
  if (!uses_dbus(std::string(way))) return capture + std::string(way);
  // The TCTI runs it with sh -c, which must not search the PATH of who started a setuid program.
  constexpr std::array<const char*, 2> kPrograms = {"/usr/bin/tpm2_send",
                                                    "/usr/local/bin/tpm2_send"};
  const auto* const program =
      std::ranges::find_if(kPrograms, [](const char* path) { return access(path, X_OK) == 0; });
  if (program == kPrograms.end())
    throw core::Error(Reason::kNoToken,
                      "Tss2_TctiLdr_Initialize:" + place_text({tcti_text(configuration), {}}) +
                          ": a process that was forked from one that used tpm2-abrmd cannot reach "
                          "it by D-Bus; install tpm2-tools (its tpm2_send can), use the key after "
                          "the fork only, or write tcti = device:/dev/tpmrm0");
  std::string quoted = "'";
  for (const char c : way) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return capture + "cmd:" + *program + " -T " + quoted + "'";
}

bool is_exclusive(const std::string& configuration) noexcept {
  constexpr std::string_view kTpm = "device:/dev/tpm";
  const std::string_view text = configuration;
  if (!text.starts_with(kTpm) || text.size() == kTpm.size()) return false;
  return text.find_first_not_of("0123456789", kTpm.size()) == std::string_view::npos;
}

std::vector<std::string> quiet_environment() { return {"TSS2_LOG=all+NONE"}; }

}  // namespace hwid::tpm2
