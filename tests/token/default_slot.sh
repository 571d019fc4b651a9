#!/bin/bash
# pkcs11-provider's settings for a module with several tokens: whose the configured PIN is, and what
# may be asked without it.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need pkcs11-tool
export OPENSSL_CONF=$T/openssl.cnf
provider() { # LINE...
    printf '%s\n' 'openssl_conf = init' '[req]' 'distinguished_name = dn' '[dn]' '[init]' \
        'providers = all' '[all]' 'default = first' 'pkcs11 = second' '[first]' 'activate = 1' \
        '[second]' "module = $HWID_MODULE_DIR/hwid.so" "pkcs11-module-path = $HWID_TEST_MODULE" \
        'activate = 1' "$@" > "$T/openssl.cnf"
}
signs() { # KEY: it signs, and the token's public half of that label verifies
    openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/pin" < /dev/null
    openssl pkey -in "$1" -pubout -out "$T/key.pub" < /dev/null
    plain_openssl dgst -sha256 -verify "$T/key.pub" -signature "$T/signature" "$T/pin" > /dev/null
}
logins() { # EXPECTED
    [ "$(calls C_Login)" = "$1" ] || fail "$(calls C_Login) logins instead of $1"
}
opensc() { # ARGUMENT...
    env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" pkcs11-tool --module "$HWID_SOFTHSM_MODULE" "$@"
}
slot_of() { # TOKEN: as 0x1e4b6f2; of several tokens of that label a line each
    opensc -L |
        awk -v label="$1" '/^Slot/ {gsub(/[():]/, "", $3); slot = $3} $1 " " $2 == "token label" && $4 == label {print slot}'
}

make_token one ec:P-256,label=k1,id=01
token_tool init two "$SO_PIN" 2222
token_tool generate two 2222 ec:P-256,label=k2,id=02

# Nothing says which token is meant.
provider "pkcs11-module-token-pin = file:$T/pin"
expect_failure openssl pkey -in 'pkcs11:object=k1;type=private' -noout
expect_text "$T/out" 'several tokens match, and a PIN is sent only to one that is named'

# The default slot's is, and has the PIN to itself.
one=$(slot_of one)
[ -n "$one" ] || fail 'no slot'
for slot in "$one" $((one)); do
    provider "pkcs11-module-token-pin = file:$T/pin" "pkcs11-module-default-slot-id = $slot"
    signs 'pkcs11:object=k1;type=private'
    signs 'pkcs11:type=private;id=%01'
done
count_calls expect_failure openssl pkey -in 'pkcs11:token=two;object=k2;type=private' -noout < /dev/null
expect_text "$T/out" 'token=two: a PIN is needed'
logins 0
count_calls expect_failure openssl pkey -in 'pkcs11:object=k2;type=private' -noout < /dev/null
expect_text "$T/out" 'name it in the URI, as one of: token=two'
logins 1
signs 'pkcs11:token=two;object=k2;type=private?pin-value=2222'
signs "pkcs11:slot-id=$(($(slot_of two)));object=k2;type=private;pin-value=2222"
openssl pkey -pubin -in 'pkcs11:object=k2;type=public' -noout

# A new key goes there, too.
openssl genpkey -propquery provider=pkcs11 -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
    -pkeyopt pkcs11_uri:pkcs11:object=made -out "$T/made.pem"
signs "$T/made.pem"
signs 'pkcs11:token=one;object=made;type=private'

# What both have is the default slot's, whatever its class: one of the two comes second in the search.
openssl_finds() { # KEY CLASS...: these classes of pkcs11:object=both are of that public key
    local class
    for class in "${@:2}"; do
        case $class in
            private) openssl pkey -in 'pkcs11:object=both;type=private' -pubout ;;
            public) openssl pkey -pubin -in 'pkcs11:object=both;type=public' -pubout ;;
            cert) openssl x509 -in 'pkcs11:object=both;type=cert' -noout -pubkey ;;
        esac > "$T/found.pub" < /dev/null
        cmp "$1" "$T/found.pub" || fail "$class: another token's"
    done
}
make_ca authority
for token in "one $PIN" 'two 2222'; do
    read -r label pin <<< "$token"
    token_tool generate "$label" "$pin" ec:P-256,label=both,id=0b
    openssl pkey -in "pkcs11:token=$label;object=both;type=private?pin-value=$pin" \
        -pubout -out "$T/$label.pub"
    issue_cert authority "$label" client "$T/$label.pub"
    token_tool certificate "$label" "$pin" "$T/$label.pem" label=both,id=0b
done
for token in "one $PIN" 'two 2222'; do
    read -r label pin <<< "$token"
    provider "pkcs11-module-token-pin = $pin" "pkcs11-module-default-slot-id = $(slot_of "$label")"
    openssl_finds "$T/$label.pub" private public cert
    signs 'pkcs11:object=both;type=private'
done

# Of two tokens of one label, too.
for pin in 3330 3331; do token_tool init twin "$SO_PIN" "$pin"; done
mapfile -t twins < <(slot_of twin)
[ ${#twins[@]} = 2 ] || fail "not two: ${twins[*]}"
pins=()
for i in 0 1; do
    for pin in 3330 3331; do
        if opensc --slot "${twins[i]}" --login --pin "$pin" -O > /dev/null 2>&1; then pins[i]=$pin; fi
    done
    opensc --slot "${twins[i]}" --login --pin "${pins[i]}" --keypairgen --key-type EC:prime256v1 \
        --label "key$i" --id "0$i" > /dev/null
done
for i in 0 1; do
    provider "pkcs11-module-token-pin = ${pins[i]}" "pkcs11-module-default-slot-id = ${twins[i]}"
    signs "pkcs11:token=twin;object=key$i;type=private"
    openssl pkey -pubin -in "pkcs11:token=twin;object=key$((1 - i));type=public" -noout
    count_calls expect_failure openssl pkey -in "pkcs11:token=twin;object=key$((1 - i));type=private" -noout
    expect_text "$T/out" 'name it in the URI, as one of: token=twin;serial='
    logins 1
    openssl genpkey -propquery provider=pkcs11 -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt "pkcs11_uri:pkcs11:token=twin;object=made$i" -out "$T/made$i.pem"
    signs "pkcs11:slot-id=$((twins[i]));object=made$i;type=private;pin-value=${pins[i]}"
    signs "$T/made$i.pem"
done

# A slot's number is one module's: another one's slot of that number gets no PIN.
provider 'allow-uri-module-path = yes' "pkcs11-module-token-pin = file:$T/pin" \
    "pkcs11-module-default-slot-id = $one"
signs "pkcs11:module-path=$HWID_TEST_MODULE;object=k1;type=private"
expect_failure openssl pkey -in "pkcs11:module-path=$HWID_SOFTHSM_MODULE;token=one;object=k1;type=private" \
    -noout < /dev/null
expect_text "$T/out" 'token=one: a PIN is needed'
sed -i /^pkcs11-module-path/d "$T/openssl.cnf"
expect_failure openssl pkey -in 'pkcs11:object=k1;type=private' -noout
expect_text "$T/out" "pkcs11-module-default-slot-id = $one: each of p11-kit's modules numbers its slots"

provider 'pkcs11-module-default-slot-id = lowest'
expect_failure openssl pkey -in 'pkcs11:object=k1;type=private' -noout
expect_text "$T/out" 'pkcs11-module-default-slot-id = lowest: write the number of a slot'

# "never" is said of public objects: a private key needs its login all the same.
provider "pkcs11-module-token-pin = file:$T/pin" 'pkcs11-module-login-behavior = never' \
    "pkcs11-module-default-slot-id = $one"
signs 'pkcs11:object=k1;type=private'
count_calls expect_failure openssl x509 -in 'pkcs11:object=nobody;type=cert' -noout
expect_text "$T/out" 'no certificate matches'
logins 0
count_calls expect_failure openssl pkey -pubin -in 'pkcs11:object=nobody;type=public' -noout < /dev/null
# From 3.5 on OpenSSL may ask for a private key after that, and tells of the last only.
grep -Eq 'no public key matches|type leaves out what the program asks for' "$T/out" ||
    fail "$(cat "$T/out")"
logins 0
count_calls openssl pkey -pubin -in 'pkcs11:object=k1;type=public' -noout
logins 0
sed -i 's/= never/= auto/' "$T/openssl.cnf"
count_calls expect_failure openssl x509 -in 'pkcs11:object=nobody;type=cert' -noout
logins 1
