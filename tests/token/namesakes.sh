#!/bin/bash
# Two tokens of one label, a key on each.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need pkcs11-tool
opensc() { # ARGUMENT...
    env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" pkcs11-tool --module "$HWID_SOFTHSM_MODULE" "$@" \
        > "$T/out" 2>&1 || fail "pkcs11-tool $*: $(cat "$T/out")"
}

make_token twin
token_tool init twin "$SO_PIN" "$PIN"
opensc --list-token-slots
mapfile -t SERIALS < <(sed -n 's/^ *serial num *: *//p' "$T/out" | grep .)
mapfile -t SLOTS < <(sed -n 's/^Slot [0-9]* (\(0x[0-9a-f]*\)).*/\1/p' "$T/out")
[ ${#SERIALS[@]} = 2 ] || fail "not two tokens: $(cat "$T/out")"
for i in 0 1; do
    opensc --slot "${SLOTS[i]}" --login --pin "$PIN" --keypairgen --key-type EC:prime256v1 \
        --label "key$i" --id "0$i"
done
make_conf "$T/openssl.cnf" default-first twin
export OPENSSL_CONF=$T/openssl.cnf

for i in 0 1; do
    openssl pkey -pubin -in "pkcs11:token=twin;object=key$i;type=public" -pubout -out "$T/$i.pub"
    openssl pkey -in "pkcs11:token=twin;serial=${SERIALS[i]};object=key$i;type=private" \
        -pubout -out "$T/$i.half"
    cmp "$T/$i.pub" "$T/$i.half"
done

# The PIN goes to one of them only.
opened=()
for i in 0 1; do
    if openssl pkey -in "pkcs11:token=twin;object=key$i;type=private" -noout 2> "$T/err"; then
        opened+=("$i")
        continue
    fi
    expect_text "$T/err" 'several tokens match, and a PIN is sent only to one that is named'
    expect_text "$T/err" "name it in the URI, as one of: token=twin;serial=${SERIALS[i]}"
done
[ ${#opened[@]} = 1 ] || fail "opened without a serial: ${opened[*]}"

# Both are listed: of the second what is public. What is listed is found by its URI.
openssl storeutl -noout -text 'pkcs11:token=twin' > "$T/out"
for i in 0 1; do expect_text "$T/out" "object=key$i;"; done
listed_are_found() { # URI
    local uri
    openssl storeutl -noout -text "$1?pin-source=file:$T/pin" > "$T/listed"
    while read -r uri; do
        openssl storeutl -noout "$uri?pin-source=file:$T/pin" > "$T/out" || fail "$uri"
        expect_text "$T/out" 'Total found: 1'
    done < <(sed -n 's/^    URI: //p' "$T/listed")
}
listed_are_found 'pkcs11:token=twin'
listed_are_found 'pkcs11:'
for serial in "${SERIALS[@]}"; do
    listed_are_found "pkcs11:token=twin;serial=$serial"
    expect_text "$T/listed" 'type=private'
done

# A key that is made on one of them is found by its reference.
for i in 0 1; do
    openssl genpkey -propquery hwid.keys=yes -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt "hwid_uri:pkcs11:token=twin;serial=${SERIALS[i]};object=made$i" -out "$T/made$i.pem"
    openssl pkey -in "pkcs11:token=twin;serial=${SERIALS[i]};object=key$i;type=private" -out "$T/key$i.pem"
    for name in made key; do
        openssl dgst -sha256 -sign "$T/$name$i.pem" -out "$T/signature" "$T/pin"
        openssl pkey -in "$T/$name$i.pem" -pubout -out "$T/half"
        plain_openssl dgst -sha256 -verify "$T/half" -signature "$T/signature" "$T/pin" > /dev/null
    done
done
expect_failure openssl storeutl -noout 'pkcs11:token=twin;object=key2;type=public'
expect_text "$T/out" 'no public key matches on token=twin, token=twin'
expect_text "$T/out" key0
expect_text "$T/out" key1
