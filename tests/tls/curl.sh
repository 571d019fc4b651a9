#!/bin/bash
# curl --key REFERENCE, against a server that demands certificates.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
need curl
if ! curl -V | grep -q OpenSSL/3; then skip "curl is built without OpenSSL 3"; fi
token_credentials
start_tls_server

get() { # ARGUMENT...
    curl -sS --max-time 20 --noproxy '*' --cacert "$T/ca.pem" "$@" "https://localhost:$PORT/"
}
for key in rsa ec; do
    for tls in 1.2 1.3; do
        get --tlsv$tls --tls-max $tls --cert "$T/$key.pem" --key "$T/$key.ref" > "$T/out"
        expect_device "$key"
    done
    # Certificate and key in one file.
    cat "$T/$key.pem" "$T/$key.ref" > "$T/both.pem"
    get --cert "$T/both.pem" > "$T/out"
    expect_device "$key"
    cat "$T/$key.ref" "$T/$key.pem" > "$T/both.pem"
    get --cert "$T/both.pem" --key "$T/both.pem" > "$T/out"
    expect_device "$key"
    "${BARE[@]}" curl -sS --max-time 20 --noproxy '*' --cacert "$T/ca.pem" --cert "$T/$key.pem" \
        --key "$T/$key.ref" "https://localhost:$PORT/" > "$T/out"
    expect_device "$key"
done
expect_failure get
issue_cert ca another client ec:P-256
expect_failure get --cert "$T/another.pem" --key "$T/ec.ref"
