// What can be wrong with modules, tokens, PINs and keys.
#include "tools/hwid/doctor/cause_rows.h"

namespace hwid::tool::doctor {
namespace {

constexpr Probes kNothing;
constexpr Probes kFromModule = Probes::from(Probe::kModule);
constexpr Probes kFromToken = Probes::from(Probe::kToken);
constexpr Probes kFromPin = Probes::from(Probe::kPin);
constexpr Probes kFromKey = Probes::from(Probe::kKey);
constexpr Probes kFromUse = Probes::from(Probe::kUse);
constexpr auto kBroken = Weight::kBroken;
constexpr auto kRisk = Weight::kRisk;

constexpr Cause kRows[] = {
    {"name-unknown", Probe::kUris, kBroken, "openssl.cnf has no key called {name}",
     "{file} ({rule}): the section that `keys` names has {there}", "{next}", kFromModule},
    {"key-file-unreadable", Probe::kUris, kBroken, "The key's file cannot be read",
     "open {key}: {error}; {owner}; this is {user}",
     "correct the path, or let this user read it: a key reference holds no secret (chmod a+r)",
     kFromModule},
    {"key-file-is-none", Probe::kUris, kBroken, "The key's file holds no key", "{key} holds {what}",
     "write one that stands for the key: `hwid ref URI --out FILE`", kFromModule},

    {"module-not-there", Probe::kModule, kBroken, "The PKCS#11 module is not there",
     "open {module}, which {place} names: {error}", "{next}", kFromModule},
    {"module-closed", Probe::kModule, kBroken, "The PKCS#11 module cannot be read by {user}",
     "open {module}: {error}; {owner}", "let everybody read it: `chmod a+r {'module'}`",
     kFromModule},
    {"module-architecture", Probe::kModule, kBroken,
     "What should be a PKCS#11 module is none for this machine",
     "{module}, which {place} names, is {kind}", "name the module for this machine", kFromModule},
    {"module-is-none", Probe::kModule, kBroken, "What should be a PKCS#11 module is none",
     "{module}, which {place} names, is {kind}",
     "name the token's own module there: libsofthsm2.so, opensc-pkcs11.so, its maker's",
     kFromModule},
    {"module-unloadable", Probe::kModule, kBroken, "The PKCS#11 module cannot be loaded", "{error}",
     "install the library that it needs (`ldd {'module'}` shows which)", kFromModule},
    {"module-crashes", Probe::kModule, kBroken, "The PKCS#11 module crashes or hangs",
     "C_Initialize and C_GetSlotList of {module}, in a process of their own: {error}",
     "see the module's own log, and that its daemon (pcscd) and configuration are there; else ask "
     "its maker",
     kFromModule},
    {"softhsm-conf-not-there", Probe::kModule, kBroken, "SoftHSM finds no configuration",
     "open {conf} ({rule}): {error}",
     "name the right one: `environment = SOFTHSM2_CONF=FILE` in the section of {backend}, or the "
     "variable SOFTHSM2_CONF; for a new token `hwid init softhsm`",
     kFromModule},
    {"softhsm-conf-closed", Probe::kModule, kBroken,
     "SoftHSM's configuration cannot be read by {user}", "open {conf} ({rule}): {error}; {owner}",
     "let that user read it, or name another with SOFTHSM2_CONF; Debian's system token is for the "
     "group softhsm: `usermod -aG softhsm USER`, and log in anew",
     kFromModule},
    {"token-directory-not-there", Probe::kModule, kBroken,
     "SoftHSM's directory of tokens is missing", "{conf} ({rule}) names {directory}: {error}",
     "make it for the user of the programs: `install -d -m 0700 {'directory'}`; or correct "
     "directories.tokendir",
     kFromModule},
    {"token-directory-closed", Probe::kModule, kBroken,
     "The directory of SoftHSM's tokens is closed to {user}",
     "{directory} (of {conf}, {rule}): {error}; {owner}",
     "give it to the user of the programs: `chown -R USER {'directory'}`, or let the user into the "
     "group that may write there: `usermod -aG GROUP USER`, and log in anew",
     kFromModule},
    {"tpm2-store-not-there", Probe::kModule, kBroken, "tpm2-pkcs11 has no store",
     "{directory} ({rule}): {error}",
     "make it: `tpm2_ptool init --path {'directory'}`, and name it in TPM2_PKCS11_STORE, or in the "
     "section of {backend}: `environment = TPM2_PKCS11_STORE={directory}`",
     kFromModule},
    {"tpm2-store-closed", Probe::kModule, kBroken, "tpm2-pkcs11's store is closed to {user}",
     "{directory} ({rule}): {error}; {owner}",
     "give it to the user of the programs: `chown -R USER {'directory'}`", kFromModule},
    {"nss-arguments", Probe::kModule, kBroken, "NSS's module wants arguments", "{error}",
     "write the database into the section of {backend}: `init-args = configDir=DIR`; it must be "
     "there, and be for this user",
     kFromModule},
    {"module-does-not-start", Probe::kModule, kBroken, "The PKCS#11 module does not start",
     "{error}",
     "see the module's own manual: what it wants in the environment (`environment` in the section "
     "of "
     "{backend}), in init-args, and which daemon",
     kFromModule},
    {"tcti-wrong", Probe::kModule, kBroken, "The way to the TPM is written wrong", "{error}",
     "correct `tcti` of {backend}: device:/dev/tpmrm0 for a chip, swtpm:host=HOST,port=PORT, "
     "tabrmd; or install the package with that TCTI",
     kFromModule},
    {"tpm-device-missing", Probe::kModule, kBroken, "The TPM is not there", "{error}",
     "enable the TPM in the firmware (\"Security Device\", PTT, fTPM), and load its driver: "
     "`modprobe tpm_tis` or `modprobe tpm_crb`; or correct `tcti` of {backend}",
     kFromModule},
    {"tpm-closed", Probe::kModule, kBroken, "The TPM is closed to {user}", "{error}",
     "be in a group that may use it: {next}", kFromModule},
    {"tpm-hangs", Probe::kModule, kBroken, "The TPM takes a connection and says nothing",
     "the TPM at {tcti}, asked in a process of its own: {error}",
     "see what listens there; start swtpm, tpm2-abrmd or the machine anew, or correct `tcti` of "
     "{backend}",
     kFromModule},
    {"tpm-not-reached", Probe::kModule, kBroken, "No TPM answers", "{error}",
     "start it (swtpm, tpm2-abrmd), or correct `tcti` of {backend}, which is {tcti}", kFromModule},

    {"device-stops", Probe::kToken, kBroken, "The token, its module or the TPM crashes or hangs",
     "{step}, in a process of its own: {error}",
     "see the module's own log; start its daemon (pcscd, tpm2-abrmd) anew, or take the token out "
     "and "
     "put it in again (a TPM without a manager: `tpm2_flushcontext -t`, `tpm2_flushcontext -s`); "
     "`--patience` gives a slow one more time; else ask its maker",
     kFromToken},
    {"token-unreadable", Probe::kToken, kBroken, "The token cannot be looked at", "{error}",
     "connect it again; see that its reader and daemon (pcscd) are there", kFromToken},
    {"tpm-unreadable", Probe::kToken, kBroken, "The TPM does not answer as one", "{error}",
     "see what stands behind the TCTI {tcti}", kFromToken},
    {"token-label-wrong", Probe::kToken, kBroken,
     "There is no token called {wanted}: did you mean {near}?",
     "{module} shows the tokens {there}{looks}", "write {near} where it says {wanted} ({setting})",
     kFromToken},
    {"uri-token-wrong", Probe::kToken, kBroken,
     "The key's URI names a token {wanted}: did you mean {near}?",
     "{uri}; the section of {backend} serves {there}", "write token={near} in the URI", kFromToken},
    {"uri-token-not-served", Probe::kToken, kBroken, "No backend serves the token of the key's URI",
     "{uri}; the section of {backend} serves {there} alone",
     "correct token= in the URI, or write a section for that token into openssl.cnf", kFromToken},
    {"module-environment-lost", Probe::kToken, kBroken,
     "The variable {variable} was lost on the way through {way}, so the module looks elsewhere",
     "{process} has {variable}={value}, and here it is not set{looks}",
     "write it into the section of {backend}: `environment = {variable}={value}`; or keep it: "
     "`sudo "
     "--preserve-env={variable} COMMAND`",
     kFromToken},
    {"token-not-there", Probe::kToken, kBroken, "There is no token called {wanted}",
     "{module} shows the tokens {there}{looks}",
     "connect it, or name another one ({setting}); `hwid list` shows what is there", kFromToken},
    {"token-not-initialized", Probe::kToken, kBroken, "The token is not initialized",
     "{module} shows a token without a label{looks}",
     "initialize it: `hwid init token {uri} --label {label}`; or let the module look where the "
     "token is (SoftHSM: SOFTHSM2_CONF)",
     kFromToken},
    {"token-none", Probe::kToken, kBroken, "The module shows no token", "{module} has none{looks}",
     "connect the token; see that its reader and daemon (pcscd) are there", kFromToken},
    {"token-label-twice", Probe::kToken, kBroken, "Two tokens have the label {label}",
     "{module} shows {uris}",
     "name the one that is meant by its serial number, as in {uri}; or give one another label",
     kFromPin},

    {"pin-source-wrong", Probe::kPin, kBroken, "What stands for the PIN's source is none",
     "`pin-source` of {backend}, or of the URI; it is not shown, since it may be the PIN itself",
     "write file:PATH, env:NAME, credential:NAME or keyring:NAME", kFromPin},
    {"pin-source-not-there", Probe::kPin, kBroken, "The PIN is not where it should be", "{error}",
     "do as the message says; `pin-source` is in the section of {backend}, or in the URI",
     kFromPin},
    {"pin-file-closed", Probe::kPin, kBroken, "The PIN's file cannot be read by {user}",
     "{error}; {owner}",
     "give it to the user of the programs: `chown USER {'path'}`, `chmod 0400 {'path'}`", kFromPin},
    {"pin-file-writable", Probe::kPin, kBroken, "Everybody may write the PIN's file", "{error}",
     "`chmod 0400 {'path'}`, and set a new PIN if that was so for long: `hwid pin change {uri}`",
     kFromPin},
    {"pin-empty", Probe::kPin, kBroken, "The PIN is empty", "{error}",
     "put the PIN into its first line: `printf '%s' PIN > FILE` leaves it in the shell's history, "
     "an editor does not",
     kFromPin},
    {"pin-locked", Probe::kPin, kBroken, "The PIN of {token} is locked",
     "the token says so (CKF_USER_PIN_LOCKED); no PIN was sent",
     "unlock it with the SO PIN: `hwid pin unblock {uri}`", kFromPin},
    {"pin-last-try", Probe::kPin, kBroken, "The PIN of {token} has one try left",
     "the token says so (CKF_USER_PIN_FINAL_TRY); hwid sends none then, and this command sent none",
     "stop what has it wrong (`hwid audit` finds failed logins), then log in once with the right "
     "one: `pkcs11-tool --module {'module'} --token-label {'label'} --login --list-objects`; or "
     "set a new one: `hwid pin unblock {uri}`",
     kFromPin},
    {"pin-not-set", Probe::kPin, kBroken, "{token} has no user PIN yet",
     "the token says so: CKF_USER_PIN_INITIALIZED is not set",
     "set one by the SO PIN: `hwid pin unblock {uri}`", kFromPin},
    {"pin-to-be-changed", Probe::kPin, kBroken, "{token} wants a new PIN first",
     "the token says so (CKF_USER_PIN_TO_BE_CHANGED); no PIN was sent",
     "set one: `hwid pin change {uri}`", kFromPin},
    {"pin-missing", Probe::kPin, kBroken, "Nobody gives a PIN for {token}",
     "the token requires a login; neither the URI nor the section of {backend} has a PIN",
     "write `pin-source = file:PATH` into the section of {backend}, or give ?pin-source=file:PATH "
     "in the URI; the file is for the programs' user alone",
     kFromPin},
    {"pin-for-several", Probe::kPin, kBroken,
     "Several tokens are meant, and so the PIN is sent to none of them",
     "{key} means {tokens}; a wrong PIN costs a try, so it goes only to a token that is named; "
     "none "
     "was sent",
     "write token=LABEL into the key's URI, or `token = LABEL` into the section of {backend}",
     kFromPin},
    {"pin-for-the-named", Probe::kPin, kRisk,
     "The section of {backend} has a PIN for several tokens",
     "it serves {tokens}; the PIN is sent only to one that a URI names, and was not tried here",
     "write `token = LABEL` into the section of {backend}, and for each token a section of its own",
     kNothing},
    {"pin-has-more", Probe::kPin, kBroken, "The PIN's file holds more than the PIN",
     "{error}; what was read from {source} {oddity}",
     "take that out with an editor; it cost one try", kFromPin},
    {"pin-wrong", Probe::kPin, kBroken, "The PIN of {token} is wrong",
     "{error}; it came from {source}, and was sent once",
     "correct it there; `hwid pin state {uri}` says how many tries are left", kFromPin},
    {"login-fails", Probe::kPin, kBroken, "The token takes no login", "{error}",
     "do as the message says", kFromPin},
    {"tpm-lockout", Probe::kPin, kBroken, "The TPM is in lockout: it takes no auth value any more",
     "{failures} of {most} failures; {forgiven}", "wait, or end it: `hwid pin unblock {uri}`",
     kFromPin},
    {"tpm-last-try", Probe::kPin, kBroken, "The next wrong auth value locks the TPM",
     "{failures} of {most} failures; {forgiven}; this command sent none",
     "stop what has it wrong (`hwid audit` finds it), and forgive them: `hwid pin unblock {uri}`",
     kFromPin},
    {"pin-file-readable", Probe::kPin, kRisk, "Everybody may read the PIN's file",
     "{path}: {owner}", "`chmod 0400 {'path'}`", kNothing},
    {"pin-file-of-other", Probe::kPin, kRisk, "Another user owns the PIN's file",
     "{path}: {owner}; this is {user}", "`chown USER {'path'}` for the user of the programs",
     kNothing},

    {"uri-type-wrong", Probe::kKey, kBroken, "The URI of the key asks for {type}", "{uri}",
     "write type=private, or leave it out", kFromKey},
    {"key-only-other-half", Probe::kKey, kBroken,
     "There is {half} of that name, and no private key",
     "{uri}: no private key matches; the token has {there}",
     "name the private key's own label or id; where it is gone, make a new pair: "
     "`hwid generate {generate}`",
     kFromKey},
    {"key-id-wrong", Probe::kKey, kBroken, "The key of that label has another id",
     "{uri}: nothing matches; the one of that label has id={id}", "write id={id}, or leave id= out",
     kFromKey},
    {"key-label-wrong", Probe::kKey, kBroken, "There is no key of that label: did you mean {near}?",
     "{uri}: nothing matches; the token has {there}", "write object={near}", kFromKey},
    {"key-not-there", Probe::kKey, kBroken, "The key is not on the token",
     "{uri}: nothing matches; the token has {there}",
     "correct object= or id=, or make the key: `hwid generate {generate}`", kFromKey},
    {"tpm-key-not-there", Probe::kKey, kBroken, "The key is not in the TPM",
     "{error}; the TPM has {there}",
     "correct the handle; where the TPM was cleared, its keys are gone for good: make a new one "
     "(`hwid generate {generate}`), and have its certificate issued anew",
     kFromKey},
    {"tpm-key-foreign", Probe::kKey, kBroken,
     "The key in the file was made by another TPM, or below another parent", "{error}",
     "use the file that was made by this TPM as it is now: clearing a TPM ends all keys that it "
     "has wrapped, starting it anew those below its null hierarchy; else make a new one (`hwid "
     "generate tpm2: --out FILE`), and have its certificate issued anew",
     kFromKey},
    {"tpm-parent-not-there", Probe::kKey, kBroken, "The parent of the key in the file is not there",
     "{error}",
     "make the parent again where it was, from the same template: `tpm2_createprimary -C o -c "
     "FILE`, "
     "`tpm2_evictcontrol -C o -c FILE HANDLE`; where the TPM was cleared since, its keys are gone "
     "for good: make a new one (`hwid generate tpm2: --out FILE`), and have its certificate issued "
     "anew",
     kFromKey},
    {"tpm-no-slots", Probe::kKey, kBroken, "The TPM has no slot left", "{error}",
     "use the kernel's resource manager, `tcti = device:/dev/tpmrm0`; or end what is left behind: "
     "`tpm2_flushcontext -t`, and `-s` for sessions",
     kFromKey},
    {"tpm-policy", Probe::kKey, kBroken, "The TPM's policy for the key is not met", "{error}",
     "where it is bound to PCRs, compare them with those of the time when the key was made: "
     "`tpm2_pcrread`; firmware, boot loader or kernel have changed since, or were not these",
     kFromKey},
    {"key-several", Probe::kKey, kBroken, "Several keys have that name", "{error}",
     "add id=, or object=, as the message lists them; or remove the one that is of no use: `hwid "
     "delete URI`",
     kFromKey},
    {"key-without-public-half", Probe::kKey, kBroken, "Nothing tells the key's public half",
     "{error}",
     "store its certificate with the same id: `hwid import`, or its public key with the token's "
     "own "
     "tool",
     kFromKey},
    {"key-auth", Probe::kKey, kBroken, "The key's PIN or auth value is wrong or missing", "{error}",
     "write the right one where `pin-source` says; it was sent once", kFromKey},
    {"tpm-parent-auth", Probe::kKey, kBroken,
     "The auth value of the key's parent is wrong or missing", "{error}",
     "say where the right one is: `?parent-pin-source=file:PATH` behind the key's URI, or the "
     "variable TPM2OPENSSL_PARENT_AUTH; it was sent once",
     kFromKey},
    {"key-of-other-kind", Probe::kKey, kBroken, "The key is of a kind that hwid does not use",
     "{error}", "use a key of RSA, EC or an Edwards curve", kFromKey},
    {"key-fails", Probe::kKey, kBroken, "The key cannot be opened", "{error}",
     "do as the message says", kFromKey},
    {"key-can-leave", Probe::kKey, kRisk, "The key can be exported", "{uri}: {facts}",
     "make a new one with `hwid generate URI`, which never makes such a key, and have its "
     "certificate "
     "issued anew",
     kNothing},

    {"properties-want-fips", Probe::kUse, kBroken,
     "openssl.cnf wants fips=yes of all that is used, and hwid's keys are not called that",
     "{file}: the section that alg_section names has it (default_properties, or fips_mode), and "
     "[{section}] does not say that the token is a validated module, so OpenSSL passes hwid over; "
     "{error}",
     "if it is one (FIPS 140), write `pkcs11-module-assume-fips = true` into [{section}]; if not, "
     "make it a wish with a question mark: `default_properties = ?fips=yes`",
     kFromUse},
    {"properties-hide-hwid", Probe::kUse, kBroken,
     "The default properties of openssl.cnf keep hwid out",
     "{file} has default_properties = {properties}; {error}",
     "take them away, or make them a wish with a question mark: `?provider=default`", kFromUse},
    {"openssl-cannot-open", Probe::kUse, kBroken, "OpenSSL cannot open the key", "{error}",
     "do as the message says; if another provider of openssl.cnf answers in hwid's place, name the "
     "key as hwid://NAME",
     kFromUse},
    {"key-may-not-sign", Probe::kUse, kBroken, "The key may not sign", "{error}",
     "use a key that was made for signing: `hwid generate URI` makes one (CKA_SIGN of this one is "
     "false)",
     kFromUse},
    {"key-does-not-sign", Probe::kUse, kBroken, "The key does not sign", "{error}",
     "do as the message says", kFromUse},
};

}  // namespace

std::span<const Cause> token_causes() noexcept { return kRows; }

}  // namespace hwid::tool::doctor
