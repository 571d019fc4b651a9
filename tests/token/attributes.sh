#!/bin/bash
# What other programs put on a token: labels and ids of any length, and curves that have no name.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need pkcs11-tool
make_token line
make_conf "$T/openssl.cnf" default-first line
export OPENSSL_CONF=$T/openssl.cnf
echo 'a message' > "$T/message"

store_pair() { # LABEL ID [OPTION]: by OpenSC, an EC key that is in $T/key.pem
    local half
    plain_openssl genpkey -algorithm EC -pkeyopt group:P-256 ${3:+-pkeyopt "$3"} -out "$T/key.pem"
    plain_openssl pkey -in "$T/key.pem" -outform DER -out "$T/privkey.der"
    plain_openssl pkey -in "$T/key.pem" -pubout -outform DER -out "$T/pubkey.der"
    for half in privkey pubkey; do
        env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" pkcs11-tool --module "$HWID_SOFTHSM_MODULE" \
            --token-label line --login --pin "$PIN" --write-object "$T/$half.der" --type $half \
            --id "$2" --label "$1" > "$T/out" 2>&1 || fail "pkcs11-tool: $(cat "$T/out")"
    done
    plain_openssl pkey -in "$T/key.pem" -pubout -out "$T/key.pub"
}
expect_signature() { # URI
    openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/message"
    plain_openssl dgst -sha256 -verify "$T/key.pub" -signature "$T/signature" "$T/message" \
        > /dev/null
}

# Without a public half, which two signatures tell.
for curve in P-256 P-384 P-521; do
    token_tool generate line "$PIN" "ec:$curve,label=alone-$curve,id=5${curve#P-},no-public"
    openssl pkey -in "pkcs11:token=line;object=alone-$curve;type=private" -pubout -out "$T/key.pub"
    expect_signature "pkcs11:token=line;object=alone-$curve;type=private"
    openssl req -new -key "pkcs11:token=line;object=alone-$curve;type=private" -subj /CN=alone \
        -out "$T/alone.csr"
    plain_openssl req -in "$T/alone.csr" -verify -noout 2> "$T/out"
    openssl pkey -pubin -in "pkcs11:token=line;object=alone-$curve;type=public" -pubout \
        -out "$T/half.pub"
    cmp "$T/key.pub" "$T/half.pub"
done
token_tool generate line "$PIN" ec:P-256,label=asking,id=61,no-public,always-authenticate
expect_failure openssl pkey -in 'pkcs11:token=line;object=asking;type=private' -noout
expect_text "$T/out" 'the token holds no public half of it; store its public key or certificate'
openssl storeutl -noout -text -keys 'pkcs11:token=line' > "$T/out" 2>&1
if grep -q 'Private.*object=alone' "$T/out"; then fail "a listing signs: $(cat "$T/out")"; fi

# Longer than what is asked for at first, where SoftHSM says of neither that it is there.
label=$(printf 'L%.0s' {1..300})
store_pair "$label" 45
expect_signature "pkcs11:token=line;object=$label;type=private"
openssl storeutl -noout -text -keys 'pkcs11:token=line' > "$T/out"
expect_text "$T/out" "object=$label;id=%45"
for byte in ab cd; do # two of one label: the id tells them apart
    id=$(printf "$byte%.0s" {1..80})
    store_pair twin "$id"
    expect_signature "pkcs11:token=line;id=$(printf "%%$byte%.0s" {1..80});type=private"
done
expect_failure openssl pkey -in 'pkcs11:token=line;object=twin;type=private' -noout
expect_text "$T/out" '2 keys match: object=twin id=%'
expect_text "$T/out" 'object=twin id=%ab%ab'
expect_text "$T/out" '; add id=... to the URI'

# A curve that is written out.
store_pair explicit 44 ec_param_enc:explicit
expect_failure openssl pkey -in 'pkcs11:token=line;object=explicit;type=private' -noout
expect_text "$T/out" 'explicit curve parameters are not served'
expect_failure openssl storeutl -noout 'pkcs11:token=line;object=explicit;type=public'
expect_text "$T/out" 'explicit curve parameters are not served'
expect_failure openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt ec_param_enc:explicit -pkeyopt 'hwid_uri:pkcs11:token=line;object=new'
expect_text "$T/out" 'parameter encoding cannot be kept on a token'
