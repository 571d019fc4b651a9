#!/bin/bash
# hwid greengrass classic: what it writes lets Java connect by mutual TLS, and what would not is not
# written.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
# shellcheck disable=SC2034  # of make_token
PIN='7"3\15'

make_token other
make_token line rsa:2048,label=rsa,id=01 'ec:P-256,label=my key,id=02' 'ec:P-256,label=a;b,id=03' \
    'ec:P-256,label=schlüssel,id=04'
make_conf "$T/openssl.cnf" default-first line 'keys.device=pkcs11:token=line;id=%01' \
    'keys.ec=pkcs11:token=line;id=%02;type=private'
export OPENSSL_CONF=$T/openssl.cnf
make_ca ca
issue_cert ca server server ec:P-256
for key in 1 2 4; do
    openssl pkey -in "pkcs11:token=line;id=%0$key" -pubout -out "$T/$key.pub"
    issue_cert ca device-$key client "$T/$key.pub"
done
cat > "$T/device.conf" << END
endpoint = mqtts://prefix-ats.iot.eu-central-1.amazonaws.com
credentials-endpoint = https://prefix.credentials.iot.eu-central-1.amazonaws.com
client-id = client
thing-name = line-7
role-alias = device-role
ca-file = $T/ca.pem
cert = $T/device-1.pem
key = hwid://device
END
classic() { # OPTION...: into $OUT
    hwid greengrass classic --config "$T/device.conf" --nucleus-version 2.14.0 \
        --out "${OUT:-$T/config.yaml}" "$@"
}
of_config() { # KEY: its value in $T/config.yaml, without the quotes
    sed -n "s/^ *$1: \"\{0,1\}\(.*[^\"]\)\"\{0,1\}$/\1/p" "$T/config.yaml"
}
not_written() { # ID OPTION...: the doctor's cause; FORCE is set where a file is there
    local id=$1
    shift
    expect_exit 1 classic --json "$@"
    [ "$(json 'd["cause"]["id"]')" = "$id" ] || fail "not $id: $(cat "$T/out")"
    expect_text "$T/err" 'is not written'
}

# --- what is refused before a PIN is used or anything is written
refused 2 nucleus-version hwid greengrass classic --config "$T/device.conf"
refused 2 '--key' hwid greengrass classic --nucleus-version 2.14.0
refused 2 '--region' classic --data-endpoint broker.example
OUT=$T/device.conf refused 2 'which is needed' classic --force
refused 3 "$T/none.pem" classic --cert "$T/none.pem"
refused 1 'object=a;b' classic --key 'pkcs11:token=line;id=%03' --cert pkcs11:
refused 1 'beyond ASCII' classic --key 'pkcs11:token=line;id=%04' --cert pkcs11:
refused 3 'several tokens match' classic --key 'pkcs11:object=rsa'
refused 1 'an ordinary key' classic --key "$T/ca.key"
cp "$HWID_SOFTHSM_MODULE" "$T/soft,hsm.so"
HWID_CONF_MODULE=$T/soft,hsm.so make_conf "$T/comma.cnf" default-first line
refused 1 'only letters, digits' classic --openssl-conf "$T/comma.cnf" --key 'pkcs11:token=line;object=rsa'
refused 1 'hwid greengrass lite' classic --key tpm2:handle=0x81000002
echo wrong > "$T/wrong-pin" && chmod 0600 "$T/wrong-pin"
expect_exit 1 classic --key 'pkcs11:token=line;id=%01' --pin-source "file:$T/wrong-pin"
expect_text "$T/err" CKR_PIN_INCORRECT
[ ! -e "$T/config.yaml" ] || fail "$(cat "$T/config.yaml")"
issue_cert ca stranger client ec:P-256
refused 1 'another key' classic --cert "$T/stranger.pem"
expect_exit 0 hwid list pkcs11:token=line --json
if grep -q '"subject"' "$T/out"; then fail "a certificate was stored: $(cat "$T/out")"; fi

# --- what the doctor finds is not written
not_written greengrass-endpoint-wrong --credentials-endpoint prefix-ats.iot.eu-central-1.amazonaws.com
not_written certificate-unusable --cert 'pkcs11:token=line;type=cert'
not_written ca-unusable --ca "$T/nowhere.pem"
[ ! -e "$T/config.yaml" ] || fail "$(cat "$T/config.yaml")"

# --- what works is, for its owner alone, and is told
umask 022
expect_exit 0 classic
expect_text "$T/out" 'certificate   was there'
expect_text "$T/out" 'certificate CN=device-1'
expect_text "$T/out" '--trusted-plugin'
expect_text "$T/out" "SOFTHSM2_CONF=$SOFTHSM2_CONF"
[ "$(stat -c %a "$T/config.yaml")" = 600 ] || fail "$(stat -c %a "$T/config.yaml")"
if grep -qF '7"3' "$T/out" "$T/err"; then fail "the PIN is shown: $(cat "$T/out" "$T/err")"; fi
expect_exit 0 hwid doctor --config "$T/config.yaml"
cat > "$T/wanted" << END
---
system:
  certificateFilePath: "pkcs11:token=line;object=rsa;type=cert"
  privateKeyPath: "pkcs11:token=line;object=rsa;type=private"
  rootCaPath: "$T/ca.pem"
  rootpath: "/greengrass/v2"
  thingName: "line-7"
services:
  aws.greengrass.Nucleus:
    componentType: "NUCLEUS"
    version: "2.14.0"
    configuration:
      awsRegion: "eu-central-1"
      iotRoleAlias: "device-role"
      iotDataEndpoint: "prefix-ats.iot.eu-central-1.amazonaws.com"
      iotCredEndpoint: "prefix.credentials.iot.eu-central-1.amazonaws.com"
  aws.greengrass.crypto.Pkcs11Provider:
    configuration:
      name: "hwid"
      library: "$HWID_SOFTHSM_MODULE"
      slot: $(of_config slot)
      userPin: "7\\"3\\\\15"
END
diff "$T/wanted" "$T/config.yaml" || fail "another file"

# --- never over a file without --force
cp "$T/config.yaml" "$T/before"
refused 1 'with --force' classic --thing another
cmp "$T/before" "$T/config.yaml" || fail "the file was changed"
not_written greengrass-endpoint-wrong --data-endpoint 'https://x' --region eu-central-1 --force
cmp "$T/before" "$T/config.yaml" || fail "the file was changed"
ln -s config.yaml "$T/link"
OUT=$T/link refused 3 'symbolic link' classic --force

# --- another key, whose name has a blank, without device.conf; and a renewed certificate
expect_exit 0 hwid greengrass classic --nucleus-version 2.14.0 --out "$T/ec.yaml" --json \
    --key hwid://ec --cert "$T/device-2.pem" --ca "$T/ca.pem" --thing t --region us-east-1 \
    --data-endpoint localhost --credentials-endpoint c.credentials.iot.us-east-1.amazonaws.com
[ "$(json 'd["certificate"] + " " + d["label"] + " " + d["thing"]')" = 'stored my key t' ] ||
    fail "$(cat "$T/out")"
if grep -q iotRoleAlias "$T/ec.yaml"; then fail "$(cat "$T/ec.yaml")"; fi
# A library by the name that openssl.cnf has, or by one that outlives its next version.
cp "$HWID_SOFTHSM_MODULE" "$T/soft.so.2.6.1"
ln -s soft.so.2.6.1 "$T/soft.so"
for module in "$T/soft.so" "$T/soft.so.2.6.1"; do
    HWID_CONF_MODULE=$module make_conf "$T/linked.cnf" default-first line
    OUT=$T/linked.yaml expect_exit 0 classic --openssl-conf "$T/linked.cnf" \
        --key 'pkcs11:token=line;object=rsa' --force
    expect_text "$T/linked.yaml" "library: \"$T/soft.so\""
done
issue_cert ca device-1 client "$T/1.pub"
OUT=$T/renewed.yaml refused 1 'beside the key' classic
expect_exit 0 classic --force
expect_text "$T/out" 'certificate   replaced'

# --- Java
if ! command -v javac > /dev/null; then
    echo 'skipped: the client in Java: there is no javac (default-jdk-headless)'
    exit 0
fi
start_tls_server
mkdir "$T/classes"
unset LD_PRELOAD # Java loads nothing of ours, and takes SIGSEGV for itself
javac -d "$T/classes" "$HWID_TESTS_DIR/../samples/java/TlsClient.java"
java_client() { # CONFIG: what Greengrass's plugin takes from it
    cp "$1" "$T/config.yaml"
    local label
    label=$(of_config privateKeyPath)
    label=${label#*object=} label=${label%%;*}
    timeout 120 java -cp "$T/classes" TlsClient "$(of_config library)" "$(of_config slot)" \
        "${label//%20/ }" "$T/pin" "$T/ca.pem" "https://localhost:$PORT/" > "$T/out" 2>&1
}
cp "$T/config.yaml" "$T/rsa.yaml"
java_client "$T/rsa.yaml" || fail "$(cat "$T/out")"
expect_device 1
java_client "$T/ec.yaml" || fail "$(cat "$T/out")"
expect_device 2
# What the command refuses Java does not find.
add_certificate line schlüssel 04 "$T/device-4.pem"
sed 's/object=rsa/object=schlüssel/' "$T/rsa.yaml" > "$T/umlaut.yaml"
expect_failure java_client "$T/umlaut.yaml"
expect_text "$T/out" 'no key with a certificate'
