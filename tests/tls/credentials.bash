# shellcheck shell=bash
# Sourced by the tests of other people's programs, after fixture/lib.sh: a token with two keys that
# cannot leave it, their certificates and their reference files, and a server's certificate. With
# HWID_WORLD=tpm the token is a TPM.
#   $T/ca.pem  $T/rsa.pem $T/rsa.ref  $T/ec.pem $T/ec.ref  $T/server.pem $T/server.key
# OPENSSL_CONF names a configuration with the provider in it, for the programs to be tested.

token_credentials() {
    local lines=()
    make_token line 'rsa:2048,label=rsa,id=01' 'ec:P-256,label=ec,id=02'
    make_ca ca
    issue_cert ca server server ec:P-256
    # Nothing but the configuration says where the token is.
    if ! in_tpm; then lines=("dev.environment = SOFTHSM2_CONF=$SOFTHSM2_CONF"); fi
    make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
        "keys.ec=$(key_uri line ec)" "${lines[@]}"
    unset SOFTHSM2_CONF
    export OPENSSL_CONF=$T/openssl.cnf
    key_files
}

key_files() { # the keys' references and certificates
    local key
    # Runs a command with nothing else in its environment.
    BARE=(env -i PATH="$PATH" OPENSSL_CONF="$OPENSSL_CONF" LD_PRELOAD="${LD_PRELOAD:-}")
    for key in rsa ec; do
        openssl pkey -in "hwid:$key" -out "$T/$key.ref"
        expect_text "$T/$key.ref" '-----BEGIN HWID KEY REFERENCE-----'
        openssl req -new -key "$T/$key.ref" -subj "/CN=device-$key" -out "$T/$key.csr"
        issue_cert ca "$key" both "$T/$key.csr"
    done
}

start_tls_server() { # sets PORT: stock openssl without the provider; it wants a certificate, and
    # its page shows who it was
    PORT=$(free_port)
    start_daemon "$T/server.log" "port_answers $PORT" env OPENSSL_CONF="$T/plain.cnf" \
        openssl s_server -accept "127.0.0.1:$PORT" -www -cert "$T/server.pem" \
        -key "$T/server.key" -CAfile "$T/ca.pem" -Verify 1 -verify_return_error
}

expect_device() { # KEY: the server's page, in $T/out, shows that key's certificate
    grep -Eq "Subject: CN ?= ?device-$1" "$T/out" || fail "no device-$1: $(cat "$T/out")"
}
