#!/bin/bash
# The transport's https:// with keys on the token, by URI and by reference, against a web server
# that demands certificates and tells whose it got.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
need python3
[ -x "$HWID_SAMPLES_DIR/hwid-request" ] || skip "the samples are not built"
token_credentials

PORT=$(free_port)
start_daemon "$T/server.log" "port_answers $PORT" env OPENSSL_CONF="$T/plain.cnf" \
    python3 -B "$HWID_TESTS_DIR/cloud/https_front.py" --plain --port "$PORT" --directory "$T" \
    --log "$T/https.log"

ask() { # CERT KEY [LINE...]: the answer to a request is left in $T/out
    local cert=$1 key=$2
    shift 2
    printf '%s\n' "endpoint = https://localhost:$PORT/in" 'client-id = device' \
        "ca-file = $T/ca.pem" "cert = $cert" "key = $key" "$@" > "$T/device.conf"
    "$HWID_SAMPLES_DIR/hwid-request" --config "$T/device.conf" --topic t/req --message hello \
        > "$T/out"
}
for key in rsa ec; do
    for uri in "hwid://$key" "$T/$key.ref"; do
        for tls in 1.2 1.3; do
            ask "$T/$key.pem" "$uri" "min-tls = $tls"
            expect_text "$T/out" "\"client\": \"device-$key\""
            expect_text "$T/out" '"path": "/in/t/req"'
        done
    done
done
# A certificate of another key is noticed before anything is sent.
count=$(wc -l < "$T/https.log")
expect_failure ask "$T/rsa.pem" hwid://ec
[ "$(wc -l < "$T/https.log")" = "$count" ] || fail 'a request was sent'
