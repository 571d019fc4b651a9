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
TOKEN=softhsm2-token PIN=1111
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
}

step_token() {
    step "A SoftHSM token, and keys on it that cannot be exported"
    write_token_files
    set_variable SOFTHSM2_CONF "$WORK/softhsm2.conf"
    set_variable PKCS11_PROVIDER_MODULE "$SOFTHSM"
    set_variable OPENSSL_MODULES "$BUILD/provider"
    must run softhsm2-util --init-token --free --label $TOKEN --pin $PIN --so-pin 00000000
    local pin_source
    pin_source=pin-source=file:$(uri_escape "$WORK/pin")
    must run openssl genpkey -provider hwid -provider default -propquery provider=hwid \
        -algorithm RSA -pkeyopt rsa_keygen_bits:2048 \
        -pkeyopt "pkcs11_uri:pkcs11:token=$TOKEN;object=mqtt-mtls-key-rsa;id=%01?$pin_source" \
        -out "$WORK/mqtt-mtls-key-rsa.ref.pem"
    must run openssl genpkey -provider hwid -provider default -propquery provider=hwid \
        -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt "pkcs11_uri:pkcs11:token=$TOKEN;object=mqtt-mtls-key-ec;id=%02?$pin_source" \
        -out "$WORK/mqtt-mtls-key-ec.ref.pem"
    say "The .ref.pem files name the keys; they hold no secret:"
    must run cat "$WORK/mqtt-mtls-key-ec.ref.pem"
    must run pkcs11-tool --module "$SOFTHSM" --token-label $TOKEN --login --pin $PIN \
        --list-objects --type privkey
}

step_tpm() {
    step "A TPM (swtpm stands in for the chip), and a key in it"
    start_tpm
    set_variable TPM2OPENSSL_TCTI "swtpm:port=$TPM_PORT"
    must run openssl genpkey -provider hwid -provider default -propquery provider=hwid \
        -algorithm EC -pkeyopt group:P-256 -pkeyopt "hwid_uri:$TPM_KEY" \
        -out "$WORK/tpm-mqtt-mtls-key.ref.pem"
}

csr_of() { # NAME KEY-URI
    must run openssl req -provider hwid -provider default -new -sha256 -subj "/CN=$CLIENT-$1" \
        -key "$2" -out "$WORK/$1.csr"
}

step_csr() {
    step "A certificate request, signed in the token"
    must run openssl req -provider hwid -provider default -sha256 -new \
        -subj "/C=US/ST=California/L=San Francisco/O=MyCompany/CN=MyProduct" \
        -key "pkcs11:object=mqtt-mtls-key-rsa;type=private;token=$TOKEN?pin-value=$PIN" \
        -out "$WORK/aws_iot_mqtt.csr"
    must run openssl req -text -verify -noout -in "$WORK/aws_iot_mqtt.csr"
}

step_ca() {
    step "A development CA signs it"
    write_ca_conf
    must run openssl req -config "$WORK/ca.cnf" -x509 -new -newkey ec \
        -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$WORK/ca.key" -subj "/CN=Quickstart CA" \
        -extensions ca -days 30 -out "$WORK/ca.pem"
    sign aws_iot_mqtt.csr client device.pem
    must run openssl verify -x509_strict -purpose sslclient -CAfile "$WORK/ca.pem" "$WORK/device.pem"
    say "And a certificate with an ordinary key for the broker:"
    must run openssl req -config "$WORK/ca.cnf" -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -noenc -keyout "$WORK/broker.key" -subj "/CN=localhost" -out "$WORK/broker.csr"
    sign broker.csr server broker.pem
}

step_configuration() {
    step "openssl.cnf says where the key is, device.conf what the device does"
    unset PKCS11_PROVIDER_MODULE OPENSSL_MODULES TPM2OPENSSL_TCTI
    write_openssl_conf "$WORK/openssl.cnf" "$SOFTHSM" "$SOFTHSM_KEY"
    must run cat "$WORK/openssl.cnf"
    set_variable OPENSSL_CONF "$WORK/openssl.cnf"
    write_environment
    csr_of peer hwid://peer
    sign peer.csr client peer.pem
    write_device_conf device "$CLIENT"
    write_device_conf peer "$CLIENT-peer"
    must run cat "$WORK/device.conf"
    must run openssl pkey -in hwid://device -pubout -out "$WORK/device.pub"
    must run openssl x509 -in "$WORK/device.pem" -pubkey -noout -out "$WORK/device.pem.pub"
    must run cmp "$WORK/device.pub" "$WORK/device.pem.pub"
    say "The certificate is the key's."
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
    write_openssl_conf "$WORK/openssl.cnf" "$SOFTHSM" "$TPM_KEY"
    if run diff "$WORK/openssl.softhsm.cnf" "$WORK/openssl.cnf"; then
        fail "openssl.cnf is what it was"
    fi
    csr_of device hwid://device
    sign device.csr client device.pem
    deliver device peer $TOPIC/req "$REQUEST"
    deliver peer device $TOPIC/resp "$RESPONSE"
    good "The same program with the same device.conf, and the device's key is in the TPM."
}

step_end() {
    step "Nothing is left"
    stop_all
    say "mosquitto and all others have ended."
    if [ -n "$KEEP" ]; then
        say "Kept in $WORK; go on with:"
        say "    . '$WORK/env'; mosquitto -c '$WORK/mosquitto.conf' &"
        say "   $(show_command "${SWTPM[@]}" | tail -c +2) &"
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
step_csr
step_ca
step_configuration
step_broker
step_messages
step_move_to_tpm
step_proof_of_refusal
step_proof_of_memory
step_end
