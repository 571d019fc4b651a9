#!/bin/bash
# hwid doctor: Greengrass's config.yaml, of the Java Nucleus with its PKCS#11 plugin and of Lite.
# shellcheck disable=SC2016,SC2317  # messages have backticks
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
PIN=7315

make_token other
make_token greengrass rsa:2048,label=iotdevicekey,id=01
make_conf "$T/openssl.cnf" default-first greengrass
make_ca ca
OPENSSL_CONF=$T/openssl.cnf openssl pkey \
    -in 'pkcs11:token=greengrass;object=iotdevicekey?pin-value=7315' -pubout -out "$T/device.pub"
issue_cert ca device client "$T/device.pub"
add_certificate greengrass iotdevicekey 01 "$T/device.pem"
OPENSSL_CONF=$T/openssl.cnf hwid list --json > "$T/list" 2> "$T/err" || fail "$(cat "$T/err")"
SLOT=$(json "[t['slot_id'] for t in d['tokens'] if t['label'] == 'greengrass'][0]" "$T/list")
OTHER_SLOT=$(json "[t['slot_id'] for t in d['tokens'] if t['label'] == 'other'][0]" "$T/list")

cat > "$T/good.yaml" << END
---
system:
  certificateFilePath: "pkcs11:object=iotdevicekey;type=cert"
  privateKeyPath: "pkcs11:object=iotdevicekey;type=private"
  rootCaPath: "$T/ca.pem"
  rootpath: "/greengrass/v2"
  thingName: "MyThing"
services:
  aws.greengrass.Nucleus:
    componentType: "NUCLEUS"
    version: "2.9.5"
    configuration:
      awsRegion: "us-west-2"
      iotRoleAlias: "GreengrassCoreTokenExchangeRoleAlias"
      iotDataEndpoint: "device-data-prefix-ats.iot.us-west-2.amazonaws.com"
      iotCredEndpoint: "device-credentials-prefix.credentials.iot.us-west-2.amazonaws.com"
  aws.greengrass.crypto.Pkcs11Provider:
    componentType: "PLUGIN"
    version: "2.0.0"
    configuration:
      name: "softhsm_pkcs11"
      library: "$HWID_SOFTHSM_MODULE"
      slot: $SLOT
      userPin: "$PIN"
END
fault() { # ID FIX EDIT...: of the good file
    local id=$1 fix=$2 edit edits=()
    shift 2
    for edit in "$@"; do edits+=(-e "$edit"); done
    sed "${edits[@]}" "$T/good.yaml" > "$T/config.yaml"
    if cmp -s "$T/good.yaml" "$T/config.yaml"; then fail "no edit: $*"; fi
    blames "$id" "$fix" --config "$T/config.yaml"
    alone
}

# Java reads no openssl.cnf: one that is broken is not blamed.
export OPENSSL_CONF=$T/nowhere.cnf
healthy --config "$T/good.yaml"
expect_text "$T/out" 'config.yaml of Nucleus'
expect_text "$T/out" 'certificate CN=device'
cp "$T/good.yaml" "$T/good.yml"
healthy --config "$T/good.yml"
sed "s/slot: .*/slot: \"$SLOT\"/; s/;type=/;token=greengrass;type=/" "$T/good.yaml" > "$T/config.yaml"
healthy --config "$T/config.yaml"
# Before fleet provisioning there is no key yet.
cat > "$T/fleet.yaml" << 'END'
services:
  aws.greengrass.FleetProvisioningByClaim:
    configuration:
      rootCaPath: "/greengrass/v2/AmazonRootCA1.pem"
system:
  rootpath: "/greengrass/v2"
END
healthy --config "$T/fleet.yaml"

# --- the document
blames greengrass-file 'correct the path' --config "$T/nowhere.yaml"
head -c 40000000 /dev/zero | tr '\0' '#' > "$T/endless.yaml"
blames greengrass-file 'correct the path' --config "$T/endless.yaml"
sees 'name the file that is meant'
rm "$T/endless.yaml"
fault greengrass-yaml 'never tabs' 's/^  privateKeyPath/\tprivateKeyPath/'
sees "$T/config.yaml:4"
fault greengrass-yaml 'mend the line' 's/^  privateKeyPath/     privateKeyPath/'
fault greengrass-yaml 'mend the line' 's/^  thingName: "MyThing"/  thingName: "MyThing/'
fault greengrass-indentation 'stands under system' 's/^  privateKeyPath/privateKeyPath/;s/^  rootCaPath/rootCaPath/;s/^  rootpath/rootpath/;s/^  thingName/thingName/'
sees "$T/config.yaml:4"
fault greengrass-indentation 'stands under the beginning' '/^services:/,$s/^/  /'
fault greengrass-indentation 'under services' '/crypto.Pkcs11Provider/,$s/^/  /'
sees 'under services > aws.greengrass.Nucleus'
fault greengrass-indentation 'configuration' 's/^      library:/    library:/;s/^      slot:/    slot:/;s/^      userPin:/    userPin:/'
fault greengrass-key-misspelt 'write `privateKeyPath`' 's/privateKeyPath/privateKeypath/'
fault greengrass-key-misspelt 'write `library`' 's/library:/libary:/'
fault greengrass-key-misspelt 'aws.greengrass.crypto.Pkcs11Provider' 's/Pkcs11Provider/PKCS11Provider/'
fault greengrass-key-missing 'write it' '/userPin/d'
fault greengrass-key-missing 'write it' '/privateKeyPath/d'
fault greengrass-key-missing 'write it' 's/^  privateKeyPath:.*/  privateKeyPath:/'
fault greengrass-plugin-missing '--trusted-plugin' '/Pkcs11Provider/,$d'
fault greengrass-key-missing 'write it' '/thingName/d'
fault greengrass-key-missing 'write it' '/^  aws.greengrass.Nucleus:/,/iotCredEndpoint/d'
fault greengrass-key-missing 'write it' '/iotDataEndpoint/d'
fault greengrass-key-missing 'write it' 's/iotCredEndpoint: .*/iotCredEndpoint: ""/'
fault greengrass-key-misspelt 'write `iotCredEndpoint`' 's/iotCredEndpoint/iotCredEndPoint/'
fault greengrass-indentation 'services > aws.greengrass.Nucleus > configuration' 's/^      iot/    iot/;s/^      aws/    aws/'
fault greengrass-endpoint-wrong 'iot:Data-ATS' 's|iotDataEndpoint: "|&https://|'
sees 'a scheme'
fault greengrass-endpoint-wrong 'iot:Data-ATS' 's|\(iotDataEndpoint: .*\)"$|\1:8883"|'
sees 'a port'
fault greengrass-endpoint-wrong 'iot:CredentialProvider' 's|iotCredEndpoint: .*|iotCredEndpoint: "<CONFIGURE_THIS>"|'
fault greengrass-endpoint-wrong 'iot:Data-ATS' 's|device-data-prefix-ats.iot|c.credentials.iot|'
sees 'credential provider'
fault greengrass-endpoint-wrong 'iot:CredentialProvider' 's|device-credentials-prefix.credentials|d-ats|'
sed "s/userPin: .*/userPin: 0731/" "$T/good.yaml" > "$T/config.yaml"
blames greengrass-pin-unquoted 'in quotes' --config "$T/config.yaml"
if grep -q 0731 "$T/out"; then fail "the PIN is shown"; fi
sed "s/userPin: .*/userPin: $PIN/" "$T/good.yaml" > "$T/config.yaml"
healthy --config "$T/config.yaml" # a number that stays what it is

# Aliases that double each time.
{
    echo 'a0: &a0 {x: 1, y: 1}'
    for ((i = 1; i < 40; i++)); do echo "a$i: &a$i {x: *a$((i - 1)), y: *a$((i - 1))}"; done
} > "$T/config.yaml"
blames greengrass-yaml 'mend the line' --config "$T/config.yaml"
sees 'write out what they stand for'

# --- what it says
fault greengrass-uri-wrong 'type=private' 's/;type=private//'
fault greengrass-uri-wrong 'type=cert' 's/type=cert/type=private/'
fault greengrass-uri-wrong 'object=LABEL' 's/pkcs11:object=iotdevicekey;type=private/pkcs11:id=%01;type=private/'
fault greengrass-uri-wrong 'type=private' 's/pkcs11:object=iotdevicekey;type=private/pkcs11:objct=iotdevicekey;type=private/'
fault greengrass-labels-differ 'hwid import' 's/object=iotdevicekey;type=cert/object=devicecert;type=cert/'
fault module-not-there 'there it is' "s|library: .*|library: /nowhere/libsofthsm2.so|"
fault module-is-none 'own module' "s|library: .*|library: $HWID_MODULE_DIR/hwid.so|"
fault greengrass-slot-wrong 'slot: NUMBER' 's/slot: .*/slot: 1/'
sees "slot $SLOT: greengrass"
fault greengrass-slot-wrong "slot: $SLOT" 's/slot: .*/slot: 1/' 's/;type=/;token=greengrass;type=/'
fault greengrass-slot-no-number 'hwid list' 's/slot: .*/slot: first/'
fault key-not-there 'hwid generate' "s/slot: .*/slot: $OTHER_SLOT/"
fault pin-wrong 'correct it there' 's/userPin: .*/userPin: "9999"/'
fault key-label-wrong 'object=iotdevicekey' 's/object=iotdevicekey/object=iotdevicekay/'
fault ca-unusable 'AmazonRootCA1' "s|$T/ca.pem|/nowhere/ca.pem|"
issue_cert ca wrong client ec:P-256
fault certificate-of-other-key 'hwid csr' "s|certificateFilePath: .*|certificateFilePath: \"$T/wrong.pem\"|"
# What Java's key store does not find, though a certificate of that label is there.
make_token strange rsa:2048,label=strange,id=02 rsa:2048,label=twice,id=03
OPENSSL_CONF=$T/openssl.cnf hwid list --json > "$T/list" 2> "$T/err" || fail "$(cat "$T/err")"
STRANGE_SLOT=$(json "[t['slot_id'] for t in d['tokens'] if t['label'] == 'strange'][0]" "$T/list")
make_conf "$T/strange.cnf" default-first strange
for key in strange twice; do
    OPENSSL_CONF=$T/strange.cnf openssl pkey -in "$(key_uri strange $key)" -pubout -out "$T/$key.pub"
    issue_cert ca $key client "$T/$key.pub"
done
add_certificate strange strange 20 "$T/strange.pem"
fault greengrass-ids-differ "hwid delete 'pkcs11:token=strange;object=strange;type=cert'" \
    "s/slot: .*/slot: $STRANGE_SLOT/" 's/object=iotdevicekey/object=strange/'
sees "the key's id is %02, the certificate's %20"
add_certificate strange twice 03 "$T/twice.pem"
add_certificate strange twice 30 "$T/device.pem"
fault greengrass-label-several 'hwid delete' \
    "s/slot: .*/slot: $STRANGE_SLOT/" 's/object=iotdevicekey/object=twice/'
sees '2 certificates'
# As the fix says.
sed "s/slot: .*/slot: $STRANGE_SLOT/; s/object=iotdevicekey/object=strange/" "$T/good.yaml" > "$T/config.yaml"
export OPENSSL_CONF=$T/strange.cnf
expect_exit 0 hwid delete 'pkcs11:token=strange;object=strange;type=cert' --yes
expect_exit 0 hwid import 'pkcs11:token=strange;object=strange' "$T/strange.pem"
export OPENSSL_CONF=$T/nowhere.cnf
healthy --config "$T/config.yaml"
# Two at once.
fault greengrass-slot-wrong '' 's/slot: .*/slot: 1/' 's/userPin: .*/userPin: "9999"/'

# --- Lite: OpenSSL's way
cat > "$T/lite.yaml" << END
system:
  privateKeyPath: "pkcs11:token=greengrass;object=iotdevicekey;pin-value=$PIN"
  certificateFilePath: "$T/device.pem"
  rootCaPath: "$T/ca.pem"
  rootPath: "/var/lib/greengrass"
  thingName: "MyThing"
services:
  aws.greengrass.NucleusLite:
    componentType: "NUCLEUS"
    configuration:
      awsRegion: "us-east-1"
      iotRoleAlias: "GreengrassCoreTokenExchangeRoleAlias"
      iotCredEndpoint: "c.credentials.iot.us-east-1.amazonaws.com"
      iotDataEndpoint: "no-such-host.invalid"
      greengrassDataPlanePort: "8443"
END
OPENSSL_CONF=$T/openssl.cnf blames name-not-resolved 'getent hosts' --config "$T/lite.yaml"
alone # all before that is well
expect_text "$T/out" 'Nucleus Lite'
OPENSSL_CONF=$T/plain.cnf blames hwid-not-set-up 'hwid enable' --config "$T/lite.yaml"
for key in awsRegion iotRoleAlias; do
    sed "/$key/d" "$T/lite.yaml" > "$T/config.yaml"
    OPENSSL_CONF=$T/openssl.cnf blames greengrass-key-missing 'write it' --config "$T/config.yaml"
    expect_text "$T/out" "config.yaml has no $key"
done
sed 's/iotRoleAlias: .*/iotRoleAlias: ""/' "$T/lite.yaml" > "$T/config.yaml"
OPENSSL_CONF=$T/openssl.cnf blames greengrass-key-missing 'write it' --config "$T/config.yaml"
