#!/bin/bash
# Stock openssl commands with key URIs and key references, as a person types them.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
token_credentials
start_tls_server

s_client() { # COMMAND-PREFIX... -- ARGUMENT...
    local prefix=()
    while [ "$1" != -- ]; do
        prefix+=("$1")
        shift
    done
    shift
    timeout 20 "${prefix[@]}" openssl s_client -connect "127.0.0.1:$PORT" -ign_eof \
        -CAfile "$T/ca.pem" -verify_return_error "$@" <<< $'GET / HTTP/1.0\r\n\r\n' \
        > "$T/out" 2>&1 || true
}

for key in rsa ec; do
    # With an empty environment, by name and by reference.
    for source in "hwid:$key" "hwid://$key" "$T/$key.ref" "$(key_uri line $key)"; do
        s_client "${BARE[@]}" -- -cert "$T/$key.pem" -key "$source"
        expect_device "$key"
        expect_text "$T/out" 'Verify return code: 0 (ok)'
    done
    # Certificate and key in one file, in both orders.
    cat "$T/$key.pem" "$T/$key.ref" > "$T/both.pem"
    s_client -- -cert "$T/both.pem" -key "$T/both.pem"
    expect_device "$key"
    cat "$T/$key.ref" "$T/$key.pem" > "$T/both.pem"
    s_client -- -cert "$T/both.pem" -key "$T/both.pem"
    expect_device "$key"

    # What the token and a name hold.
    openssl storeutl -noout "hwid:$key" > "$T/out"
    expect_text "$T/out" 'Total found: 1'
    openssl storeutl -noout -keys 'pkcs11:token=line' > "$T/out"
    expect_text "$T/out" 'Total found: 2'

    # Messages.
    echo 'a message' > "$T/message"
    openssl cms -sign -nodetach -in "$T/message" -signer "$T/$key.pem" -inkey "hwid:$key" \
        -outform PEM -out "$T/message.cms"
    plain_openssl cms -verify -in "$T/message.cms" -inform PEM -CAfile "$T/ca.pem" -purpose any \
        > "$T/out" 2>&1
    expect_text "$T/out" 'a message'
    openssl dgst -sha256 -sign "$T/$key.ref" -out "$T/signature" "$T/message"
    plain_openssl x509 -in "$T/$key.pem" -noout -pubkey > "$T/$key.pub"
    plain_openssl dgst -sha256 -verify "$T/$key.pub" -signature "$T/signature" "$T/message" \
        > /dev/null

    # A CA whose key is on the token.
    openssl req -new -x509 -key "hwid:$key" -subj /CN=token-ca -days 30 \
        -addext basicConstraints=critical,CA:TRUE -out "$T/token-ca.pem"
    plain_openssl req -new -key "$T/server.key" -subj /CN=device -out "$T/device.csr"
    # (OpenSSL 4.0.3 takes the first line of openssl.cnf for an extension, unless there is -extfile.)
    openssl x509 -req -in "$T/device.csr" -CA "$T/token-ca.pem" -CAkey "hwid:$key" \
        -extfile /dev/null -set_serial 7 -days 7 -out "$T/device.pem" 2> /dev/null
    plain_openssl verify -CAfile "$T/token-ca.pem" "$T/device.pem" > /dev/null

    # The private half is nowhere, and openssl says why it does not print it.
    expect_failure openssl pkey -in "hwid:$key" -traditional -outform DER
    if grep -q 'PRIVATE KEY-----' "$T/$key.ref" "$T/both.pem"; then fail "a private key"; fi
done

# What others encrypted for the token's key, alone and among other recipients.
printf 'a message' > "$T/message"
for options in 'rsa_padding_mode:pkcs1' \
    'rsa_padding_mode:oaep rsa_oaep_md:sha256 rsa_mgf1_md:sha1 rsa_oaep_label:6c6162656c'; do
    words=()
    for option in $options; do words+=(-pkeyopt "$option"); done
    plain_openssl pkeyutl -encrypt -pubin -inkey "$T/rsa.pub" -in "$T/message" \
        -out "$T/message.enc" "${words[@]}"
    openssl pkeyutl -decrypt -inkey hwid:rsa -in "$T/message.enc" -out "$T/out" "${words[@]}"
    cmp "$T/message" "$T/out"
done
plain_openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/other.key" -subj /CN=other -days 7 \
    -out "$T/other.pem" 2> /dev/null
plain_openssl cms -encrypt -binary -aes256 -in "$T/message" -outform DER -out "$T/message.cms" \
    "$T/other.pem" "$T/rsa.pem"
openssl cms -decrypt -binary -inform DER -in "$T/message.cms" -inkey hwid:rsa -recip "$T/rsa.pem" \
    -out "$T/out"
cmp "$T/message" "$T/out"
# (Who names no certificate tries every recipient and takes one that does not fail: with implicit
# rejection none does, whichever key it is.)

# A secret that both sides derive.
plain_openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$T/peer.key" 2> /dev/null
plain_openssl pkey -in "$T/peer.key" -pubout -out "$T/peer.pub"
openssl pkeyutl -derive -inkey hwid:ec -peerkey "$T/peer.pub" -out "$T/ours"
plain_openssl pkeyutl -derive -inkey "$T/peer.key" -peerkey "$T/ec.pub" -out "$T/theirs"
cmp "$T/ours" "$T/theirs"
