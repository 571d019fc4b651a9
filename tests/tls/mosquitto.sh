#!/bin/bash
# mosquitto_pub and mosquitto_sub with a key reference, against a broker that demands certificates;
# then a broker whose own key is on the token.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
PATH=$PATH:/usr/sbin
need mosquitto mosquitto_pub mosquitto_sub
token_credentials

start_broker() { # CERT KEY: sets PORT
    PORT=$(free_port)
    printf '%s\n' "listener $PORT 127.0.0.1" "cafile $T/ca.pem" "certfile $1" "keyfile $2" \
        'require_certificate true' 'use_identity_as_username true' 'persistence false' \
        > "$T/mosquitto.conf"
    if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/mosquitto.conf"; fi
    start_daemon "$T/broker.log" "port_answers $PORT" mosquitto -v -c "$T/mosquitto.conf"
}
client() { # PROGRAM ARGUMENT...
    local program=$1
    shift
    timeout 20 "$program" -h localhost -p "$PORT" --cafile "$T/ca.pem" -t test/topic -q 1 "$@"
}
publish_and_receive() { # MESSAGE PUBLISHER SUBSCRIBER
    client mosquitto_pub --cert "$T/$2.pem" --key "$T/$2.ref" -r -m "$1"
    client mosquitto_sub --cert "$T/$3.pem" --key "$T/$3.ref" -C 1 > "$T/out"
    [ "$(cat "$T/out")" = "$1" ] || fail "received $(cat "$T/out"), not $1"
    expect_text "$T/broker.log" "u'device-$2'"
    expect_text "$T/broker.log" "u'device-$3'"
}

OPENSSL_CONF=$T/plain.cnf start_broker "$T/server.pem" "$T/server.key"
publish_and_receive first rsa ec
publish_and_receive second ec rsa
# The broker lets nobody in without the key.
expect_failure client mosquitto_pub -m x
issue_cert ca another client ec:P-256
expect_failure client mosquitto_pub --cert "$T/another.pem" --key "$T/ec.ref" -m x
stop_daemon "$DAEMON_PID"

for key in rsa ec; do
    start_broker "$T/$key.pem" "$T/$key.ref"
    publish_and_receive "from $key" ec rsa
    stop_daemon "$DAEMON_PID"
done
