#!/bin/bash
# Ed25519, Ed448, X25519 and X448 on a token, as real programs use them.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

make_token line edwards:ED25519,label=ed25519,id=01 edwards:ED448,label=ed448,id=02 \
    edwards:X25519,label=x25519,id=03 edwards:X448,label=x448,id=04 \
    edwards:ED25519,label=ca,id=05
make_conf "$T/openssl.cnf" default-first line
export OPENSSL_CONF=$T/openssl.cnf
echo message > "$T/message"

sign() { # KEY SIGNATURE
    openssl pkeyutl -sign -inkey "$1" -rawin -in "$T/message" -out "$2"
}
verify() { # PUBLIC SIGNATURE: by stock openssl
    plain_openssl pkeyutl -verify -pubin -inkey "$1" -rawin -in "$T/message" -sigfile "$2" \
        > "$T/out" || fail "$(cat "$T/out")"
}
ca=$(key_uri line ca)
openssl req -x509 -new -key "$ca" -subj /CN=ca -days 9 -out "$T/ca.pem" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign
plain_openssl verify -CAfile "$T/ca.pem" "$T/ca.pem" > "$T/out"

for key in ed25519 ed448; do
    uri=$(key_uri line $key)
    openssl pkey -in "$uri" -pubout -out "$T/$key.pub"
    openssl pkey -in "$uri" -text -noout > "$T/text"
    expect_text "$T/text" "${key^^} Public-Key:"
    sign "$uri" "$T/$key.sig"
    verify "$T/$key.pub" "$T/$key.sig"
    openssl pkeyutl -verify -inkey "$uri" -rawin -in "$T/message" -sigfile "$T/$key.sig" > "$T/out"

    # By a key reference, and by one that openssl writes.
    hwid ref "$uri" --out "$T/$key.ref" > "$T/out"
    openssl pkey -in "$uri" -out "$T/$key.pem"
    for file in "$T/$key.ref" "$T/$key.pem"; do
        sign "$file" "$T/again.sig"
        cmp "$T/$key.sig" "$T/again.sig"
    done

    # Requests and certificates, TLS as server and as client.
    openssl req -new -key "$uri" -subj "/CN=$key" -out "$T/$key.csr"
    plain_openssl req -in "$T/$key.csr" -noout -verify > "$T/out" 2>&1
    hwid csr "$uri" --subject "/CN=$key" --san DNS:localhost --out "$T/$key.csr" --force > "$T/out"
    plain_openssl req -in "$T/$key.csr" -noout -verify > "$T/out" 2>&1
    openssl x509 -req -in "$T/$key.csr" -CA "$T/ca.pem" -CAkey "$ca" -days 9 -copy_extensions copy \
        -out "$T/$key.crt" 2> "$T/out" || fail "$(cat "$T/out")"
    plain_openssl verify -CAfile "$T/ca.pem" "$T/$key.crt" > "$T/out"
    port=$(free_port)
    start_daemon "$T/server.log" "port_answers $port" \
        openssl s_server -accept "127.0.0.1:$port" -key "$uri" -cert "$T/$key.crt" \
        -CAfile "$T/ca.pem" -Verify 1 -verify_return_error -www
    for version in -tls1_3 -tls1_2; do
        (openssl s_client -connect "127.0.0.1:$port" -CAfile "$T/ca.pem" -verify_return_error \
            -key "$uri" -cert "$T/$key.crt" $version <<< Q > "$T/out" 2>&1) ||
            fail "$version: $(cat "$T/out" "$T/server.log")"
        expect_text "$T/out" 'Verification: OK'
        expect_text "$T/out" "Peer signature type: $key"
    done
    stop_daemon "$DAEMON_PID"
done

for key in x25519 x448; do
    uri=$(key_uri line $key)
    openssl pkey -in "$uri" -pubout -out "$T/$key.pub"
    plain_openssl genpkey -algorithm "$key" -out "$T/peer.pem"
    plain_openssl pkey -in "$T/peer.pem" -pubout -out "$T/peer.pub"
    openssl pkeyutl -derive -inkey "$uri" -peerkey "$T/peer.pub" -out "$T/one"
    plain_openssl pkeyutl -derive -inkey "$T/peer.pem" -peerkey "$T/$key.pub" -out "$T/two"
    cmp "$T/one" "$T/two"
done

# New keys: by EVP with a URI, in software without, and by hwid.
for key in ED25519 ED448 X25519 X448; do
    openssl genpkey -propquery provider=hwid -algorithm "$key" \
        -pkeyopt "pkcs11_uri:pkcs11:token=line;object=evp-$key" -out "$T/evp.pem"
    expect_text "$T/evp.pem" 'BEGIN PKCS#11 PROVIDER URI'
    openssl pkey -in "$(key_uri line "evp-$key")" -pubout -out "$T/one"
    openssl pkey -in "$T/evp.pem" -pubout -out "$T/two"
    cmp "$T/one" "$T/two"
    openssl genpkey -propquery '?provider=hwid' -algorithm "$key" -out "$T/soft.pem"
    plain_openssl pkey -in "$T/soft.pem" -noout -text > "$T/out"
    expect_text "$T/out" "$key Private-Key:"
    hwid generate "pkcs11:token=line;object=hwid-$key" --type "${key,,}" > "$T/out"
    expect_text "$T/out" 'BEGIN PUBLIC KEY'
    hwid import "pkcs11:token=line;object=soft-$key" "$T/soft.pem" --yes-import-software-key \
        > "$T/out" 2>&1 || fail "$(cat "$T/out")"
    openssl pkey -in "$(key_uri line "soft-$key")" -pubout -out "$T/one"
    plain_openssl pkey -in "$T/soft.pem" -pubout -out "$T/two"
    cmp "$T/one" "$T/two"
done
expect_failure openssl genpkey -propquery provider=hwid -algorithm ED25519 \
    -pkeyopt 'pkcs11_uri:pkcs11:token=line;object=evp-ED25519'
expect_text "$T/out" 'is there already'
hwid list pkcs11:token=line > "$T/out"
expect_text "$T/out" 'type          ED25519'
expect_text "$T/out" 'type          X448'
