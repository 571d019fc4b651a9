#!/bin/bash
# A TPM behind tpm2-abrmd, on a message bus of the test's own: signatures, TLS, programs at once,
# programs that are killed, and programs that fork.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
PATH=$PATH:/usr/sbin
need dbus-send tpm2-abrmd
HWID_WORLD=tpm
make_token line rsa:2048,label=rsa ec:P-256,label=ec

start_bus
plainly=(env -u LD_PRELOAD)
manager_is_there() {
    "${plainly[@]}" dbus-send --session --print-reply --dest=org.freedesktop.DBus / \
        org.freedesktop.DBus.NameHasOwner string:com.intel.tss2.Tabrmd 2> /dev/null |
        grep -q 'boolean true'
}
options=()
if [ "$(id -u)" = 0 ]; then options=(--allow-root); fi
start_daemon "$T/abrmd.log" manager_is_there "${plainly[@]}" tpm2-abrmd "${options[@]}" --session \
    --tcti="$TPM_TCTI"

HWID_CONF_TCTI=tabrmd:bus_type=session make_conf "$T/openssl.cnf" default-first line \
    "keys.rsa=$(key_uri line rsa)" "keys.ec=$(key_uri line ec)"
export OPENSSL_CONF=$T/openssl.cnf
cd "$T"
echo text > message
make_ca ca
for key in rsa ec; do
    openssl pkey -in hwid:$key -pubout -out $key.pub
    openssl req -new -key hwid:$key -subj /CN=device-$key -out $key.csr
    issue_cert ca $key both $key.csr
done
sign_often() { # NAME KEY: ten signatures, verified
    local i
    for ((i = 0; i < 10; i++)); do
        openssl dgst -sha256 -sign "hwid:$2" -out "$1.signature" message
        plain_openssl dgst -sha256 -verify "$2.pub" -signature "$1.signature" message > /dev/null
    done
}

# Programs at once.
workers=()
for key in rsa ec rsa ec; do
    sign_often "worker-${#workers[@]}" $key &
    workers+=($!)
done
for worker in "${workers[@]}"; do wait "$worker"; done

# TLS; the server is killed each time, and whatever it held is the manager's to free.
connect() { # KEY PORT TLS: the server's page says who we are
    timeout 20 openssl s_client -connect "127.0.0.1:$2" "-tls1_$3" -ign_eof -CAfile ca.pem \
        -verify_return_error -cert "$1.pem" -key "hwid:$1" <<< $'GET / HTTP/1.0\r\n\r\n' \
        > out 2>&1 || true
    grep -Eq "Subject: CN ?= ?device-$1" out || fail "no device-$1: $(cat out)"
}
for key in rsa ec rsa ec rsa; do
    port=$(free_port)
    start_daemon server.log "port_answers $port" openssl s_server -accept "127.0.0.1:$port" -www \
        -cert $key.pem -key hwid:$key -CAfile ca.pem -Verify 1 -verify_return_error
    for tls in 2 3; do connect ec "$port" $tls; done
    stop_daemon "$DAEMON_PID" KILL 2> /dev/null
done
sign_often after-killed rsa

# Programs that fork after they used the key: a child cannot use GLib's connection to D-Bus, nor open
# one of its own.
PYTHON=/usr/bin/python3
if ! $PYTHON -c 'import ssl; assert ssl.OPENSSL_VERSION_INFO >= (3,)' 2> /dev/null; then
    echo "forking is not tried: $PYTHON has no ssl module with OpenSSL 3"
    exit 0
fi
issue_cert ca server server ec:P-256
port=$(free_port)
start_daemon server.log "port_answers $port" env OPENSSL_CONF=plain.cnf openssl s_server \
    -accept "127.0.0.1:$port" -www -cert server.pem -key server.key -CAfile ca.pem -Verify 1 \
    -verify_return_error
for key in rsa ec; do
    openssl pkey -in hwid:$key -out $key.ref
    $PYTHON "$HWID_TESTS_DIR/tpm/fork.py" "$port" $key
done
