// hwid init softhsm: a token in files, for development.
#include <glob.h>
#include <openssl/rand.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/development.h"
#include "tools/hwid/files.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/token_admin.h"
#include "tools/openssl_conf/writer.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;
using core::Secret;

constexpr std::size_t kPinBytes = 16;  // of randomness

// Where distributions put it.
std::string find_softhsm(Invocation& invocation) {
  if (invocation.has("module")) return absolute(invocation.text("module"));
  for (const char* const pattern :
       {"/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so"}) {
    glob_t found{};
    const bool any = ::glob(pattern, 0, nullptr, &found) == 0 && found.gl_pathc > 0;
    std::string path = any ? found.gl_pathv[0] : "";
    ::globfree(&found);
    if (any) return path;
  }
  throw Error(Reason::kModuleNotLoadable,
              "libsofthsm2.so: ENOENT: SoftHSM is not where distributions put it; install it "
              "(softhsm2), or name it with --module");
}

Secret random_pin() {
  Secret bytes(kPinBytes);
  if (RAND_priv_bytes(bytes.writable().data(), static_cast<int>(bytes.size())) != 1)
    throw Error(Reason::kLibcrypto, "RAND_priv_bytes: " + core::last_libcrypto_error());
  Secret pin(2 * kPinBytes);
  constexpr char kDigits[] = "0123456789abcdef";
  for (std::size_t at = 0; at < kPinBytes; ++at) {
    const std::uint8_t byte = bytes.reveal()[at];
    pin.writable()[2 * at] = static_cast<std::uint8_t>(kDigits[byte >> 4]);
    pin.writable()[2 * at + 1] = static_cast<std::uint8_t>(kDigits[byte & 15]);
  }
  return pin;
}

void write_pin(Development& development, const char* name, const Secret& pin) {
  const std::string_view text(reinterpret_cast<const char*>(pin.reveal().data()), pin.size());
  development.write(name, text, 0600);
}

std::string settings_text(const Development& development, const std::string& module,
                          const std::string& label) {
  openssl_conf::Writer out;
  out.section("hwid_sect").set("backends", "dev").set("dev", "hwid_dev").set("keys", "hwid_keys");
  out.section("hwid_dev").set("type", "pkcs11").set("module", module).set("token", label);
  out.set("pin-source", "file:" + development.path("pin"));
  out.set("environment", "SOFTHSM2_CONF=" + development.path("softhsm2.conf"));
  out.section("hwid_keys");
  out.set("device", "pkcs11:token=" + core::uri_escape(label) + ";object=device");
  return out.text();
}

Exit run(Invocation& invocation) {
  const std::string label = token_label(invocation, "token");
  const std::string module = find_softhsm(invocation);
  // `environment` in openssl.cnf separates its variables by blanks; softhsm2.conf has the others.
  Development development(invocation, "dev", " #=");
  development.make_directory("tokens");
  development.write("softhsm2.conf",
                    "directories.tokendir = " + development.path("tokens") +
                        "\nobjectstore.backend = file\nlog.level = ERROR\n",
                    0600);
  const Secret so_pin = random_pin();
  const Secret pin = random_pin();
  write_pin(development, "so-pin", so_pin);
  write_pin(development, "pin", pin);
  const char* const other = std::getenv("SOFTHSM2_CONF");
  const std::string other_conf = other != nullptr ? other : "";
  // SoftHSM reads it when it is loaded. This process has one thread.
  ::setenv("SOFTHSM2_CONF", development.path("softhsm2.conf").c_str(), 1);
  {
    TokenAdmin admin(module, "", nullptr);
    const std::vector<TokenAdmin::Slot> slots = admin.slots();
    if (slots.empty())
      throw Error(Reason::kNoToken, "C_GetSlotList: module=" + module +
                                        ": no slot for a new token; see SoftHSM's log");
    admin.initialize(slots.front(), label, so_pin, pin);
  }
  development.write_configuration(settings_text(development, module, label));
  development.keep();
  std::vector<std::string> commands = {
      "hwid generate hwid://device",
      "openssl req -new -key hwid://device -subj /CN=device -out device.csr"};
  if (other != nullptr) {
    commands.insert(commands.begin(), "unset SOFTHSM2_CONF");
    Output::note("SOFTHSM2_CONF is set (" + other_conf +
                 "), and SoftHSM looks for tokens there only: unset it, or this one is not found");
  }
  development.show(invocation.out(), "A token for development (SoftHSM)",
                   {{"token", label},
                    {"URI", "pkcs11:token=" + core::uri_escape(label)},
                    {"PIN", development.path("pin")},
                    {"SO PIN", development.path("so-pin")}},
                   commands);
  return kGood;
}

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("dir", po::value<std::string>()->value_name("DIR"),
      "where it is to be (default: ~/.local/share/hwid/dev)");
  add("token", po::value<std::string>()->value_name("LABEL")->default_value("dev"),
      "the token's label");
  add("module", po::value<std::string>()->value_name("FILE"), "libsofthsm2.so, if it is not found");
}

}  // namespace

const Command kInitSoftHsm = {
    "init softhsm",
    "",
    "make a token for development (SoftHSM)",
    "Makes a token that lives in files, in a directory for you alone: the token with random PINs,\n"
    "their files, an openssl.cnf with the logical name `device`, and a device.conf. It is usable "
    "at\n"
    "once, by the line that is printed. Whoever can read the directory has the keys: it is for\n"
    "development. Removing the directory removes all; what an interrupted run has made is removed "
    "by\n"
    "the next one.",
    "  hwid init softhsm\n"
    "  hwid init softhsm --dir ./dev --token line-7 --json\n",
    0,
    0,
    add_options,
    run,
    false};

}  // namespace hwid::tool
