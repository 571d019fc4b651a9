#!/bin/bash
# With OpenSSL's FIPS provider in the place of the default one, and fips=yes for whatever is fetched:
# keys of a token that is called validated are used, others are not found. Debian 13 has such a provider
# (openssl-provider-fips), 12 has none; HWID_FIPS_MODULE names another.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
FIPS=${HWID_FIPS_MODULE:-$(openssl version -m | sed 's/.*"\(.*\)"/\1/')/fips.so}
[ -f "$FIPS" ] || skip "there is no $FIPS, OpenSSL's FIPS provider (Debian 13: openssl-provider-fips)"

make_token line 'rsa:2048,label=rsa,id=01' 'ec:P-256,label=ec,id=02'
plain_openssl fipsinstall -quiet -module "$FIPS" -out "$T/fips.cnf"
# As users write it, with hwid behind.
fips_conf() { # FILE SETTING...
    HWID_CONF_PROPERTIES=fips=yes make_conf "$1" default-first line "keys.rsa=$(key_uri line rsa)" \
        "keys.ec=$(key_uri line ec)" "${@:2}"
    sed -i -e 's/^default = default_sect$/fips = fips_sect\nbase = base_sect/' \
        -e 's/^\[default_sect\]$/[base_sect]/' "$1"
    sed "s|^\[fips_sect\]|&\nmodule = $FIPS|" "$T/fips.cnf" >> "$1"
}
fips_conf "$T/openssl.cnf" 'pkcs11-module-assume-fips = true'
export OPENSSL_CONF=$T/openssl.cnf

openssl list -providers > "$T/out"
expect_text "$T/out" FIPS
if grep -q 'Default Provider' "$T/out"; then fail "$(cat "$T/out")"; fi
expect_failure openssl dgst -md5 "$T/out" # it is in force

# Signatures, verified by who knows of nothing.
verified() { # KEY DGST-ARGUMENT...
    local key=$1
    shift
    openssl pkey -in "hwid:$key" -pubout -out "$T/$key.pub"
    openssl dgst "$@" -sign "hwid:$key" -out "$T/signature" "$T/pin"
    plain_openssl dgst "$@" -verify "$T/$key.pub" -signature "$T/signature" "$T/pin"
}
verified rsa -sha256
verified rsa -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
verified ec -sha256
verified ec -sha512

# Requests, and key references in their place.
for key in rsa ec; do
    openssl req -new -key "hwid:$key" -subj "/CN=device-$key" -out "$T/$key.csr"
    plain_openssl req -verify -noout -in "$T/$key.csr"
    openssl pkey -in "hwid:$key" -out "$T/$key.ref"
done

# Decryption and key agreement.
echo 'a secret' > "$T/clear"
plain_openssl pkeyutl -encrypt -pubin -inkey "$T/rsa.pub" -pkeyopt rsa_padding_mode:oaep \
    -pkeyopt rsa_oaep_md:sha256 -in "$T/clear" -out "$T/encrypted"
openssl pkeyutl -decrypt -inkey hwid:rsa -pkeyopt rsa_padding_mode:oaep \
    -pkeyopt rsa_oaep_md:sha256 -in "$T/encrypted" -out "$T/decrypted"
cmp "$T/clear" "$T/decrypted"
software_key "$T/peer.key" ec:P-256
plain_openssl pkey -in "$T/peer.key" -pubout -out "$T/peer.pub"
openssl pkeyutl -derive -inkey hwid:ec -peerkey "$T/peer.pub" -out "$T/ours"
plain_openssl pkeyutl -derive -inkey "$T/peer.key" -peerkey "$T/ec.pub" -out "$T/theirs"
cmp "$T/ours" "$T/theirs"

# TLS as client and as server.
make_ca ca
issue_cert ca server server ec:P-256
issue_cert ca client client ec:P-256
for key in rsa ec; do issue_cert ca "$key" both "$T/$key.csr"; done
handshake() { # PORT TLS CONF CERT KEY
    OPENSSL_CONF=$3 openssl s_client -connect "localhost:$1" "-tls$2" -CAfile "$T/ca.pem" -cert "$4" \
        -key "$5" -verify_return_error < /dev/null > "$T/out" 2>&1 || fail "$(cat "$T/out")"
    expect_text "$T/out" 'Verify return code: 0 (ok)'
}
for key in rsa ec; do
    port=$(free_port)
    start_daemon "$T/server.log" "port_answers $port" env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" \
        openssl s_server -accept "127.0.0.1:$port" -www -cert "$T/server.pem" -key "$T/server.key" \
        -CAfile "$T/ca.pem" -Verify 1 -verify_return_error
    for tls in 1_2 1_3; do handshake "$port" $tls "$OPENSSL_CONF" "$T/$key.pem" "$T/$key.ref"; done
    stop_daemon "$DAEMON_PID"
    port=$(free_port)
    start_daemon "$T/server.log" "port_answers $port" openssl s_server -accept "127.0.0.1:$port" \
        -www -cert "$T/$key.pem" -key "$T/$key.ref" -CAfile "$T/ca.pem" -Verify 1 \
        -verify_return_error
    for tls in 1_2 1_3; do handshake "$port" $tls "$T/plain.cnf" "$T/client.pem" "$T/client.key"; done
    stop_daemon "$DAEMON_PID"
done

# A key that is made on the token.
if ! in_tpm; then
    openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt "pkcs11_uri:pkcs11:token=line;object=new" -out "$T/new.ref"
    openssl req -new -key "$T/new.ref" -subj /CN=new -out "$T/new.csr"
    plain_openssl req -verify -noout -in "$T/new.csr"
fi

# A token that nobody called validated has nothing to offer to who asks for fips=yes.
fips_conf "$T/openssl.cnf"
expect_failure openssl req -new -key hwid:ec -subj /CN=device -out "$T/x.csr"
expect_text "$T/out" 'No store loader found'
