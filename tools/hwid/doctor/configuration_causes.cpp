// What can be wrong with openssl.cnf, hwid.so, and the names of keys.
#include "tools/hwid/doctor/cause_rows.h"

namespace hwid::tool::doctor {
namespace {

constexpr Probes kAll = Probes::from(Probe::kConfFile);
constexpr Probes kNothing;
constexpr Probes kFromModule = Probes::from(Probe::kProviderModule);
constexpr Probes kFromKeys = Probes::from(Probe::kConfKeys);
constexpr Probes kFromValues = Probes::from(Probe::kConfValues);
constexpr Probes kFromUris = Probes::from(Probe::kUris);
constexpr Probes kFromKey = Probes::from(Probe::kKey);
constexpr auto kBroken = Weight::kBroken;
constexpr auto kRisk = Weight::kRisk;

constexpr Cause kRows[] = {
    {"environment-lost", Probe::kConfFile, kBroken,
     "The variable {variable} was lost on the way through {way}",
     "{process} has {variable}={value}, and here it is not set",
     "keep it: `sudo --preserve-env={variable} COMMAND`, or a line `Defaults env_keep += "
     "\"{variable}\"` in sudoers; or need none: `hwid enable` puts hwid into the openssl.cnf that "
     "every program reads",
     kAll},
    {"environment-ignored", Probe::kConfFile, kBroken,
     "The variable {variable} does not count in a program with more rights than its caller",
     "{variable}={value} is set, and OpenSSL takes no notice of it where the kernel says "
     "AT_SECURE: "
     "setuid, setgid, file capabilities",
     "put hwid into the openssl.cnf that every program reads: `hwid enable`; or start the program "
     "as "
     "the user that it becomes (systemd: User=, AmbientCapabilities=)",
     kAll},
    {"conf-not-there", Probe::kConfFile, kBroken, "The openssl.cnf that {rule} names is not there",
     "open {file}: {error}; OpenSSL programs go on as if it were empty",
     "name one that is there, or {next}", kAll},
    {"conf-unreadable", Probe::kConfFile, kBroken, "openssl.cnf cannot be read by {user}",
     "open {file} ({rule}): {error}; {owner}; OpenSSL programs of that user go on without it",
     "let everybody read it: `chmod a+r {'file'}`, and `chmod a+x` on the directories above", kAll},
    {"conf-syntax", Probe::kConfFile, kBroken, "openssl.cnf cannot be parsed", "{error}",
     "mend the line that the message names; config(5) has the syntax", kAll},
    {"include-hangs", Probe::kConfFile, kBroken,
     "openssl.cnf includes what has no end, and every program waits for that", "{where}: {error}",
     "name an ordinary file there", kAll},
    {"include-not-there", Probe::kConfFile, kBroken,
     "openssl.cnf includes a file that cannot be read",
     "{file}:{line}: .include {included}: {error}; OpenSSL leaves it out without a word, and what "
     "is left does not load hwid",
     "correct the path in that line; one without a leading slash counts from the program's working "
     "directory",
     kAll},
    {"include-left-out", Probe::kConfFile, kRisk,
     "openssl.cnf includes a file that cannot be read, and so is left out",
     "{file}:{line}: .include {included}: {error}; OpenSSL says nothing of it",
     "correct the path in that line, or take the line away", kNothing},

    {"conf-line-misspelt", Probe::kConfLayout, kBroken,
     "openssl.cnf: the line {key} is unknown, and so ignored: did you mean {meant}?",
     "{file} ({rule}) has `{key} = {value}` in [{section}]",
     "write `{meant}` where it says `{key}`", kAll},
    {"conf-init-in-section", Probe::kConfLayout, kBroken,
     "The line `{key}` stands in a section, where OpenSSL does not look for it",
     "{file} ({rule}) has `{key} = {value}` in [{section}]; it counts only before the first "
     "section",
     "move the line to the beginning of the file, above every [section]", kAll},
    {"conf-init-missing", Probe::kConfLayout, kBroken,
     "openssl.cnf has no line `openssl_conf`, so OpenSSL looks at none of its providers",
     "{file} ({rule}) has hwid's settings in [{ours}], and no `openssl_conf` before its first "
     "section",
     "write `openssl_conf = init` at its beginning, a section [init] with `providers = "
     "provider_sect`, and [provider_sect] with `hwid = {ours}` and `default = default_sect`; "
     "hwid-provider(7) shows a whole file",
     kAll},
    {"providers-not-named", Probe::kConfLayout, kBroken,
     "The first section of openssl.cnf does not name its providers",
     "{file} ({rule}): [{section}], which `openssl_conf` names, has no line `providers`",
     "write `providers = provider_sect` into [{section}], and [provider_sect] with `hwid = {ours}` "
     "and `default = default_sect`",
     kAll},
    {"conf-section-missing", Probe::kConfLayout, kBroken, "openssl.cnf has no section [{section}]",
     "{file} ({rule}): `{key} = {section}` in [{from}] names it", "{next}", kAll},
    {"provider-name-wrong", Probe::kConfLayout, kBroken,
     "The provider is called {name}, so OpenSSL looks for {name}.so",
     "{file} ({rule}): `{name} = {section}` in [{providers}], and [{section}] names no `module`",
     "write `hwid = {section}`, or give [{section}] a line `module = hwid.so`", kAll},
    {"provider-module-not-hwid", Probe::kConfLayout, kBroken,
     "The provider {name} is loaded from a file that is not hwid.so",
     "{file} ({rule}): [{section}] has `module = {module}`",
     "name hwid.so in that line, or leave it out; the module of a token belongs into the section "
     "of "
     "a backend (`type = pkcs11`)",
     kAll},
    {"provider-not-listed", Probe::kConfLayout, kBroken,
     "openssl.cnf has settings of hwid, but does not load it",
     "{file} ({rule}): no line of [{providers}] leads to [{section}]",
     "write `hwid = {section}` into [{providers}]", kAll},
    {"hwid-not-set-up", Probe::kConfLayout, kBroken, "hwid is not set up: no openssl.cnf loads it",
     "{file} ({rule}) says nothing of hwid, and PKCS11_PROVIDER_MODULE is not set",
     "for a trial: `hwid init softhsm`, or `hwid init swtpm` for a TPM in software, and go on as "
     "it "
     "says; for a token or TPM that is here: write its module or TCTI into a copy of the example "
     "conf/openssl.cnf, then `hwid enable --from FILE`; `hwid list` shows what is there",
     kAll},
    {"provider-not-activated", Probe::kConfLayout, kBroken,
     "openssl.cnf names hwid, but does not activate it", "{file} ({rule}): [{section}] has {what}",
     "write `activate = 1` into [{section}]", kFromModule},
    {"default-provider-missing", Probe::kConfLayout, kBroken,
     "No provider is left that hashes and encrypts",
     "{file} ({rule}): [{providers}] loads hwid and {what}; once a file activates any provider, "
     "OpenSSL no longer activates the default one by itself",
     "write `default = default_sect` into [{providers}], and a section [default_sect] with "
     "`activate = 1`",
     kFromModule},
    {"nodejs-conf-elsewhere", Probe::kConfLayout, kRisk,
     "Node.js does not get hwid: it reads another first line",
     "{file} ({rule}): `nodejs_conf = {section}` does not lead to hwid, `openssl_conf = {init}` "
     "does",
     "write `nodejs_conf = {init}`", kNothing},

    {"provider-module-missing", Probe::kProviderModule, kBroken,
     "hwid.so is not where OpenSSL looks for it", "open {module} ({rule}): {error}", "{next}",
     kFromModule},
    {"provider-module-architecture", Probe::kProviderModule, kBroken,
     "The file that openssl.cnf has for hwid.so is none for this machine",
     "{module} ({rule}) is {kind}", "install hwid for this machine, and correct `module`",
     kFromModule},
    {"provider-module-is-none", Probe::kProviderModule, kBroken,
     "The file that openssl.cnf has for hwid.so is no OpenSSL provider",
     "{module} ({rule}): {error}",
     "name hwid.so in `module`; the module of a token belongs into the section of a backend",
     kFromModule},
    {"provider-module-other-openssl", Probe::kProviderModule, kBroken,
     "hwid.so was built for another OpenSSL", "dlopen {module}: {error}; this is {openssl}",
     "build hwid on this machine, or install the package for this release", kFromModule},
    {"provider-module-unloadable", Probe::kProviderModule, kBroken, "hwid.so cannot be loaded",
     "dlopen {module} ({rule}): {error}", "install the library that it needs, or hwid again",
     kFromModule},
    {"provider-refuses", Probe::kProviderModule, kBroken, "OpenSSL does not take openssl.cnf",
     "OSSL_LIB_CTX_load_config {file}: {error}", "correct what the message names", kFromModule},

    {"conf-key-misspelt", Probe::kConfKeys, kBroken,
     "openssl.cnf: the setting {key} is unknown, and so ignored: did you mean {meant}?",
     "{file} ({rule}) has `{key} = ...` in [{section}]", "write `{meant}` where it says `{key}`",
     kFromValues},
    {"backends-not-named", Probe::kConfKeys, kBroken,
     "openssl.cnf has sections for backends, and no `backends` that names them",
     "{file} ({rule}): in [{section}] {missing} lead to sections with a `type`",
     "write `backends = {all}` into [{section}]", kFromValues},
    {"conf-value-is-section", Probe::kConfKeys, kBroken,
     "openssl.cnf: OpenSSL takes the value of {key} for a section, and so the setting is lost",
     "{file} ({rule}) has `{key} = {value}` in [{section}], and it also has a section [{value}]",
     "give the section [{value}] another name, there and in the lines that lead to it", kFromKeys},
    {"conf-key-unknown", Probe::kConfKeys, kRisk,
     "openssl.cnf: the setting {key} is unknown, and so ignored",
     "{file} ({rule}) has `{key} = ...` in [{section}]",
     "take the line away; hwid-provider(7) has all settings", kNothing},
    {"backend-not-searched", Probe::kConfKeys, kRisk,
     "openssl.cnf has a section for a backend that `backends` does not name",
     "{file} ({rule}): in [{section}] it says `backends = {names}`, and not {missing}",
     "write `backends = {all}`, or take the other away", kNothing},

    {"conf-value-wrong", Probe::kConfValues, kBroken,
     "openssl.cnf has a value that hwid does not take", "{file} ({rule}): {error}", "{next}",
     kFromUris},
    {"log-variable-wrong", Probe::kConfValues, kBroken,
     "HWID_LOG has a value that hwid does not take", "HWID_LOG: {error}", "correct it, or unset it",
     kFromUris},

    {"device-conf-unreadable", Probe::kUris, kBroken, "device.conf cannot be read", "{error}",
     "correct the path, or let this user read the file", kFromKey},
    {"device-conf-wrong", Probe::kUris, kBroken, "device.conf cannot be used as it is", "{error}",
     "{next}", kFromKey},
    {"uri-wrong", Probe::kUris, kBroken, "The key's URI has a mistake", "{error}",
     "correct it as the message says; hwid-provider(7) has all attributes", kFromKey},
    {"uri-shadowed", Probe::kUris, kBroken, "A file stands in the way of {uri}",
     "{directory} has a file of that name, and OpenSSL tries files first unless // follows the "
     "scheme",
     "write `{better}`, or move the file away", kFromKey},
};

}  // namespace

std::span<const Cause> configuration_causes() noexcept { return kRows; }

}  // namespace hwid::tool::doctor
