#!/bin/bash
# hwid doctor: the device's certificate, the server's CA and the network, one fault at a time, with
# mosquitto.
# shellcheck disable=SC2016,SC2317  # messages have backticks and dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
# shellcheck source=tests/tool/doctor_server.bash
. "$HWID_TESTS_DIR/tool/doctor_server.bash"
PIN=7315

token_credentials
start_authority
start_mosquitto server "${WITH_CERTIFICATE[@]}"

# --- nothing is wrong
device
healthy --config "$T/device.conf"
expect_text "$T/out" 'MQTT as doctor-test'
expect_text "$T/broker.log" "Received SUBSCRIBE from doctor-test"
for edit in 's/hwid:..rsa/hwid:\/\/ec/;s/rsa.pem/ec.pem/' '$a mqtt-version = 5' \
    '$a clean-session = yes' "s|hwid://rsa|$T/rsa.ref|" '/^topics/d'; do
    device "$edit"
    well --config "$T/device.conf"
done
well --key hwid://rsa --cert "$T/rsa.pem" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
expect_text "$T/out" 'TLS with'
cat "$T/rsa.pem" "$T/ca.pem" > "$T/chain.pem"
device "s|$T/rsa.pem|$T/chain.pem|"
well --config "$T/device.conf"
software_key "$T/plain.key" ec:P-256 # an ordinary key is none of ours, and no fault
issue_cert ca plain client "$T/plain.key"
well --key "$T/plain.key" --cert "$T/plain.pem" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
# What waits for the device is not taken from it: it comes when the device itself comes.
mqtt() { # PROGRAM ARGUMENT...
    timeout 20 "$@" -h localhost -p "$PORT" --cafile "$T/ca.pem" --cert "$T/ec.pem" \
        --key "$T/ec.ref" -t a/b -q 1
}
if command -v mosquitto_pub > /dev/null; then
    mqtt mosquitto_sub -i doctor-test -c -E
    mqtt mosquitto_pub -m waiting
    device
    well --config "$T/device.conf"
    mqtt mosquitto_sub -i doctor-test -c -C 1 > "$T/text"
    expect_text "$T/text" waiting
else
    echo 'skipped: what waits for the device stays: no mosquitto_pub'
fi

# --- the certificate
fault certificate-unusable 'as PEM' "s|$T/rsa.pem|/nowhere.pem|"
fault certificate-unusable 'as PEM' "s|$T/rsa.pem|$T/pin|"
fault certificate-of-other-key 'hwid csr' "s|$T/rsa.pem|$T/ec.pem|"
fault certificate-of-other-key 'hwid csr' 's|hwid://rsa|hwid://ec|'
cat "$T/ca.pem" "$T/rsa.pem" > "$T/wrong-order.pem"
fault certificate-not-first 'own certificate first' "s|$T/rsa.pem|$T/wrong-order.pem|"
rsa_dated() { # NAME BEGIN END [EXTENSION...]: of the key rsa
    openssl req -new -key hwid://rsa -subj "/CN=$1" -out "$T/$1.csr"
    dated "$1" "$2" "$3" "$T/$1.csr" 'basicConstraints = CA:FALSE' "${@:4}"
}
rsa_dated ended '9 days ago' '2 days ago'
rsa_dated early '2 days' '30 days'
rsa_dated serves '1 day ago' '30 days' 'extendedKeyUsage = serverAuth'
rsa_dated encrypts '1 day ago' '30 days' 'keyUsage = critical,keyEncipherment'
rsa_dated unsaid '1 day ago' '30 days'
fault certificate-expired 'hwid csr' "s|$T/rsa.pem|$T/ended.pem|"
sees 'CN=ended'
fault certificate-not-yet-valid 'set the clock' "s|$T/rsa.pem|$T/early.pem|"
fault certificate-not-for-clients 'clientAuth' "s|$T/rsa.pem|$T/serves.pem|"
sees serverAuth
fault certificate-not-for-clients '--usage client' "s|$T/rsa.pem|$T/encrypts.pem|"
sees digitalSignature
device "s|$T/rsa.pem|$T/unsaid.pem|"
well --config "$T/device.conf"
software_key "$T/small.key" rsa:1024
issue_cert ca small client "$T/small.key"
blames certificate-weak 'RSA 2048' --key "$T/small.key" --cert "$T/small.pem" --ca "$T/ca.pem" \
    --endpoint "localhost:$PORT"
sees '1024 bits'
if command -v faketime > /dev/null && [ -z "${HWID_PRELOAD:-}" ]; then
    hwid() { faketime '2001-01-01' "$HWID_TOOLS_DIR/hwid" "$@"; }
    fault clock-wrong 'time synchronization' '$a qos = 1'
    hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
else
    echo 'skipped: the clock: no faketime, or the runtime of a sanitizer'
fi

# --- the CA
fault ca-unusable ca-file "s|$T/ca.pem|/nowhere.pem|"
fault own-settings 'openssl ciphers' '$a ciphers = NO-SUCH-CIPHER'
fault ca-is-none 'CA that issued' "s|$T/ca.pem|$T/ec.pem|"
plain_openssl req -new -key "$T/plain.key" -subj /CN=old-ca -out "$T/old-ca.csr"
dated old-ca '9 days ago' '2 days ago' "$T/old-ca.csr" 'basicConstraints = critical,CA:TRUE'
fault ca-expired 'new certificate' "s|$T/ca.pem|$T/old-ca.pem|"
make_ca stranger
fault server-unknown-ca "$T/stranger.pem" "s|$T/ca.pem|$T/stranger.pem|"
sees 'CN=ca'

# --- the network
fault name-not-resolved 'getent hosts' 's|localhost:|no-such-host.invalid:|'
fault no-tcp 'firewall' "s|:$PORT|:$(free_port)|"
fault no-tcp 'firewall' 's|localhost:.*|127.0.0.1:1|'
fault server-name-mismatch 'a name that it has' "s|localhost:|127.1:|"
sees 'DNS:localhost'
fault endpoint-wrong 'as the message says' 's|mqtts://localhost|mqtts://user@localhost|'
fault endpoint-wrong 'as the message says' 's|^client-id.*|client-id =|'
fault proxy-refused 'correct `proxy`' "\$a proxy = http://127.0.0.1:$PORT"

# --- two at once
fault certificate-of-other-key '' "s|$T/rsa.pem|$T/ec.pem|" 's|localhost:|no-such-host.invalid:|'
# The server's CA has nothing to do with the device's certificate.
device "s|$T/rsa.pem|$T/ended.pem|" "s|$T/ca.pem|/nowhere.pem|"
blames certificate-expired '' --config "$T/device.conf"
others ca-unusable
device "s|$T/rsa.pem|$T/serves.pem|" "s|$T/ca.pem|$T/old-ca.pem|"
blames certificate-not-for-clients '' --config "$T/device.conf"
others ca-expired
fault ca-unusable '' "s|$T/ca.pem|/nowhere.pem|" "s|:$PORT|:1|"
echo 9999 > "$T/pin"
fault pin-wrong '' "s|$T/ca.pem|$T/stranger.pem|"
