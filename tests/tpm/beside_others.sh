#!/bin/bash
# One openssl.cnf with us, tpm2-openssl and (where it can be installed) pkcs11-provider in it: each
# serves its own keys, whoever comes first.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
MODULES=$(openssl version -m | sed 's/.*: "\(.*\)"/\1/')
[ -f "$MODULES/tpm2.so" ] || skip "tpm2-openssl is not installed"
OTHERS=(tpm2)
if [ -f "$MODULES/pkcs11.so" ]; then OTHERS+=(pkcs11); fi
make_token line rsa:2048,label=rsa ec:P-256,label=ec
start_tpm
software_key "$T/software.key" ec:P-256
echo 'a message' > "$T/message"

write_conf() { # PROVIDER...: in this order
    make_conf "$T/openssl.cnf" default-first line 'keys.device=pkcs11:token=line;object=rsa'
    {
        printf '[others_sect]\n'
        for name in "$@"; do printf '%s = %s_sect\n' "$name" "$name"; done
        printf '[tpm2_sect]\nmodule = %s/tpm2.so\nactivate = 1\n' "$MODULES"
        printf '[pkcs11_sect]\nmodule = %s/pkcs11.so\nactivate = 1\n' "$MODULES"
        printf 'pkcs11-module-path = %s\npkcs11-module-token-pin = file:%s\n' \
            "$HWID_SOFTHSM_MODULE" "$T/pin"
    } >> "$T/openssl.cnf"
    sed -i 's/^providers = .*/providers = others_sect/' "$T/openssl.cnf"
}
signs() { # KEY [ARGUMENT...]
    local key=$1
    shift
    openssl pkey -in "$key" -pubout -out "$T/key.pub" "$@"
    openssl dgst -sha256 -sign "$key" "$@" -out "$T/signature" "$T/message"
    plain_openssl dgst -sha256 -verify "$T/key.pub" -signature "$T/signature" "$T/message" \
        > /dev/null || fail "$key $*"
}

export OPENSSL_CONF=$T/openssl.cnf TPM2OPENSSL_TCTI=$TPM_TCTI
make_ca ca
for order in "default hwid ${OTHERS[*]}" "hwid default ${OTHERS[*]}" "${OTHERS[*]} default hwid" \
    "default ${OTHERS[*]} hwid"; do
    echo "--- $order"
    # shellcheck disable=SC2086  # the words of a list
    write_conf $order
    openssl list -providers > "$T/out"
    for name in $order; do expect_text "$T/out" "  $name"; done
    openssl rand -hex 8 > "$T/out"
    signs "$T/software.key"
    openssl genpkey -algorithm EC -pkeyopt group:P-256 -out "$T/new.key"
    # Theirs.
    openssl genpkey -propquery provider=tpm2 -algorithm EC -pkeyopt group:P-256 -out "$T/tpm.pem"
    expect_text "$T/tpm.pem" 'TSS2 PRIVATE KEY'
    signs "$T/tpm.pem" -propquery '?provider=tpm2' # else libcrypto signs with the public half
    # Ours.
    signs hwid:device
    # Who is asked first takes these; pkcs11-provider crashes at exit after it served one.
    signs 'pkcs11:token=line;object=ec;type=private' -propquery '?provider=hwid'
    openssl pkey -in hwid:device -out "$T/reference.pem"
    signs "$T/reference.pem" -propquery '?provider=hwid'
    issue_cert ca client client "$T/key.pub"
    # Both ends of a connection.
    openssl req -new -x509 -key "$T/software.key" -subj /CN=localhost -out "$T/server.pem"
    port=$(free_port)
    start_daemon "$T/s_server.log" "port_answers $port" openssl s_server \
        -accept "127.0.0.1:$port" -cert "$T/server.pem" -key "$T/software.key" -Verify 1 \
        -verify_return_error -CAfile "$T/ca.pem" -www
    printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:$port" -cert "$T/client.pem" \
        -key hwid:device -CAfile "$T/server.pem" -verify_return_error -quiet > "$T/out" 2>&1 ||
        fail "$(cat "$T/out" "$T/s_server.log")"
    expect_text "$T/out" '200 ok'
    stop_daemon "$DAEMON_PID"
done
