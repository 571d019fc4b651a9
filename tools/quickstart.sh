#!/usr/bin/env bash
# From nothing to an MQTT message over mutual TLS, with a key that stays in its token. See --help.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"
. "$ROOT/tools/quickstart/daemons.sh"
. "$ROOT/tools/quickstart/files.sh"
. "$ROOT/tools/quickstart/proof.sh"

usage() {
    cat <<'TEXT'
tools/quickstart.sh [--keep DIR] [--allow-unproven] [--no-install] [--verbose]

Installs what is needed with apt, builds, makes a SoftHSM token and a TPM (swtpm) with keys that
cannot be exported, a certificate request, and a certificate by a local development CA; starts
mosquitto on a free port, publishes and receives over mutual TLS with SoftHSM's key, then, with one
line of openssl.cnf changed, with the TPM's; and proves that the key stayed in its token. Shows each
command. Leaves nothing running, and nothing behind.

  --keep DIR        work in DIR, a new or empty directory, and leave it to play with
  --allow-unproven  succeed where the memory of a process cannot be examined
  --no-install      install nothing
  --verbose         show what apt-get and cmake print
TEXT
}

KEEP='' ALLOW_UNPROVEN=no INSTALL=yes VERBOSE=no
while [ $# -gt 0 ]; do
    case $1 in
        --keep) KEEP=${2:?--keep DIR} && shift ;;
        --allow-unproven) ALLOW_UNPROVEN=yes ;;
        --no-install) INSTALL=no ;;
        --verbose) VERBOSE=yes ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
export VERBOSE
# What a developer's shell may hold, and must not change what happens here.
unset OPENSSL_CONF OPENSSL_MODULES SOFTHSM2_CONF PKCS11_PROVIDER_MODULE PKCS11_MODULE_PATH \
    PKCS11_PIN PKCS11_FORCE_LOGIN HWID_LOG P11_KIT_SERVER_ADDRESS TPM2OPENSSL_TCTI \
    TPM2OPENSSL_PARENT_AUTH
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

BUILD=$ROOT/build/release
PUBLISH=$BUILD/samples/hwid-publish
SUBSCRIBE=$BUILD/samples/hwid-subscribe
REQUEST_PROGRAM=$BUILD/samples/hwid-request
PROVE=$BUILD/tools/hwid-prove-key-stays
TOKEN=softhsm2-token
SOFTHSM_KEY="pkcs11:token=$TOKEN;object=mqtt-mtls-key-rsa"
TPM_KEY=tpm2:handle=0x81000002
TOPIC=mqtt-mtls-pkcs-test-topic
CLIENT=mqtt-mtls-pkcs-test-client
UNPROVEN=()

make_work_directory() {
    if [ -n "$KEEP" ]; then
        mkdir -p "$KEEP"
        [ -z "$(ls -A "$KEEP")" ] || fail "$KEEP is not empty; name a new directory"
        WORK=$(cd "$KEEP" && pwd)
        chmod 0700 "$WORK"
    else
        WORK=$(mktemp -d "${TMPDIR:-/tmp}/hwid-quickstart-XXXXXX")
    fi
    # Cores, and a socket, whose path must be short.
    RUN=$(mktemp -d /tmp/hwid-run-XXXXXX)
}

clean_up() {
    local code=$?
    trap - EXIT
    stop_all
    if [ -n "${RUN:-}" ]; then rm -rf "$RUN"; fi
    if [ -n "${WORK:-}" ] && [ -z "$KEEP" ]; then rm -rf "$WORK"; fi
    exit $code
}

step_packages() {
    step "Packages"
    if [ $INSTALL = yes ]; then
        install_packages quickstart
    else
        say "Not installed: --no-install."
    fi
    SOFTHSM=$(first_file /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so)
    P11_CLIENT=$(first_file /usr/lib/*/pkcs11/p11-kit-client.so)
}

step_build() {
    step "Build (preset release)"
    show_command cmake --preset release
    (cd "$ROOT" && attempt "cmake --preset release" cmake --preset release)
    show_command cmake --build --preset release
    (cd "$ROOT" && attempt "cmake --build --preset release" cmake --build --preset release)
    say "    $BUILD/provider/hwid.so"
    say "\$ export PATH=$BUILD/tools:\$PATH"
    PATH=$BUILD/tools:$PATH
}

step_token() {
    step "A SoftHSM token"
    must run hwid init softhsm --dir "$WORK/dev" --token $TOKEN
    PIN=$(cat "$WORK/dev/pin")
    # Programs that do not read openssl.cnf need it said.
    set_variable SOFTHSM2_CONF "$WORK/dev/softhsm2.conf"
}

step_tpm() {
    step "A TPM (swtpm stands in for the chip)"
    must run hwid init swtpm --dir "$WORK/tpm" --token tpm-token
}

step_configuration() {
    step "openssl.cnf says where the keys are"
    write_openssl_conf "$WORK/openssl.cnf" "$SOFTHSM_KEY"
    must run tail -n +1 "$WORK/openssl.cnf" "$WORK/dev/hwid.cnf" "$WORK/tpm/hwid.cnf"
    set_variable OPENSSL_CONF "$WORK/openssl.cnf"
    printf 'export OPENSSL_CONF=%q PATH=%q\n' "$WORK/openssl.cnf" "$PATH" > "$WORK/env"
}

step_keys() {
    step "Keys that cannot be exported: two on the token, one in the TPM"
    must run hwid generate hwid://device --type rsa:2048
    must run hwid generate hwid://peer
    must run hwid generate $TPM_KEY
    say "A file for programs that take files only; it names the key, and holds no secret:"
    must run hwid ref hwid://peer
}

certificate_of() { # NAME: for the key of that name
    must run hwid csr "hwid://$1" --subject "/CN=$CLIENT-$1" --out "$WORK/$1.csr" --force
    must run hwid ca sign "$WORK/$1.csr" --dir "$WORK/ca" --profile client --out "$WORK/$1.pem" \
        --force
}

step_csr() {
    step "A certificate request, signed in the token: any OpenSSL program can"
    must run openssl req -sha256 -new \
        -subj "/C=US/ST=California/L=San Francisco/O=MyCompany/CN=MyProduct" \
        -key "pkcs11:object=mqtt-mtls-key-rsa;type=private;token=$TOKEN?pin-value=$PIN" \
        -out "$WORK/aws_iot_mqtt.csr"
    must run openssl req -text -verify -noout -in "$WORK/aws_iot_mqtt.csr"
}

step_ca() {
    step "A development CA signs it"
    must run hwid ca init --dir "$WORK/ca" --subject "/CN=Quickstart CA" --days 30
    must run hwid ca sign "$WORK/aws_iot_mqtt.csr" --dir "$WORK/ca" --profile client --days 30 \
        --out "$WORK/device.pem"
    must run openssl verify -x509_strict -purpose sslclient -CAfile "$WORK/ca/ca.pem" \
        "$WORK/device.pem"
    must run hwid import hwid://device "$WORK/device.pem"
    certificate_of peer
    must run hwid list
    say "And a certificate with an ordinary key for the broker:"
    must run openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
        -keyout "$WORK/broker.key" -subj "/CN=localhost" -out "$WORK/broker.csr"
    must run hwid ca sign "$WORK/broker.csr" --dir "$WORK/ca" --profile server \
        --san DNS:localhost,IP:127.0.0.1 --out "$WORK/broker.pem"
}

step_device() {
    step "device.conf says what the device does"
    write_device_conf device "$CLIENT"
    write_device_conf peer "$CLIENT-peer"
    must run cat "$WORK/device.conf"
}

step_broker() {
    step "mosquitto asks for a client certificate"
    start_broker
    write_device_conf nobody "$CLIENT-nobody" no-credentials
    show_command "$PUBLISH" --config "$WORK/nobody.conf" --topic $TOPIC/req --message x
    if indented "$PUBLISH" --config "$WORK/nobody.conf" --topic $TOPIC/req --message x; then
        fail "the broker let somebody in who has no certificate"
    fi
    say "Refused, as it must be: that client showed no certificate."
}

# One message from one client to another, over mutual TLS on both sides.
deliver() { # FROM TO TOPIC MESSAGE
    local subscriber
    show_command "$SUBSCRIBE" --config "$WORK/$2.conf" --topic "$3" --count 1 --timeout 30
    start_daemon "$WORK/$2.out" "$WORK/$2.err" \
        "$SUBSCRIBE" --config "$WORK/$2.conf" --topic "$3" --count 1 --timeout 30
    subscriber=$DAEMON_PID
    wait_for 20 text_or_gone "$WORK/$2.err" "subscribed to" "$subscriber" || true
    must run "$PUBLISH" --config "$WORK/$1.conf" --topic "$3" --message "$4"
    reap "$subscriber"
    indented cat "$WORK/$2.out" "$WORK/$2.err"
    [ "$DAEMON_EXIT" = 0 ] || fail "hwid-subscribe ended with $DAEMON_EXIT; the broker said:
$(tail -n 20 "$WORK/broker.log")"
    [ "$(cat "$WORK/$2.out")" = "$3 $4" ] || fail "another message arrived than was sent"
}

step_messages() {
    step "Publish and receive over mutual TLS: the device's RSA key and the peer's EC key, in SoftHSM"
    REQUEST='{"requestId": "111-222-333", "requestTs": 1762072467}'
    RESPONSE='{"requestId": "111-222-333", "requestTs": 1762072467, "statusCode": "200"}'
    deliver device peer $TOPIC/req "$REQUEST"
    deliver peer device $TOPIC/resp "$RESPONSE"
    good "Both messages arrived, each over a connection that the token's key proved."
}

step_move_to_tpm() {
    step "The same with the TPM's key: one line of openssl.cnf changes, and the certificate"
    cp "$WORK/openssl.cnf" "$WORK/openssl.softhsm.cnf"
    write_openssl_conf "$WORK/openssl.cnf" "$TPM_KEY"
    if run diff "$WORK/openssl.softhsm.cnf" "$WORK/openssl.cnf"; then
        fail "openssl.cnf is what it was"
    fi
    certificate_of device
    deliver device peer $TOPIC/req "$REQUEST"
    deliver peer device $TOPIC/resp "$RESPONSE"
    good "The same program with the same device.conf, and the device's key is in the TPM."
}

step_end() {
    step "Nothing is left"
    must run hwid delete hwid://twin --yes
    stop_all
    say "mosquitto and all others have ended."
    if [ -n "$KEEP" ]; then
        say "Kept in $WORK; go on with:"
        say "    . '$WORK/env'; mosquitto -c '$WORK/mosquitto.conf' &"
        say "    '$WORK/tpm/start'"
        say "    '$PUBLISH' --config '$WORK/device.conf' --topic $TOPIC/req --message hello"
    else
        say "The work directory $WORK is removed."
    fi
    if [ ${#UNPROVEN[@]} = 0 ]; then
        good "Done: a message over mutual TLS, and the key never left its token."
        return
    fi
    printf '%sNOT PROVEN:%s %s\n' "$RED" "$PLAIN" "${UNPROVEN[@]}"
    [ $ALLOW_UNPROVEN = yes ] ||
        fail "everything else worked; --allow-unproven accepts what could not be proved"
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
make_work_directory
say "Source: $ROOT"
say "Work directory: $WORK"
step_packages
step_build
step_token
step_tpm
step_configuration
step_keys
step_csr
step_ca
step_device
step_broker
step_messages
step_move_to_tpm
step_proof_of_refusal
step_proof_of_memory
step_end
