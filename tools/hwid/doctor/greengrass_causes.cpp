// What can be wrong with Greengrass's config.yaml.
#include "tools/hwid/doctor/cause_rows.h"

namespace hwid::tool::doctor {
namespace {

constexpr Probes kAll = Probes::from(Probe::kGreengrass);
constexpr Probes kFromCertificate = Probes::from(Probe::kCertificate);
constexpr auto kBroken = Weight::kBroken;

constexpr Cause kRows[] = {
    {"greengrass-file", Probe::kGreengrass, kBroken, "Greengrass's config.yaml cannot be read",
     "{error}", "correct the path, and let the user of Greengrass read it", kAll},
    {"greengrass-yaml", Probe::kGreengrass, kBroken, "config.yaml is no YAML that can be read",
     "{error}",
     "mend the line: YAML wants blanks, never tabs, and the same number of them for keys that "
     "stand "
     "side by side",
     kAll},
    {"greengrass-indentation", Probe::kGreengrass, kBroken,
     "config.yaml: {key} stands in the wrong place",
     "{file}:{line}: it is under {found}, and belongs under {parent}",
     "indent it so that it stands under {parent}, two blanks deeper than that", kAll},
    {"greengrass-key-misspelt", Probe::kGreengrass, kBroken,
     "config.yaml: {detail} is unknown: did you mean {key}?", "{file}:{line}, under {parent}",
     "write `{key}`", kAll},
    {"greengrass-key-missing", Probe::kGreengrass, kBroken, "config.yaml has no {key}",
     "{file}: under {parent} there is none, or it has no value",
     "write it; https://docs.aws.amazon.com/greengrass/v2/developerguide/hardware-security.html "
     "shows a whole file",
     kAll},
    {"greengrass-plugin-missing", Probe::kGreengrass, kBroken,
     "config.yaml names a key in hardware, and not the plugin that opens it",
     "{file}: privateKeyPath is a pkcs11: URI, and services has no {key}",
     "write it under services, with componentType, version and a configuration of name, library, "
     "slot and userPin; and start the installer with --trusted-plugin "
     "PATH/aws.greengrass.crypto.Pkcs11Provider.jar",
     kAll},
    {"greengrass-pin-unquoted", Probe::kGreengrass, kBroken,
     "config.yaml: YAML takes the PIN for a number, which loses zeros in front",
     "{file}:{line}: userPin stands without quotes", "write it in quotes: `userPin: \"...\"`",
     kAll},
    {"greengrass-uri-wrong", Probe::kGreengrass, kBroken,
     "config.yaml: {key} is not a URI as the plugin wants it", "{file}:{line}: {detail}",
     "write `pkcs11:object=LABEL;type=private` as privateKeyPath, and the same with type=cert as "
     "certificateFilePath",
     kAll},
    {"greengrass-labels-differ", Probe::kGreengrass, kBroken,
     "config.yaml names a key and a certificate of different labels",
     "{file}:{line}: the key is called {detail}; the plugin finds the certificate by the key's "
     "label",
     "give the certificate the key's label when it is stored (`hwid import`), and write it here",
     kAll},
    {"greengrass-slot-no-number", Probe::kGreengrass, kBroken, "config.yaml: the slot is no number",
     "{file}:{line}, under {parent}",
     "write the number of the token's slot: `hwid list`, and `pkcs11-tool -L`, show it", kAll},
    {"greengrass-endpoint-wrong", Probe::kGreengrass, kBroken,
     "config.yaml: {key} is not the name of that service's host", "{file}:{line}: {detail}",
     "write the name alone: `aws iot describe-endpoint --endpoint-type {type}` shows it", kAll},
    {"greengrass-slot-wrong", Probe::kToken, kBroken, "config.yaml names a slot without a token",
     "{file}: {there}",
     "write `slot: {slot}`; SoftHSM gives a token a new number when it is initialized, `hwid list` "
     "shows it",
     Probes::from(Probe::kToken)},
    {"greengrass-label-several", Probe::kCertificate, kBroken,
     "Several certificates on the token have the label in config.yaml",
     "{file}: object={label}: {number} certificates; Java finds none of them by that name",
     "destroy those that are not in use: `hwid list 'pkcs11:token={token}'` shows them, `hwid "
     "delete "
     "'pkcs11:token={token};object={object};id=ID;type=cert'` takes one away",
     kFromCertificate},
    {"greengrass-ids-differ", Probe::kCertificate, kBroken,
     "The certificate on the token has another CKA_ID than the key",
     "{file}: object={label}: the key's id is {id}, the certificate's {other}; Java then finds no "
     "key to it",
     "store it beside its key: `hwid delete 'pkcs11:token={token};object={object};type=cert'`, "
     "then "
     "`hwid import 'pkcs11:token={token};object={object}' FILE`",
     kFromCertificate},
};

}  // namespace

std::span<const Cause> greengrass_causes() noexcept { return kRows; }

}  // namespace hwid::tool::doctor
