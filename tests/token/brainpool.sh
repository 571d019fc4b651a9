#!/bin/bash
# TLS 1.2 with keys on brainpool curves, at both ends.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
make_token line
make_conf "$T/openssl.cnf" default-first line
export OPENSSL_CONF=$T/openssl.cnf
make_ca ca
for curve in brainpoolP256r1 brainpoolP384r1 brainpoolP512r1; do
    for end in server client; do
        openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt "group:$curve" \
            -pkeyopt "hwid_uri:pkcs11:token=line;object=$end-$curve" -out "$T/$end.ref"
        openssl pkey -in "$T/$end.ref" -pubout -out "$T/$end.pub"
        issue_cert ca "$end" "$end" "$T/$end.pub"
    done
    port=$(free_port)
    start_daemon "$T/s_server.log" "port_answers $port" openssl s_server -tls1_2 -www \
        -accept "127.0.0.1:$port" -groups "$curve" -cert "$T/server.pem" -key "$T/server.ref" \
        -Verify 1 -verify_return_error -CAfile "$T/ca.pem"
    printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:$port" -tls1_2 \
        -groups "$curve" -cert "$T/client.pem" -key "$T/client.ref" -CAfile "$T/ca.pem" \
        -verify_return_error -ign_eof > "$T/out" 2>&1 ||
        fail "$curve: $(cat "$T/out" "$T/s_server.log")"
    expect_text "$T/out" '200 ok'
    expect_text "$T/out" "Temp Key: ECDH, $curve"
    stop_daemon "$DAEMON_PID"
done
