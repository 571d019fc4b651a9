#!/bin/bash
# hwid ref: files that stand for keys, with and without certificates.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

signs() { # FILE NAME: openssl signs with the key in FILE; the public key is $T/NAME.pub
    echo message > "$T/message"
    openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/message"
    plain_openssl dgst -sha256 -verify "$T/$2.pub" -signature "$T/signature" "$T/message" > /dev/null
}
holds() { # FILE TEXT: the reference's DER holds that text
    plain_openssl asn1parse -in "$1" > "$T/asn1" 2>&1
    expect_text "$T/asn1" "$2"
}
references() { # KEY URI: in each form, by name and by URI
    local key=$1 uri=$2
    openssl pkey -in "hwid:$key" -pubout -out "$T/$key.pub"
    hwid ref "hwid:$key" > "$T/a.ref"
    expect_text "$T/a.ref" '-----BEGIN HWID KEY REFERENCE-----'
    holds "$T/a.ref" "hwid://$key"
    signs "$T/a.ref" "$key"
    hwid ref "$uri" --pin-source "file:$T/pin" --out "$T/$key.ref" --force > "$T/out"
    expect_text "$T/out" 'Key reference'
    signs "$T/$key.ref" "$key"
    plain_openssl asn1parse -in "$T/$key.ref" > "$T/asn1" 2>&1
    if grep -q 'pin' "$T/asn1"; then fail "a PIN: $(cat "$T/asn1")"; fi
    [ "$(stat -c %a "$T/$key.ref")" = 644 ] || fail 'mode'

    # With the certificates behind it.
    openssl req -new -key "$T/$key.ref" -subj "/CN=$key" -out "$T/$key.csr"
    issue_cert ca "$key" both "$T/$key.csr"
    cat "$T/$key.pem" "$T/ca.pem" > "$T/chain.pem"
    hwid ref "hwid:$key" --bundle "$T/chain.pem" --json > "$T/out"
    [ "$(json 'd["certificates"]')" = "['CN=$key', 'CN=ca']" ] || fail "$(cat "$T/out")"
    json 'd["pem"]' > "$T/bundle.pem"
    [ "$(grep -c BEGIN "$T/bundle.pem")" = 3 ] || fail "$(cat "$T/bundle.pem")"
    signs "$T/bundle.pem" "$key"
    openssl x509 -in "$T/bundle.pem" -noout -subject | grep -q "CN = $key\|CN=$key" || fail subject
    cat "$T/ca.pem" "$T/$key.pem" > "$T/chain.pem"
    refused 1 'programs want it first' hwid ref "hwid:$key" --bundle "$T/chain.pem"
    cat "$T/$key.pem" "$T/other.pem" > "$T/chain.pem"
    refused 1 'did not issue the one before' hwid ref "hwid:$key" --bundle "$T/chain.pem"
    refused 1 "is not the key's" hwid ref "hwid:$key" --bundle "$T/other.pem"
    refused 3 'holds no certificate' hwid ref "hwid:$key" --bundle "$T/pin"
    head -c 300 "$T/$key.pem" > "$T/chain.pem"
    refused 3 'holds no' hwid ref "hwid:$key" --bundle "$T/chain.pem"
    refused 3 "$T/none.pem" hwid ref "hwid:$key" --bundle "$T/none.pem"
    refused 1 '--force' hwid ref "hwid:$key" --out "$T/$key.ref"
}

make_ca ca
make_ca other
make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
    "keys.ec=$(key_uri line ec)"
export OPENSSL_CONF=$T/openssl.cnf
references rsa "$(key_uri line rsa)"
references ec "$(key_uri line ec)"
expect_text "$T/ec.ref" '-----BEGIN PKCS#11 PROVIDER URI-----'
hwid ref "$(key_uri line ec pin)" > "$T/a.ref"
plain_openssl asn1parse -in "$T/a.ref" > "$T/asn1" 2>&1
if grep -q "pin\|$PIN" "$T/asn1"; then fail "a PIN: $(cat "$T/asn1")"; fi

# An answer that has nowhere to go gets into no file, and is no success.
code=0
hwid ref hwid:ec --out "$T/closed.ref" >&- 2> "$T/err" || code=$?
[ "$code" = 3 ] || fail "exit $code with standard output closed: $(cat "$T/err")"
expect_text "$T/err" 'not all of the answer could be written'
if grep -v -e '^-----' -e '^[A-Za-z0-9+/=]*$' "$T/closed.ref"; then fail 'the answer, in the file'; fi
signs "$T/closed.ref" ec
hwid ref hwid:ec <&- > "$T/a.ref" 2>&- || fail 'standard input and error closed'
signs "$T/a.ref" ec
code=0
hwid --help > /dev/full 2> "$T/err" || code=$?
[ "$code" = 3 ] || fail "exit $code on a full disk"

software_key "$T/soft.key" ec:P-256
refused 1 'an ordinary key' hwid ref "$T/soft.key"
refused 1 'no-such' hwid ref 'pkcs11:token=line;object=no-such'
sed 's/^backends/pkcs11-module-encode-provider-uri-to-pem = false\n&/' "$T/openssl.cnf" > "$T/no.cnf"
refused 1 'forbids key references' hwid ref hwid:ec --openssl-conf "$T/no.cnf"

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip 'keygen = dev' keys.rsa=tpm2:handle=0x81000002 \
    keys.ec=tpm2:handle=0x81000003
references rsa tpm2:handle=0x81000002
references ec tpm2:handle=0x81000003
holds "$T/ec.ref" 'tpm2:handle=0x81000003'
# A key that a TPM wrapped is its own file.
openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt group:P-256 -out "$T/wrapped.pem" \
    > "$T/out" 2>&1 || fail "$(cat "$T/out")"
openssl pkey -in "$T/wrapped.pem" -pubout -out "$T/wrapped.pub"
hwid ref "$T/wrapped.pem" --out "$T/copy.pem" > "$T/out"
expect_text "$T/copy.pem" 'BEGIN TSS2 PRIVATE KEY'
[ "$(stat -c %a "$T/copy.pem")" = 600 ] || fail 'mode'
signs "$T/copy.pem" wrapped
