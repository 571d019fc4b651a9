#!/bin/bash
# README.md's commands and examples, run as they are written. What builds and installs is run by
# tools/quickstart.sh and tools/ci.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
README=$HWID_TESTS_DIR/../README.md
PATH=$PATH:/usr/sbin
need swtpm python3 mosquitto mosquitto_pub curl
[ -x "$HWID_CLOUD_DIR/hwid-test-cloud" ] || skip 'hwid-test-cloud was not built'

# Each piece, that is the indented lines up to an empty one, as $T/piece.N.
python3 - "$README" "$T/piece" <<'PY'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
for number, piece in enumerate(re.findall(r"(?:^ {4}.*\n)+", text, re.M)):
    with open(f"{sys.argv[2]}.{number}", "w", encoding="utf-8") as file:
        file.write(re.sub(r"^ {4}", "", piece, flags=re.M))
PY
USED=0
piece() { # TEXT: the one that begins with it
    local file found=()
    for file in "$T"/piece.*; do
        if head -n 1 "$file" | grep -qF -- "$1"; then found+=("$file"); fi
    done
    [ ${#found[@]} = 1 ] || fail "${#found[@]} pieces begin with: $1"
    PIECE=${found[0]}
    USED=$((USED + 1))
}
run() { # [SED-ARGUMENT...]: the piece, changed by sed, in the home of the test's user
    { echo 'set -e' && sed -e '' "$@" "$PIECE"; } > "$T/script"
    (cd "$HOME" && bash "$T/script") > "$T/out" 2>&1 < /dev/null || fail "$(cat "$T/script" "$T/out")"
}
export HOME=$T/home OPENSSL_MODULES=$HWID_MODULE_DIR \
    PATH=$HWID_TOOLS_DIR:$HWID_SAMPLES_DIR:$PATH
mkdir "$HOME"
request_is_good() { # in $T/out
    sed -n '/BEGIN/,/END/p' "$T/out" | plain_openssl req -verify -noout -subject > "$T/subject" 2>&1 ||
        fail "$(cat "$T/out")"
    expect_text "$T/subject" MyProduct
}

# What is run elsewhere is there.
piece 'tools/quickstart.sh'
awk '{print $1}' "$PIECE" | while read -r program; do
    [ -x "$HWID_TESTS_DIR/../$program" ] || fail "there is no $program"
done
piece 'cmake --preset packages'

# By hand, with SoftHSM, and with the machine's TPM.
piece 'cmake --preset release'
run -e '/^cmake /d' -e '/^export PATH=/d'
request_is_good
start_tpm
piece 'hwid generate tpm2:'
export TPM2OPENSSL_TCTI=$TPM_TCTI
OPENSSL_CONF=$T/plain.cnf run
request_is_good

# The configuration; from SoftHSM to the TPM by its last line.
make_token softhsm2-token rsa:2048,label=mqtt-mtls-key-rsa
piece 'openssl_conf = init'
sed -e "s|/usr/lib/softhsm/libsofthsm2.so|$HWID_SOFTHSM_MODULE|" \
    -e "s|/etc/hwid/dev.pin|$T/pin|" "$PIECE" > "$T/openssl.cnf"
cp "$T/openssl.cnf" "$T/softhsm.cnf"
public_key() { OPENSSL_CONF=$T/openssl.cnf openssl pkey -in hwid://device -pubout; }
expect_text <(public_key) 'PUBLIC KEY'
public_key > "$T/softhsm.pub"
device=$(grep -o '.device = tpm2:[^ ]*0x[0-9]*' "$README" | cut -c2-)
sed -i "\$ s|.*|$device|" "$T/openssl.cnf"
public_key > "$T/tpm.pub"
if cmp -s "$T/softhsm.pub" "$T/tpm.pub"; then fail 'the last line changes nothing'; fi
cp "$T/softhsm.cnf" "$T/openssl.cnf"

# With other programs.
make_ca ca
issue_cert ca server server ec:P-256
piece 'export OPENSSL_CONF='
run -e "s|/etc/hwid/openssl.cnf|$T/openssl.cnf|"
issue_cert ca device client "$HOME/device.csr"
issue_cert ca other client ec:P-256
cp "$T/ca.pem" "$T/device.pem" "$HOME"
MQTT=$(free_port)
printf '%s\n' "listener $MQTT localhost" "cafile $T/ca.pem" "certfile $T/server.pem" \
    "keyfile $T/server.key" 'require_certificate true' 'use_identity_as_username true' \
    'log_type all' > "$T/mosquitto.conf"
if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/mosquitto.conf"; fi
start_daemon "$T/broker.log" "port_answers $MQTT" env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" \
    mosquitto -c "$T/mosquitto.conf"
HTTPS=$(free_port)
start_daemon "$T/https.log" "port_answers $HTTPS" env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" \
    openssl s_server -accept "127.0.0.1:$HTTPS" -www -cert "$T/server.pem" -key "$T/server.key" \
    -CAfile "$T/ca.pem" -Verify 1 -verify_return_error
printf '%s\n' "endpoint = mqtts://localhost:$MQTT" 'client-id = device' 'ca-file = ca.pem' \
    'cert = device.pem' 'key = hwid://device' > "$HOME/device.conf"
piece 'hwid-publish --config'
export OPENSSL_CONF=$T/openssl.cnf no_proxy=localhost
run -e "s/8883/$MQTT/; s/8443/$HTTPS/" -e '/^hwid-subscribe/s/$/ \& echo $! > subscriber/'
HWID_DAEMONS+=("$(cat "$HOME/subscriber")")
expect_text "$T/out" 'Cipher'
[ "$(grep -c "Received PUBLISH from .*mqtt-mtls-pkcs-test-topic/req" "$T/broker.log")" = 2 ] ||
    fail "not two messages: $(cat "$T/broker.log")"
subscribed() { grep -q 'mqtt-mtls-pkcs-test-topic/resp (QoS' "$T/broker.log"; }
wait_for 20 subscribed || fail "$(cat "$T/out" "$T/broker.log")"
OPENSSL_CONF=$T/plain.cnf mosquitto_pub -h localhost -p "$MQTT" --cafile "$T/ca.pem" \
    --cert "$T/other.pem" --key "$T/other.key" -t mqtt-mtls-pkcs-test-topic/resp -m answered -q 1
wait_for 20 grep -q answered "$T/out" || fail "the subscriber heard nothing: $(cat "$T/out")"
stop_daemon "$(cat "$HOME/subscriber")"

piece 'context = ssl'
(cd "$HOME" && { echo 'import ssl'; cat "$PIECE"; } | python3 -) || fail 'Python'
piece 'auto transport ='
if [ -z "${HWID_PRELOAD:-}" ] && command -v c++ > /dev/null; then
    {
        echo '#include <hwid/transport.h>'
        echo 'int main() {'
        cat "$PIECE"
        echo '}'
    } > "$T/example.cpp"
    build=$HWID_SAMPLES_DIR/../transport
    c++ -std=c++20 -I "$HWID_TESTS_DIR/../transport/include" "$T/example.cpp" -o "$T/example" \
        -L "$build" -lhwid-transport
    (cd "$HOME" && LD_LIBRARY_PATH=$build "$T/example") || fail 'the program in C++'
    expect_text "$T/broker.log" 'things/7/req'
else
    echo 'skipped: the program in C++: no compiler, or a sanitizer'
fi

# The hwid command, line by line: with an EST server, and AWS's stand-in for what is provisioned. Of
# sudo the system's openssl.cnf is another.
unset SOFTHSM2_CONF
export OPENSSL_CONF=$HOME/.local/share/hwid/dev/openssl.cnf
start_est
rm -f "$HOME"/device.*
cp "$EST/ca.pem" "$HOME/ca.pem"
printf '%s\n' "endpoint = mqtts://localhost:$MQTT" 'client-id = device-7' "est-url = $EST_URL" \
    "state-dir = $T/state.d" 'key = hwid://device' "claim-cert = $T/born.pem" \
    "claim-key = $T/born.key" > "$HOME/device.conf"
cp "$HWID_TESTS_DIR/../conf/aws-claim-policy.json" "$T/claim-policy.json"
aws_conf() {
    printf '%s\n' "endpoint = mqtts://localhost:${CLOUD_PORT:-8883}" 'profile = aws' \
        "ca-file = $T/cloud.pem" 'key = hwid://device' "state-dir = $T/aws" \
        "claim-cert = $T/claim.pem" "claim-key = $T/claim.key" 'template-name = factory' \
        'template-parameters = {"SerialNumber":"7"}' 'topics.publish = line/7/req'
}
aws_conf > "$T/aws.conf"
hwid aws policy --config "$T/aws.conf" --region eu-central-1 --account 123456789012 --fleet \
    --out "$T/policy.json" > "$T/out"
start_cloud aws "$T/policy.json" "$T/claim-policy.json"
aws_conf > "$T/aws.conf"
issue_cert cloud claim client ec:P-256
# A core device of Greengrass, with the certificate that is enrolled before.
printf '%s\n' 'profile = aws' 'endpoint = mqtts://a-ats.iot.eu-central-1.amazonaws.com' \
    'credentials-endpoint = https://a.credentials.iot.eu-central-1.amazonaws.com' \
    'client-id = core-7' 'thing-name = core-7' 'role-alias = core' 'ca-file = ca.pem' \
    "cert = $T/state.d/device/current/cert.pem" 'key = hwid://device' > "$T/core.conf"
printf 'openssl_conf = init\n[init]\n' > "$T/system.cnf"
piece 'hwid list'
run -e "/provision aws/s|device.conf|$T/aws.conf|; /greengrass/s|device.conf|$T/core.conf|" \
    -e "s|^sudo \(hwid enable\)|\1 --openssl-conf $T/system.cnf --from $HOME/.local/share/hwid/dev/hwid.cnf|"
expect_text "$T/system.cnf" hwid
[ -s "$T/state.d/device/current/cert.pem" ] || fail 'nothing was enrolled'
[ -s "$T/aws/device/current/cert.pem" ] || fail 'nothing was provisioned'
[ -s "$HOME/key.html" ] || fail 'there is no report'

[ "$(find "$T" -maxdepth 1 -name 'piece.*' | wc -l)" = $USED ] || fail 'a piece was not run'
