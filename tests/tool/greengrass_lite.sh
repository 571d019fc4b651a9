#!/bin/bash
# hwid greengrass lite: with what it writes a program that does what Nucleus Lite does reaches the
# key, over MQTT's way, HTTP's, and that of fleet provisioning. Keys in SoftHSM, then in a TPM.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"

device_conf() { # KEY CERT
    cat > "$T/device.conf" << END
endpoint = mqtts://localhost
credentials-endpoint = https://c.credentials.iot.eu-central-1.amazonaws.com
client-id = line-7
role-alias = device-role
ca-file = $T/ca.pem
cert = $2
key = $1
END
}
lite() { # OPTION...: into $T/lite
    hwid greengrass lite --config "$T/device.conf" --region eu-central-1 --out "$T/lite/config.yaml" "$@"
}
key_of() { sed -n 's/^  privateKeyPath: "\(.*\)"$/\1/p' "$T/lite/config.yaml"; }
nucleus() { # WHAT...: with nothing but the two files
    env -i PATH="$PATH" LD_PRELOAD="${LD_PRELOAD:-}" ASAN_OPTIONS="${ASAN_OPTIONS:-}" \
        OPENSSL_CONF="$T/lite/openssl.cnf" \
        NUCLEUS_LITE_FILES="${FILES:-}" \
        "$HWID_BIN_DIR/hwid-test-nucleus-lite" "$T/lite/config.yaml" "$@" > "$T/out" 2> "$T/err" ||
        fail "$*: $(cat "$T/err" "$T/lite/config.yaml")"
}
connects() { # KEY: by each of its ways, and by those of later releases
    local FILES
    for FILES in '' store; do
        nucleus connect "$PORT" 3
        expect_device "$1"
        nucleus request "https://localhost:$PORT/"
        expect_device "$1"
    done
}
written() { # WANTED-KEY OPTION...
    local wanted=$1
    shift
    rm -rf "$T/lite" && mkdir "$T/lite"
    expect_exit 0 lite "$@"
    [ "$(key_of)" = "$wanted" ] || fail "not $wanted: $(cat "$T/lite/config.yaml")"
    if grep -rqF "$PIN" "$T/lite"; then fail "the PIN is in a file"; fi
}

# --- a PKCS#11 token
token_credentials
start_tls_server
device_conf hwid://rsa "$T/rsa.pem"
mkdir "$T/lite"
umask 022
expect_exit 0 lite
expect_text "$T/out" 'certificate CN=device-rsa'
expect_text "$T/out" 'provider      hwid'
cat > "$T/wanted" << END
---
system:
  privateKeyPath: "pkcs11:token=line;object=rsa;type=private"
  certificateFilePath: "$T/rsa.pem"
  rootCaPath: "$T/ca.pem"
  rootPath: "/var/lib/greengrass"
  thingName: "line-7"
services:
  aws.greengrass.NucleusLite:
    componentType: "NUCLEUS"
    configuration:
      awsRegion: "eu-central-1"
      iotRoleAlias: "device-role"
      iotDataEndpoint: "localhost"
      iotCredEndpoint: "c.credentials.iot.eu-central-1.amazonaws.com"
      runWithDefault:
        posixUser: "gg_component:gg_component"
      greengrassDataPlanePort: "8443"
END
diff "$T/wanted" "$T/lite/config.yaml" || fail "another file"
[ "$(stat -c %a "$T/lite/config.yaml" "$T/lite/openssl.cnf" | xargs)" = '644 644' ] || fail "modes"
connects rsa
env -u OPENSSL_CONF "$HWID_TOOLS_DIR/hwid" doctor --json \
    --openssl-conf "$T/lite/openssl.cnf" --config "$T/lite/config.yaml" > "$T/out" 2> "$T/err" || true
# Who listens at 8883 here, if anybody, is not the matter.
[ "$(json '{c["part"] for c in [d["cause"] or {"part": "TLS"}] + d["others"]} - {"The network", "TLS", "MQTT"}')" = 'set()' ] ||
    fail "$(cat "$T/out" "$T/err")"

# Never over a file, without --force; and nothing half.
cp "$T/lite/config.yaml" "$T/before"
refused 1 'with --force' lite --thing another
rm "$T/lite/config.yaml"
refused 1 'openssl.cnf: it exists already' lite
[ ! -e "$T/lite/config.yaml" ] || fail "half was written"
refused 2 'which is needed' lite --force --conf-out "$T/openssl.cnf"
refused 2 'which is needed' lite --force --conf-out "$T/device.conf"
refused 2 'is to be config.yaml' lite --force --conf-out "$T/lite/../lite/config.yaml"
expect_exit 0 lite --force --component-user u:g --root /srv/gg --json
[ "$(json 'd["thing"] + " " + d["provider"] + " " + d["openssl_cnf"]')" = "line-7 hwid $T/lite/openssl.cnf" ] || fail "$(cat "$T/out")"
expect_text "$T/lite/config.yaml" 'posixUser: "u:g"'
expect_text "$T/lite/config.yaml" 'rootPath: "/srv/gg"'

# Where the PIN is, is written; the PIN is not.
written "pkcs11:token=line;object=ec?pin-source=file:${T//\//%2f}%2fpin" --key 'pkcs11:token=line;object=ec' \
    --pin-source "file:$T/pin" --cert "$T/ec.pem"
connects ec
refused 1 'stand in config.yaml' lite --force --key "$(key_uri line ec pin)"
written 'pkcs11:token=line;object=ec;type=private' --key hwid://ec --cert "$T/ec.pem" \
    --conf-out "$T/lite/other.cnf"
mv "$T/lite/other.cnf" "$T/lite/openssl.cnf"
connects ec
# The certificate on the token, and the key's reference file.
expect_exit 0 hwid import hwid://ec "$T/ec.pem"
written "$T/ec.ref" --key ec.ref --cert 'pkcs11:token=line;object=ec'
expect_text "$T/lite/config.yaml" 'certificateFilePath: "pkcs11:token=line;object=ec;type=cert"'
connects ec
refused 2 '--cert' lite --force --cert 'pkcs11:token=line;object=ec;type=private'
refused 1 'the name is unknown' lite --force --key hwid://nobody

# The services have no variable of this shell: where the tokens are is written, where the settings name
# another place, none, or other variables.
export SOFTHSM2_CONF=$T/softhsm2.conf
nowhere=$T/nowhere-softhsm2.conf
sed "s|^environment = .*|environment = SOFTHSM2_CONF=$nowhere|" "$T/openssl.cnf" > "$T/elsewhere.cnf"
sed '/^environment/d' "$T/openssl.cnf" > "$T/silent.cnf"
sed 's/^\[hwid_sect\]/&\nenvironment = A_FIRST=1 B_NEXT=2/' "$T/silent.cnf" > "$T/others.cnf"
for settings in elsewhere silent others; do
    written 'pkcs11:token=line;object=rsa;type=private' --openssl-conf "$T/$settings.cnf"
    expect_text "$T/lite/openssl.cnf" "environment = SOFTHSM2_CONF=$SOFTHSM2_CONF"
    connects rsa
done
expect_text "$T/lite/openssl.cnf" "environment = SOFTHSM2_CONF=$SOFTHSM2_CONF A_FIRST=1 B_NEXT=2"
written 'pkcs11:token=line;object=rsa;type=private'
[ "$(grep -c '^environment' "$T/lite/openssl.cnf")" = 1 ] || fail "written twice: $(cat "$T/lite/openssl.cnf")"
# Where no openssl.cnf can hold it, it is told.
mkdir "$T/a b" && cp "$SOFTHSM2_CONF" "$T/a b/softhsm2.conf"
SOFTHSM2_CONF="$T/a b/softhsm2.conf" written 'pkcs11:token=line;object=rsa;type=private' \
    --openssl-conf "$T/silent.cnf"
expect_text "$T/out" "openssl.cnf' 'SOFTHSM2_CONF=$T/a b/softhsm2.conf' in the services"
# As is the variable that a PIN comes from.
sed 's/^pin-source = .*/pin-source = env:LINE_PIN/' "$T/openssl.cnf" > "$T/env-pin.cnf"
LINE_PIN=$PIN written 'pkcs11:token=line;object=rsa;type=private' --openssl-conf "$T/env-pin.cnf"
expect_text "$T/err" 'variable LINE_PIN'
# What this shell alone has, and nobody knows to write, is not taken for granted.
cp "$HWID_SOFTHSM_MODULE" "$T/vendor.so"
sed "s|^module = .*soft.*|module = $T/vendor.so|" "$T/silent.cnf" > "$T/vendor.cnf"
rm -rf "$T/lite" && mkdir "$T/lite"
expect_exit 3 lite --openssl-conf "$T/vendor.cnf"
expect_text "$T/err" 'environment = NAME=VALUE'
[ -z "$(ls -A "$T/lite")" ] || fail "$(ls -A "$T/lite")"
unset SOFTHSM2_CONF

# What would not start is not written.
rm -rf "$T/lite" && mkdir "$T/lite"
sed '/^role-alias/d' "$T/device.conf" > "$T/no-role.conf"
refused 2 '--role-alias' hwid greengrass lite --config "$T/no-role.conf" --region eu-central-1 \
    --out "$T/lite/config.yaml"
expect_exit 1 lite --json --cert "$T/ec.pem"
[ "$(json 'd["cause"]["id"]')" = certificate-of-other-key ] || fail "$(cat "$T/out")"
[ -z "$(ls -A "$T/lite")" ] || fail "$(ls -A "$T/lite")"
sed 's/^pin-source = .*/pin = 1111/' "$T/openssl.cnf" > "$T/pin.cnf"
refused 3 'pin-source = file:PATH' lite --openssl-conf "$T/pin.cnf"

# --- a TPM
if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip 'keys.ec=tpm2:handle=0x81000003'
openssl req -new -key handle:0x81000003 -subj /CN=device-chip -out "$T/chip.csr"
issue_cert ca chip client "$T/chip.csr"
device_conf hwid://ec "$T/chip.pem"
written handle:0x81000003
expect_text "$T/out" 'provider      tpm2'
expect_text "$T/lite/openssl.cnf" 'tpm2 = hwid_sect'
connects chip
nucleus provision "$T/lite.csr"
plain_openssl req -in "$T/lite.csr" -verify -noout -subject > "$T/out" 2>&1 || fail "$(cat "$T/out")"
expect_text "$T/out" aws-greengrass-nucleus-lite
[ "$(plain_openssl req -in "$T/lite.csr" -noout -pubkey)" = "$(plain_openssl req -in "$T/chip.csr" -noout -pubkey)" ] ||
    fail "another key: $(cat "$T/lite.csr")"
# The key's reference file, as an enrolment leaves it.
openssl pkey -in hwid:ec -out "$T/chip.ref"
expect_text "$T/chip.ref" '-----BEGIN HWID KEY REFERENCE-----'
written "$T/chip.ref" --key "$T/chip.ref"
connects chip
# The auth value from elsewhere than openssl.cnf, and a file that the TPM wrapped.
sed '/^pin-source/d' "$T/openssl.cnf" > "$T/no-pin.cnf"
written "handle:0x81000003?pin-source=file:${T//\//%2f}%2fpin" --openssl-conf "$T/no-pin.cnf" --key handle:0x81000003 \
    --pin-source "file:$T/pin"
connects chip
expect_exit 0 hwid generate tpm2: --type ec:P-256 --out "$T/wrapped.pem"
openssl req -new -key "$T/wrapped.pem" -subj /CN=device-wrapped -out "$T/wrapped.csr"
issue_cert ca of-file client "$T/wrapped.csr"
written "$T/wrapped.pem" --key "tpm2:file=$T/wrapped.pem" --cert "$T/of-file.pem"
connects wrapped
