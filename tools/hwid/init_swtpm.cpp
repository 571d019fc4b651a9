// hwid init swtpm: a TPM in software, for development.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>

#include "provider/backends.h"
#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/development.h"
#include "tools/hwid/token_admin.h"
#include "tools/openssl_conf/writer.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;
using core::shell_word;

constexpr std::chrono::seconds kDeadline{30};
constexpr std::uint16_t kFirstPort = 20000;  // below what the kernel gives to clients
constexpr std::uint16_t kPorts = 12000;
constexpr char kKey[] = "tpm2:handle=0x81000002";

bool is_free(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return free;
}

// Of two that follow each other: the second is swtpm's control channel, which the TCTI expects
// there.
std::uint16_t port_for(Invocation& invocation) {
  if (const auto wanted = invocation.value<unsigned int>("port")) {
    if (*wanted < 1 || *wanted > 65534) throw UsageError("--port: write 1 to 65534");
    return static_cast<std::uint16_t>(*wanted);
  }
  for (int tries = 0; tries < 1000; ++tries) {
    std::uint16_t random = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof random) != 1) break;
    const auto port = static_cast<std::uint16_t>(kFirstPort + random % kPorts);
    if (is_free(port) && is_free(static_cast<std::uint16_t>(port + 1))) return port;
  }
  throw Error(Reason::kNotPermitted, "bind: no free port on 127.0.0.1; choose one with --port");
}

// What `start` and `stop` have in common. A process id may be another program's by now, and another
// TPM's.
std::string script_text(const std::string& directory, const std::string& what,
                        const std::string& body) {
  return "#!/bin/sh\n# " + what + "\nset -eu\ndir=" + shell_word(directory) +
         "\nruns() {\n"
         "    [ -f \"$dir/swtpm.pid\" ] && pid=$(cat \"$dir/swtpm.pid\") &&\n"
         "        [ \"$(cat \"/proc/$pid/comm\" 2> /dev/null)\" = swtpm ] &&\n"
         "        tr '\\0' '\\n' < \"/proc/$pid/cmdline\" | grep -Fqx \"dir=$dir/state\"\n"
         "}\n" +
         body;
}

std::string start_text(const std::string& directory, std::uint16_t port) {
  const auto channel = [](std::uint32_t number) {
    return "type=tcp,bindaddr=127.0.0.1,port=" + std::to_string(number);
  };
  return script_text(directory, "Starts the software TPM of this directory, unless it runs.",
                     "if runs; then exit 0; fi\n"
                     "exec swtpm socket --tpm2 --daemon --tpmstate \"dir=$dir/state\" \\\n"
                     "    --pid \"file=$dir/swtpm.pid\" --log \"file=$dir/swtpm.log,level=1\" \\\n"
                     "    --server " +
                         channel(port) + " \\\n    --ctrl " + channel(port + 1U) +
                         " \\\n    --flags not-need-init,startup-clear < /dev/null\n");
}

std::string stop_text(const std::string& directory) {
  return script_text(directory, "Stops the software TPM of this directory; its keys stay.",
                     "if runs; then kill \"$pid\"; fi\n");
}

std::string settings_text(const std::string& label, const std::string& tcti) {
  openssl_conf::Writer out;
  out.section("hwid_sect").set("backends", "tpm").set("tpm", "hwid_tpm").set("keys", "hwid_keys");
  out.section("hwid_tpm").set("type", "tpm2").set("tcti", tcti).set("token", label);
  out.set("objects", "device=0x81000002");
  out.section("hwid_keys").set("device", kKey);
  return out.text();
}

void require_success(const ChildResult& result, const std::string& script) {
  if (result.problem.empty()) return;
  const bool missing = result.problem == "exit code 127";
  throw Error(Reason::kModuleNotLoadable,
              script + ": " + result.problem + ": " + result.output +
                  (missing ? "; install swtpm" : "; see swtpm.log, or choose another --port"));
}

// Through the configuration that was written.
void require_answer(Invocation& invocation, const std::string& openssl_conf) {
  const auto section = openssl_conf::ProviderSection::read(openssl_conf);
  const core::Log& log = invocation.log();
  core::Router router(invocation.software(), log, nullptr, section.lookup(),
                      [&log](const core::Config& config) { return make_backends(config, log); });
  std::shared_ptr<core::Token> source;
  router.random(source, 16);
}

Exit run(Invocation& invocation) {
  const std::uint16_t port = port_for(invocation);
  const std::string label = token_label(invocation, "token");
  Development development(invocation, "tpm", ",");  // which separates swtpm's options
  const std::string tcti = "swtpm:host=127.0.0.1,port=" + std::to_string(port);
  development.make_directory("state");
  development.write("start", start_text(development.directory(), port), 0755);
  development.write("stop", stop_text(development.directory()), 0755);
  development.announce("swtpm.pid");
  development.announce("swtpm.log");
  const std::string start = development.path("start");
  const std::string stop = development.path("stop");
  try {
    require_success(run_program({start}, {}, kDeadline), start);
    development.write_configuration(settings_text(label, tcti));
    require_answer(invocation, development.path("openssl.cnf"));
  } catch (const std::exception&) {
    run_program({stop}, {}, kDeadline);
    throw;
  }
  development.keep();
  development.show(invocation.out(), "A TPM for development (swtpm), which runs now",
                   {{"token", label}, {"TCTI", tcti}, {"start", start}, {"stop", stop}},
                   {"hwid generate hwid://device",
                    "openssl req -new -key hwid://device -subj /CN=device -out device.csr"});
  return kGood;
}

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("dir", po::value<std::string>()->value_name("DIR"),
      "where it is to be (default: ~/.local/share/hwid/tpm)");
  add("token", po::value<std::string>()->value_name("LABEL")->default_value("dev-tpm"),
      "what token= in a pkcs11: URI calls it");
  add("port", po::value<unsigned int>()->value_name("PORT"),
      "of its command channel on 127.0.0.1; the control channel takes the next one (default: a "
      "free "
      "one)");
}

}  // namespace

const Command kInitSwtpm = {
    "init swtpm",
    "",
    "start a TPM in software for development (swtpm)",
    "Makes a TPM that lives in files, in a directory for you alone, and starts it; with it comes "
    "an\n"
    "openssl.cnf with the logical name `device`, and a device.conf. After a reboot DIR/start "
    "starts\n"
    "it again, DIR/stop stops it. It listens on 127.0.0.1, where every user of this machine "
    "reaches\n"
    "it: it is for development. Stop it and remove the directory, and all is gone.",
    "  hwid init swtpm\n"
    "  hwid init swtpm --dir ./tpm --port 2321 --json\n",
    0,
    0,
    add_options,
    run,
    false};

}  // namespace hwid::tool
